"""Where things lie in a store, and what their names say (docs/format.md, "The store").

    STORE/embedkit-store.json                       the marker
    STORE/features/<fingerprint>/spec.json          canonical JSON of the FeatureSpec; its SHA-256 is the fingerprint
    STORE/features/<fingerprint>/part-<id>.<length>.<sha256>.h5
    STORE/features/<fingerprint>/undecodable-<id>.<length>.<sha256>.json
    STORE/features/<fingerprint>/.tmp-*             not committed (yet)
    STORE/features/<fingerprint>/checked.json       derived: which files were seen to match their names
    STORE/features/<fingerprint>/parts.index        derived: where the rows of small parts are
    STORE/features/<fingerprint>/last-use           its modification time is the last use
    STORE/features/<fingerprint>/maintenance.lock   held by whoever removes committed files
    STORE/features/<fingerprint>/leases/            advisory: who computes what
    STORE/features/<fingerprint>/leases.lock        held while a writer claims
    STORE/aside/<fingerprint>/                      what repair set aside
    STORE/memo/                                     memos of other rooms

A committed file is known by its name alone: a name of another form is ignored by every reader.

Layer: above commit. Standard library, errors and specs only.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from embedkit.errors import (
    DamagedPartError,
    StoreError,
    StoreFormatError,
    StoreLostError,
    StoreNotFoundError,
    StoreWriteError,
    UnreadableFileError,
)
from embedkit.files import DISK, TEMPORARY_PREFIX, Disk, Folder, commit_to, parse_json, read_small
from embedkit.specs import FORMAT_VERSION, FeatureSpec

MARKER = "embedkit-store.json"
SPEC = "spec.json"
CHECKED = "checked.json"
LAST_USE = "last-use"
PART_INDEX = "parts.index"
LOCK = "maintenance.lock"
LEASES = "leases"
FEATURES = "features"
ASIDE = "aside"
MEMO = "memo"

# A marker has 60 bytes, and room for what later versions may say.
_MARKER_BYTES = 1 << 16

CommittedKind = Literal["part", "undecodable"]

_SUFFIX: dict[CommittedKind, str] = {"part": "h5", "undecodable": "json"}
_COMMITTED = re.compile(r"(part|undecodable)-([0-9a-f]{32})\.([0-9]{1,19})\.([0-9a-f]{64})\.(h5|json)")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")

# A listing is repeated while files vanish under it (see `committed_names`); so many times at most.
_LISTINGS = 20


@dataclass(frozen=True, slots=True)
class CommittedName:
    """What the name of a committed file claims about its bytes.

    Parameters
    ----------
    kind : {"part", "undecodable"}
    length : int
        Number of bytes.
    sha256 : str
        Of all of them, 64 hexadecimal digits.
    """

    kind: CommittedKind
    length: int
    sha256: str

    @classmethod
    def parse(cls, name: str) -> CommittedName | None:
        """Read a file's name; None when it is not the name of a committed file."""
        found = _COMMITTED.fullmatch(name)
        if found is None:
            return None
        kind = cast(CommittedKind, found[1])
        return cls(kind, int(found[3]), found[4]) if found[5] == _SUFFIX[kind] else None


def committed_name(kind: CommittedKind, length: int, sha256: str) -> str:
    """Return a new name for a file of this length and digest."""
    return f"{kind}-{uuid.uuid4().hex}.{length}.{sha256}.{_SUFFIX[kind]}"


def committed_names(folder: Folder) -> list[str]:
    """List the committed files of a folder, sorted by name.

    While files are merged, a single listing may miss both the inputs (removed before the listing came to them) and the
    output (committed behind its back). A listing is therefore taken again until nothing has vanished since the one
    before: what vanished was replaced by a file committed earlier, which the next listing sees.
    """
    names = _list_once(folder)
    for _ in range(_LISTINGS):
        before, names = names, _list_once(folder)
        if before <= names:
            break
    return sorted(names)


def part_names(folder: Folder) -> list[str]:
    """List the parts of a folder, sorted by name."""
    return [name for name in committed_names(folder) if name.startswith("part-")]


def committed_length(name: str) -> int:
    """Return the number of bytes that the name of a committed file claims."""
    claim = CommittedName.parse(name)
    return claim.length if claim else 0


def temporaries(folder: Folder) -> list[str]:
    """List the temporary files of a folder."""
    return [name for name in folder.names() if name.startswith(TEMPORARY_PREFIX)]


def fingerprints(store: Folder) -> list[str]:
    """List the fingerprints in a store, sorted. A link among them is none."""
    return sorted(name for name in store.child(FEATURES).folders() if _FINGERPRINT.fullmatch(name))


def features_folder(store: Folder, fingerprint: str) -> Folder:
    """Return the folder of a fingerprint."""
    return store.child(FEATURES, fingerprint)


def open_store(path: Path, create: bool, disk: Disk = DISK) -> Folder:
    """Make sure that a folder is a store that this version reads; return it as what it must stay from now on.

    Raises
    ------
    StoreNotFoundError
        There is nothing at the path and `create` is false.
    StoreFormatError
        The path is something else than a store, or a store of a newer major version.
    StoreWriteError
        The folder or its marker cannot be created.
    """
    marker = path / MARKER
    try:
        text = read_small(marker, _MARKER_BYTES, follow=False)
    except FileNotFoundError:
        if path.is_dir() and any(not _is_ignorable(entry.name) for entry in path.iterdir()):
            if (text := _read_or_none(marker)) is not None:  # another process has just created the store
                return _checked_store(path, text)
            raise StoreFormatError(
                f"{path} is a folder with other files in it, not a feature store: it has no {MARKER}; name an empty or "
                "new folder"
            ) from None
        if not create:
            raise StoreNotFoundError(
                f"no feature store at {path}; check the path, or extract features into it"
            ) from None
        return _create_store(path, disk)
    except UnreadableFileError as error:
        if not path.is_dir():
            raise StoreFormatError(
                f"{path} is a file, not a feature store, which is a folder: name one by --store, or by EMBEDKIT_STORE"
            ) from None
        raise StoreError(f"cannot read {marker}: {error}; check its permissions and the disk") from error
    return _checked_store(path, text)


def ensure_features_folder(folder: Folder, spec: FeatureSpec, disk: Disk = DISK) -> None:
    """Make sure that the folder of a fingerprint is there and says what its features are."""
    try:
        for above in folder.way():
            above.make()
    except StoreError:
        raise
    except OSError as error:
        raise _cannot_create(folder.path, error) from error
    if _read_or_none(folder / SPEC) != spec.canonical.encode("ascii"):
        commit_to(folder / SPEC, [spec.canonical.encode("ascii")], sealed=False, disk=disk, folder=folder)


def read_spec(folder: Folder) -> FeatureSpec:
    """Read the spec of a fingerprint's folder.

    Raises
    ------
    StoreNotFoundError
        The store has no features of this fingerprint.
    DamagedPartError
        The bytes of ``spec.json`` do not have the SHA-256 that the folder's name says; ``repair`` writes it again from
        a part.
    StoreFormatError
        The spec was written by another version of embedkit.
    """
    if not folder.exists():
        raise StoreNotFoundError(f"the store has no features of fingerprint {folder.name}; `info` lists those it has")
    text = _read_or_none(folder / SPEC)
    if text is None:
        raise DamagedPartError(f"{folder / SPEC} is missing; run `embedkit store repair`")
    return parse_spec(text, folder.name, folder / SPEC)


def parse_spec(text: bytes, fingerprint: str, path: Path) -> FeatureSpec:
    """Read the canonical JSON of a spec and compare it with the fingerprint that it must have."""
    if hashlib.sha256(text).hexdigest() != fingerprint:
        reason = "it holds another spec than the fingerprint of its folder says"
        error = DamagedPartError(f"{path} is damaged: {reason}; run `embedkit store repair`")
        error.filename, error.strerror = str(path), reason
        raise error
    try:
        return FeatureSpec.from_dict(parse_json(text))
    except ValueError as error:
        raise StoreFormatError(f"{path} cannot be understood: {error}") from error


def touch_last_use(folder: Folder) -> None:
    """Note that the features of a fingerprint are in use; a store that is only readable is used without a note."""
    try:
        folder.touch(LAST_USE)
    except StoreLostError:
        raise
    except OSError:
        return


def _create_store(path: Path, disk: Disk) -> Folder:
    record = {"content": "embedkit feature store", "format": FORMAT_VERSION}
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_create(path, error) from error
    commit_to(path / MARKER, [json.dumps(record).encode() + b"\n"], sealed=False, disk=disk)
    return Folder.pinned(path, MARKER)


def _checked_store(path: Path, text: bytes) -> Folder:
    try:
        version = parse_json(text)["format"]
    except (ValueError, KeyError, TypeError):
        version = None
    if not isinstance(version, int) or version < 1:
        raise StoreFormatError(
            f"{path / MARKER} is damaged: it should say the format of the store, such as "
            f'{{"content": "embedkit feature store", "format": {FORMAT_VERSION}}}'
        )
    if version > FORMAT_VERSION:
        raise StoreFormatError(
            f"{path} is a feature store of format {version}; this version of embedkit reads up to format "
            f"{FORMAT_VERSION}: install a newer embedkit, or name another store"
        )
    return Folder.pinned(path, MARKER)


def _cannot_create(path: Path, error: OSError) -> StoreWriteError:
    failure = StoreWriteError(
        f"cannot create the folder {path}: {error.strerror or error}; name a folder that is writable by --store "
        "(store=...), or for every command by EMBEDKIT_STORE"
    )
    failure.errno = error.errno
    return failure


def _is_ignorable(name: str) -> bool:
    # Another process may be creating the same store; a file system of its own has a lost+found.
    return name.startswith(".") or name == "lost+found"


def _list_once(folder: Folder) -> set[str]:
    return {name for name in folder.names() if CommittedName.parse(name)}


def _read_or_none(path: Path) -> bytes | None:
    try:
        return read_small(path, follow=False)
    except (FileNotFoundError, UnreadableFileError):
        return None
