"""A plan: which images, in which order, and exactly which features; written once, carried out anywhere.

A plan is one JSON file with the rows of a source as they were listed (keys, sizes, labels), the resolved spec of the
features and the store that takes them. Whoever carries it out lists no folder, resolves no ``auto``, and needs nothing
from whoever else does so but the store.

    {"content": "embedkit extraction plan", "format": 1, "sha256": "<of the canonical JSON of plan>", "plan": {...}}

Layer: extraction; above the rooms, below the embedder.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from embedkit.backbones import FeatureRequest
from embedkit.errors import (
    OutputExistsError,
    PlanFormatError,
    PlanNotFoundError,
    SourceError,
    StoreNotFoundError,
    UnreadableFileError,
    UsageError,
)
from embedkit.extraction.plan_fields import check_fields
from embedkit.extraction.plan_rows import column_of, column_record, images_of, images_record, root_of
from embedkit.extraction.resolution import Resolution
from embedkit.files import commit_to, read_json
from embedkit.images import ImageSource, is_named, is_url, name_root
from embedkit.specs import FeatureSpec, canonical_json
from embedkit.store import FeatureStore

PLAN_FORMAT = 1
"""Major version of the plan's file format."""

_CONTENT = "embedkit extraction plan"

# A hundred million keys.
_MOST_BYTES = 1 << 33

_LOCAL_FOLDER = "local-dir:"  # timm's scheme for a model in a folder

# Rows in a unit where nobody says how many units there are: minutes of work, so that little is lost with a worker.
_ROWS_A_UNIT = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFile:
    """Where a plan lies, and what is elsewhere on the machine that carries it out.

    Attributes
    ----------
    path : str
    store : str or None
        The folder of the store, in place of the plan's.
    root : str or None
        The folder or URL of the images, in place of the plan's.
    weights : str or None
        The file of weights, in place of the plan's; other weights are refused by their digest.
    """

    path: str
    store: str | None = None
    root: str | None = None
    weights: str | None = None

    def read(self) -> Plan:
        """Read the plan.

        Raises
        ------
        PlanNotFoundError
            There is none.
        PlanFormatError
            It is something else, damaged, or of a newer version.
        SourceNotFoundError
            The one file that holds its images (an array, a table) is not there.
        """
        record, digest = _read(Path(self.path))
        try:
            check_fields(record)
            return _plan_of(record, digest, self)
        except SourceError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PlanFormatError(f"{self.path} is not a plan that this embedkit understands: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be computed.

    Attributes
    ----------
    id : str
        SHA-256 of the plan's content, 64 hexadecimal digits. No two plans share it, even of the same images.
    source : ImageSource
        The rows, as they were when the plan was made.
    sizes : list of int or None
        Bytes of each image; None where they are unknown.
    request : FeatureRequest
        What was asked for; `auto` is still in it.
    resolution : Resolution
        What it was resolved to.
    store : Path
    units : int
        Into how many units the rows are divided where nobody says otherwise.
    root : str
        The folder or URL against which paths in the plan are relative.
    file : PlanFile
    pace : float or None
        Seconds an image, as measured where the plan was made; None in plans of before.
    memory : int
        Bytes that a process took there; 0 where that is unknown.
    """

    id: str
    source: ImageSource
    sizes: list[int | None]
    request: FeatureRequest
    resolution: Resolution
    store: Path
    units: int
    root: str
    file: PlanFile
    pace: float | None = None
    memory: int = 0

    def unit(self, number: int, count: int) -> range:
        """Return the rows of unit `number` (from 1) of `count`: consecutive, and as many as any other's but one.

        Raises
        ------
        UsageError
            There is no such unit.
        """
        if not 1 <= number <= count:
            raise UsageError(f"unit {number}/{count} does not exist; units are counted from 1 to their number")
        rows = len(self.source)
        return range((number - 1) * rows // count, number * rows // count)

    def open_store(self) -> FeatureStore:
        """Open the store, which was made with the plan: where it is missing, a new one would hide what others did.

        Raises
        ------
        StoreNotFoundError
            It is not there. A folder that the user names in its place may be empty, but not missing.
        """
        try:
            return FeatureStore(self.store, create=self.file.store is not None and self.store.is_dir())
        except StoreNotFoundError:
            raise StoreNotFoundError(
                f"no feature store at {self.store}, which all who carry out {self.file.path} share; mount it, or say "
                "by --store where this machine sees it"
            ) from None

    def pinned(self, device: str | None = None) -> FeatureRequest:
        """Return the request with everything resolved, for a device of this machine."""
        request = self.request.pinned(self.resolution.spec)
        return request if device is None else dataclasses.replace(request, device=device)


def write_plan(
    path: Path,
    source: ImageSource,
    request: FeatureRequest,
    resolution: Resolution,
    store: FeatureStore,
    *,
    units: int | None = None,
    force: bool = False,
    pace: float | None = None,
    memory: int = 0,
) -> Plan:
    """Write a plan.

    Parameters
    ----------
    path : Path
    source : ImageSource
        Files, URLs, members of archives, or one array or table on disk: something that other processes can open.
    request : FeatureRequest
    resolution : Resolution
        Of that request, for that store.
    store : FeatureStore
    units : int, optional
        By default one for each 2,000 rows.
    force : bool
        Replace a file that is there.
    pace, memory
        As in `Plan`.

    Returns
    -------
    Plan

    Raises
    ------
    UsageError
        The images are in the memory of this process.
    OutputExistsError
        There is a file already.
    """
    check_plan(path, source, force=force)
    root = root_of(source)
    images, sizes = images_record(source, root)
    record: dict[str, Any] = {
        "id": uuid.uuid4().hex,  # two plans of the same images are two plans: files may have changed in between
        "embedkit": importlib.metadata.version("embedkit"),
        "source": {
            "name": source.name,
            "root": root,
            "keys": source.keys,
            "images": images,
            "sizes": sizes,
            "labels": column_record(source.labels),
            "label_classes": source.label_classes,
            "split": source.split,
            "groups": source.groups,
            "columns": {name: column_record(column) for name, column in source.columns.items()},
            "failures": [list(failure) for failure in source.failures],
        },
        "request": _anywhere(request).to_dict(),
        "spec": resolution.spec.to_dict(),
        "choice": resolution.choice,
        "drift": resolution.drift,
        "provenance": dict(resolution.provenance),
        "store": str(store.path),
        "units": units or default_units(len(source)),
        "pace": pace,
        "memory": memory,
    }
    text = canonical_json(record)
    digest = hashlib.sha256(text.encode("ascii")).hexdigest()
    head = canonical_json({"content": _CONTENT, "format": PLAN_FORMAT, "sha256": digest})
    commit_to(path, [f'{head[:-1]},"plan":{text}}}\n'.encode("ascii")], sealed=False)
    # What the user named in this process, those that carry out the plan are told of as the user's word, too.
    named = root if is_url(root) and is_named(root) else None
    return PlanFile(path=str(path.absolute()), root=named).read()


def check_plan(path: Path, source: ImageSource, *, force: bool) -> None:
    """Refuse, before any work, what `write_plan` refuses."""
    if path.exists() and not force:
        raise OutputExistsError(f"{path} exists; carry it out, name another file, or give --force to make a new plan")
    images_record(source, root_of(source))


def default_units(rows: int) -> int:
    """Return into how many units rows are divided where nobody says."""
    return max(1, -(-rows // _ROWS_A_UNIT))


def _anywhere(request: FeatureRequest) -> FeatureRequest:
    """Return a request that means the same in every working folder."""
    scheme, found, folder = (request.model or "").partition(_LOCAL_FOLDER)
    if scheme or not found:
        return request
    return dataclasses.replace(request, model=_LOCAL_FOLDER + os.path.abspath(folder))


def _read(path: Path) -> tuple[dict[str, Any], str]:
    """Return the record of a plan and its digest, which agree."""
    try:
        envelope = read_json(path, _MOST_BYTES)
    except FileNotFoundError:
        raise PlanNotFoundError(f"no plan at {path}; `embedkit extract SOURCE --plan {path}` makes one") from None
    except UnreadableFileError as error:
        raise PlanFormatError(f"{error}: it is not a plan, or was cut short; make it again") from error
    if not isinstance(envelope, dict) or cast(dict[str, Any], envelope).get("content") != _CONTENT:
        raise PlanFormatError(f"{path} is not a plan; `embedkit extract SOURCE --plan FILE` makes one")
    fields = cast(dict[str, Any], envelope)
    version = fields.get("format")
    if not isinstance(version, int) or not 1 <= version <= PLAN_FORMAT:
        raise PlanFormatError(
            f"{path} is a plan of format {version!r}; this version of embedkit reads format {PLAN_FORMAT}: install the "
            "embedkit that wrote it on every machine"
        )
    record = fields.get("plan")
    digest = hashlib.sha256(canonical_json(record).encode("ascii")).hexdigest()
    if not isinstance(record, dict) or fields.get("sha256") != digest:
        raise PlanFormatError(f"{path} is damaged: its content does not match its SHA-256; make the plan again")
    return cast(dict[str, Any], record), digest


def _plan_of(record: Mapping[str, Any], digest: str, file: PlanFile) -> Plan:
    rows: dict[str, Any] = record["source"]
    root: str = rows["root"] if file.root is None else file.root
    if file.root is not None:
        name_root(file.root)
    request = FeatureRequest.from_dict(record["request"])
    if file.weights is not None:
        request = dataclasses.replace(request, weights=file.weights)
    return Plan(
        id=digest,
        source=ImageSource(
            name=rows["name"],
            keys=rows["keys"],
            images=images_of(rows, root, moved=file.root is not None),
            labels=column_of(rows["labels"]),
            label_classes=rows["label_classes"],
            split=rows["split"],
            groups=rows["groups"],
            columns={name: column_of(column) for name, column in rows["columns"].items()},
            failures=[(key, reason) for key, reason in rows["failures"]],
        ),
        sizes=rows["sizes"],
        request=request,
        resolution=Resolution(
            spec=FeatureSpec.from_dict(record["spec"]),
            choice=record["choice"],
            drift=record["drift"],
            provenance=record["provenance"],
        ),
        store=Path(record["store"] if file.store is None else file.store).absolute(),
        units=record["units"],
        root=root,
        file=file,
        pace=record.get("pace"),
        memory=record.get("memory", 0),
    )
