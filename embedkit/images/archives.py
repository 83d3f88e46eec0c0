"""Images inside tar and zip archives, found by their place in the file; nothing is extracted.

A member's name is a key and never a path: ``../../x.jpg`` is an odd name, no more. In a tar with the layout of
WebDataset, members that share a name up to the first dot of its last part are one sample: ``000123.jpg``,
``000123.cls`` (its label), ``000123.json`` (further columns), ``000123.txt`` (a caption).

Layer: images. Standard library only.
"""

from __future__ import annotations

import json
import os
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from embedkit.errors import EmptySourceError, ManifestError, SourceError, SourceNotFoundError, UnreadableImageError
from embedkit.images.columns import Table, TargetOption, source_of
from embedkit.images.folder import is_image_name, read_structure
from embedkit.images.reading import ArchiveMember, read_bytes
from embedkit.images.source import ImageSource, key_of

ARCHIVE_EXTENSIONS = (".tar", ".zip")
COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_SIDECARS = (".cls", ".json", ".txt")
_MAX_SIDECAR_BYTES = 1 << 20
_BLOCK = 512  # of a tar; two of zeros end it (POSIX.1-2001, pax)


@dataclass(frozen=True, slots=True)
class Listing:
    """The members of an archive, and why there may be more that cannot be had; empty where there are none."""

    members: list[ArchiveMember] = field(default_factory=list[ArchiveMember])
    lost: str = ""


def open_archives(paths: Sequence[str], *, label_column: str | None, target_type: TargetOption) -> ImageSource:
    """List the images in one or more tar or zip archives.

    Parameters
    ----------
    paths : sequence of str
        In the order of the rows.
    label_column : str or None
        A column made from the sidecars: ``cls``, ``txt``, or a name in the JSON. By default ``cls`` or ``label``;
        without either, folders inside the archive are classes as they are on disk.
    target_type : {"auto", "class", "value", "multilabel"}

    Returns
    -------
    ImageSource
        Keys are ``ARCHIVE/MEMBER``. An archive that is cut short gives the members before the cut, and one failure.

    Raises
    ------
    SourceError
        Not an archive; a member listed twice.
    SourceNotFoundError, EmptySourceError
    """
    images: list[ArchiveMember] = []
    inner: list[str] = []
    samples: list[Mapping[str, str]] = []
    failures: list[tuple[str, str]] = []
    for path in paths:
        listing = list_archive(path)
        sidecars = _read_sidecars(listing.members)
        for member in listing.members:
            if is_image_name(os.path.basename(member.name)):
                images.append(member)
                inner.append(key_of(member.name))
                samples.append(sidecars.get(_stem(member.name), {}))
        if listing.lost:
            failures.append((key_of(os.path.basename(path)), listing.lost))
    where = paths[0] if len(paths) == 1 else f"{len(paths)} archives"
    if not images and not failures:
        raise EmptySourceError(f"{where}: no image in it, expected members such as 'a.jpg', 'b.png'")
    columns = {name: [sample.get(name, "") for sample in samples] for name in _names(samples)}
    if label_column is None and not {"cls", "label"} & columns.keys():
        split, labels = read_structure(inner, where)
        columns |= {"split": split} if split is not None else {}
        columns |= {"label": labels} if labels is not None else {}
    keys = [f"{key_of(os.path.basename(member.archive))}/{name}" for member, name in zip(images, inner, strict=True)]
    name = os.path.abspath(paths[0] if len(paths) == 1 else os.path.dirname(paths[0]))
    return source_of(
        Table(name, columns, lambda row: keys[row]),
        keys,
        images,
        label_column=label_column,
        target_type=target_type,
        default_labels=("cls", "label"),
        failures=failures,
    )


def list_archive(path: str) -> Listing:
    """List the files in an archive, in their order; hidden ones and folders are left out.

    Raises
    ------
    SourceError
        Not an archive, or one whose members cannot be read by their place.
    SourceNotFoundError
    """
    if path.lower().endswith(COMPRESSED_TARS):
        raise SourceError(f"{path}: a compressed tar has to be read from its start; unpack it to a plain .tar first")
    try:
        with open(path, "rb") as file:
            return _list_zip(path, file) if path.lower().endswith(".zip") else _list_tar(path, file)
    except OSError as error:
        raise SourceNotFoundError(f"{path}: {error.strerror}, expected a tar or zip archive") from error


class ArchiveIndex:
    """Finds members by paths such as ``FOLDER/train-0.tar/a.jpg``, each archive listed once."""

    def __init__(self) -> None:
        self._members: dict[str, dict[str, ArchiveMember] | None] = {}
        self._lost: dict[str, str] = {}

    def find(self, path: str) -> ArchiveMember | None:
        """Return the member that a path names; None for a path that does not lead into an archive."""
        lowered = path.lower()
        for extension in ARCHIVE_EXTENSIONS:
            at = lowered.find(extension + "/")
            if at >= 0:
                archive, name = path[: at + len(extension)], path[at + len(extension) + 1 :]
                members = self._listed(archive)
                if members is not None:
                    return members.get(name) or ArchiveMember(archive, name, problem=self._missing(archive))
        return None

    def _listed(self, archive: str) -> dict[str, ArchiveMember] | None:
        if archive not in self._members:
            if os.path.isfile(archive):
                listing = list_archive(archive)
                self._members[archive] = {member.name: member for member in listing.members}
                self._lost[archive] = listing.lost
            else:  # a folder of such a name, or nothing: then reading the file says so
                self._members[archive] = None
        return self._members[archive]

    def _missing(self, archive: str) -> str:
        lost = self._lost[archive]
        return f"no such member of {os.path.basename(archive)}" + (f", which is {lost}" if lost else "")


def _list_tar(path: str, file: BinaryIO) -> Listing:
    members: list[ArchiveMember] = []
    end = os.fstat(file.fileno()).st_size
    try:
        tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise SourceError(f"{path}: not a tar archive ({error}), expected an uncompressed .tar") from error
    try:
        while (entry := tar.next()) is not None:
            cast(Any, tar).members = []  # it would keep them all
            if entry.offset_data + entry.size > end:
                return Listing(members, _cut_short(members))
            if not entry.isdir() and not os.path.basename(entry.name).startswith("."):
                members.append(_tar_member(path, entry))
    except (tarfile.TarError, EOFError, ValueError, OverflowError):
        return Listing(members, _cut_short(members))
    # Without its end mark a tar ends where it was cut, which may be between two members.
    file.seek(tar.offset)
    ended = file.read(_BLOCK) == bytes(_BLOCK)
    return Listing(members, "" if ended else _cut_short(members))


def _tar_member(path: str, entry: tarfile.TarInfo) -> ArchiveMember:
    if not entry.isreg():
        return ArchiveMember(path, entry.name, problem="a link or a device, not a file")
    if entry.sparse is not None:
        return ArchiveMember(path, entry.name, problem="a sparse file, which is not read")
    return ArchiveMember(path, entry.name, entry.offset_data, entry.size, entry.size)


def _cut_short(members: Sequence[ArchiveMember]) -> str:
    return f"cut short or damaged after {len(members):,} files; what follows is lost"


def _list_zip(path: str, file: BinaryIO) -> Listing:
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError, EOFError) as error:
        raise SourceError(f"{path}: not a zip archive, or one cut short ({error})") from error
    end = os.fstat(file.fileno()).st_size
    return Listing(
        [
            _zip_member(path, entry, file, end)
            for entry in entries
            if not os.path.basename(entry.filename).startswith(".")
        ]
    )


def _zip_member(path: str, entry: zipfile.ZipInfo, file: BinaryIO, end: int) -> ArchiveMember:
    name = entry.filename
    if entry.flag_bits & 0x1:
        return ArchiveMember(path, name, problem="encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return ArchiveMember(path, name, problem=f"compressed by method {entry.compress_type}, expected deflate")
    # The local header repeats the name and has extra fields of its own (APPNOTE.TXT, 4.3.7).
    file.seek(entry.header_offset)
    header = file.read(30)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        return ArchiveMember(path, name, problem="its place in the archive is damaged")
    offset = entry.header_offset + 30 + sum(int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    if offset + entry.compress_size > end:
        return ArchiveMember(path, name, problem="it reaches beyond the end of the archive")
    deflated = entry.compress_type == zipfile.ZIP_DEFLATED
    return ArchiveMember(path, name, offset, entry.compress_size, entry.file_size, deflated, entry.CRC)


def _stem(name: str) -> str:
    """Return the name of a sample: the folder and the file name up to its first dot."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.split(".", 1)[0]


def _read_sidecars(members: Iterable[ArchiveMember]) -> dict[str, dict[str, str]]:
    """Return what the sidecars say of each sample: column -> text."""
    samples: dict[str, dict[str, str]] = {}
    for member in members:
        extension = os.path.splitext(member.name)[1].lower()
        if extension not in _SIDECARS or member.problem or member.size > _MAX_SIDECAR_BYTES:
            continue
        stem = _stem(member.name)
        if member.name[len(stem) :].lower() == extension:
            samples.setdefault(stem, {}).update(_read_sidecar(member, extension))
    return samples


def _read_sidecar(member: ArchiveMember, extension: str) -> dict[str, str]:
    try:
        text = read_bytes(member).decode("utf-8")
        return dict(_json_columns(json.loads(text))) if extension == ".json" else {extension[1:]: text.strip()}
    except (UnreadableImageError, ValueError, RecursionError) as error:
        raise ManifestError(f"{member.archive}: member {member.name!r} cannot be read: {error}") from error


def _json_columns(record: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    for name, value in cast(dict[str, Any], record).items():
        if value is None or isinstance(value, str):
            yield name, value or ""
        else:
            yield name, json.dumps(value)


def _names(samples: Iterable[Mapping[str, str]]) -> list[str]:
    return list(dict.fromkeys(name for sample in samples for name in sample))
