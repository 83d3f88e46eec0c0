"""A plan: which images, in which order, and exactly which features; written once, carried out anywhere.

A plan is one JSON file with the rows of a source as they were listed (keys, sizes, labels), the resolved spec of the
features and the store that takes them. Whoever carries it out lists no folder, resolves no ``auto``, and needs nothing
from whoever else does so but the store.

    {"content": "embedkit extraction plan", "format": 1, "sha256": "<of the canonical JSON of plan>", "plan": {...}}

Layer: extraction; above the rooms, below the embedder.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import importlib.metadata
import os
import posixpath
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.backbones import FeatureRequest
from embedkit.errors import (
    OutputExistsError,
    PlanFormatError,
    PlanNotFoundError,
    SourceError,
    UnreadableFileError,
    UsageError,
)
from embedkit.extraction.resolution import Resolution
from embedkit.files import commit_to, read_json
from embedkit.images import ArchiveMember, ImageRef, ImageSource, is_named, is_url, locate, name_root, open_source
from embedkit.specs import FeatureSpec, canonical_json
from embedkit.store import FeatureStore

PLAN_FORMAT = 1
"""Major version of the plan's file format."""

_CONTENT = "embedkit extraction plan"

_FILES_OF_ROWS = (".csv", ".tsv", ".parquet", ".pq", ".tar", ".zip")

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
    if path.exists() and not force:
        raise OutputExistsError(f"{path} exists; carry it out, name another file, or give --force to make a new plan")
    root = _root_of(source)
    images, sizes = _images_record(source, root)
    record: dict[str, Any] = {
        "id": uuid.uuid4().hex,  # two plans of the same images are two plans: files may have changed in between
        "embedkit": importlib.metadata.version("embedkit"),
        "source": {
            "name": source.name,
            "root": root,
            "keys": source.keys,
            "images": images,
            "sizes": sizes,
            "labels": _column_record(source.labels),
            "label_classes": source.label_classes,
            "split": source.split,
            "groups": source.groups,
            "columns": {name: _column_record(column) for name, column in source.columns.items()},
            "failures": [list(failure) for failure in source.failures],
        },
        "request": _anywhere(request).to_dict(),
        "spec": resolution.spec.to_dict(),
        "choice": resolution.choice,
        "drift": resolution.drift,
        "provenance": dict(resolution.provenance),
        "store": str(store.path),
        "units": units or default_units(len(source)),
    }
    text = canonical_json(record)
    digest = hashlib.sha256(text.encode("ascii")).hexdigest()
    head = canonical_json({"content": _CONTENT, "format": PLAN_FORMAT, "sha256": digest})
    commit_to(path, [f'{head[:-1]},"plan":{text}}}\n'.encode("ascii")], sealed=False)
    # What the user named in this process, those that carry out the plan are told of as the user's word, too.
    named = root if is_url(root) and is_named(root) else None
    return PlanFile(path=str(path.absolute()), root=named).read()


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
            images=_images_of(rows, root, moved=file.root is not None),
            labels=_column_of(rows["labels"]),
            label_classes=rows["label_classes"],
            split=rows["split"],
            groups=rows["groups"],
            columns={name: _column_of(column) for name, column in rows["columns"].items()},
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
    )


def _root_of(source: ImageSource) -> str:
    """Return the folder or URL against which the paths of a plan are relative."""
    if is_url(source.name):
        is_file = source.keys == [posixpath.basename(source.name)] or source.name.lower().endswith(_FILES_OF_ROWS)
        return posixpath.dirname(source.name) if is_file else source.name
    if not os.path.isabs(source.name):
        return os.getcwd()
    return source.name if os.path.isdir(source.name) else os.path.dirname(source.name)


def _images_record(source: ImageSource, root: str) -> tuple[list[Any] | None, list[int | None]]:
    """Return where the images are, relative to the root, and how large.

    None: they are the rows of one file, in its order, which is opened again. Within the list, None: the key is the
    path.
    """
    if not isinstance(source.images, list):
        if not (is_url(source.name) or os.path.isfile(source.name)):
            raise _unplannable(source.name)
        return None, [None] * len(source)
    images: list[Any] = []
    sizes: list[int | None] = []
    for key, ref in zip(source.keys, source.images, strict=True):
        if isinstance(ref, ArchiveMember):
            images.append({**dataclasses.asdict(ref), "archive": _relative(ref.archive, root)})
            sizes.append(ref.size)
        elif isinstance(ref, str):
            path = _relative(ref, root)
            images.append(None if path == key else path)
            sizes.append(_size(ref))
        else:
            raise _unplannable(source.name)
    return images, sizes


def _images_of(rows: Mapping[str, Any], root: str, moved: bool) -> Sequence[ImageRef]:
    if rows["images"] is None:
        path = locate(os.path.basename(rows["name"]), root) if moved else rows["name"]
        source = open_source(path, recorded=True)
        if len(source) != len(rows["keys"]):
            raise ValueError(f"{path} has {len(source)} rows now, {len(rows['keys'])} when the plan was made")
        return source.images
    images: list[ImageRef] = []
    for key, image in zip(rows["keys"], rows["images"], strict=True):
        if isinstance(image, dict):
            member = ArchiveMember(**cast(dict[str, Any], image))
            images.append(dataclasses.replace(member, archive=locate(member.archive, root)))
        else:
            images.append(locate(key if image is None else image, root))
    return images


def _unplannable(name: str) -> UsageError:
    return UsageError(
        f"{name} is in the memory of this process, expected files or URLs that other processes can read: save the "
        "images first, or use one device"
    )


def _relative(path: str, root: str) -> str:
    """Return a path below the root relative to it, any other as it is, absolute."""
    if is_url(path) or is_url(root):
        prefix = root.rstrip("/") + "/"
        return path.removeprefix(prefix) if path.startswith(prefix) else path
    full = os.path.join(os.getcwd(), path)
    if os.pardir not in full.split(os.sep):  # behind a link, .. leads elsewhere than its text says
        full = os.path.normpath(full)
    prefix = root.rstrip(os.sep) + os.sep
    return full[len(prefix) :] if full.startswith(prefix) else full


def _size(path: str) -> int | None:
    try:
        return None if is_url(path) else os.stat(path).st_size
    except (OSError, ValueError):
        return None  # reading it will say why


def _column_record(values: object) -> Any:
    """Return a column as JSON: text as a list, numbers by their exact bytes."""
    if values is None or isinstance(values, list):
        return cast(Any, values)
    array = np.ascontiguousarray(cast(npt.NDArray[Any], values))
    stored = array.astype(array.dtype.newbyteorder("<"))
    return {
        "dtype": stored.dtype.str,
        "shape": list(stored.shape),
        "base64": base64.b64encode(stored.tobytes()).decode("ascii"),
    }


def _column_of(record: Any) -> Any:
    if record is None or isinstance(record, list):
        return cast(Any, record)
    array = np.frombuffer(base64.b64decode(record["base64"]), dtype=np.dtype(record["dtype"]))
    return array.reshape(record["shape"]).astype(array.dtype.newbyteorder("="))
