"""Images inside tar and zip archives, found by their place in the file; nothing is extracted.

A member's name is a key and never a path: ``../../x.jpg`` is an odd name, no more. Members beside an image may say
what it is (`sidecars`).

Archives at URLs are read where they are; listing a tar goes through it from one header to the next.

Layer: images. Standard library only.
"""

from __future__ import annotations

import glob
import os
import re
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BufferedReader, RawIOBase
from typing import Any, cast

from embedkit.errors import SourceError, SourceNotFoundError, UnreadableImageError
from embedkit.images.reading import ArchiveMember
from embedkit.images.remote import RemoteReadError, is_url, locate, match_files
from embedkit.images.remote_file import open_file
from embedkit.images.sidecars import Sidecar, read_sidecar

ARCHIVE_EXTENSIONS = (".tar", ".zip")
COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_BRACES = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")
_MOST_HEADER_BYTES = 1 << 20
_BLOCK = 512  # of a tar; two of zeros end it (POSIX.1-2001, pax)


@dataclass(slots=True)
class Listing:
    """What is in an archive.

    Attributes
    ----------
    members : list of ArchiveMember
        In their order; folders are left out.
    sidecars : dict of str to Sidecar
        What members say of the images beside them, by their names.
    lost : str
        Why there may be more that cannot be had; empty where there is not.
    """

    members: list[ArchiveMember] = field(default_factory=list[ArchiveMember])
    sidecars: dict[str, Sidecar] = field(default_factory=dict[str, Sidecar])
    lost: str = ""


def find_archives(pattern: str) -> list[str]:
    """Return the archives that one path or URL stands for.

    ``train-{000..099}.tar`` and ``{train,val}.zip`` are many names, as in a shell and in WebDataset; names with ``*``
    are the files that match. A local file of just this name is that file.

    Raises
    ------
    SourceNotFoundError
        No file matches.
    MissingExtraError, UsageError
    """
    if not is_url(pattern) and os.path.exists(pattern):
        return [pattern]
    found: list[str] = []
    for name in _expand_braces(pattern):
        if "*" not in name:
            found.append(name)
        elif is_url(name):
            found.extend(match_files(name))
        elif matches := sorted(glob.glob(name)):
            found.extend(matches)
        else:
            raise SourceNotFoundError(f"{name}: nothing matches, expected at least one file")
    return found


def _expand_braces(text: str) -> list[str]:
    match = _BRACES.search(text)
    if match is None:
        return [text]
    first, last, names = match.groups()
    if names is None:
        step = 1 if int(first) <= int(last) else -1
        items = [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + step, step)]
    else:
        items = names.split(",")
    return [one for item in items for one in _expand_braces(text[: match.start()] + item + text[match.end() :])]


def list_archive(path: str, *, sidecars: bool = False) -> Listing:
    """List the files in an archive at a path or URL.

    Parameters
    ----------
    path : str
    sidecars : bool
        Read those too, each as it is passed; a damaged one is a member that says so.

    Raises
    ------
    SourceError
        Not an archive; one whose members cannot be read by their place; one at a URL that cannot be read.
    SourceNotFoundError, MissingExtraError, UsageError
    """
    if path.lower().endswith(COMPRESSED_TARS):
        raise SourceError(f"{path}: a compressed tar has to be read from its start; unpack it to a plain .tar first")
    locate(path, "")
    listing = Listing()

    def take(member: ArchiveMember) -> None:
        listing.members.append(_take_sidecar(member, listing.sidecars) if sidecars else member)

    list_members = _list_zip if path.lower().endswith(".zip") else _list_tar
    try:
        with BufferedReader(open_file(path, anew=True)) as file:
            size = file.seek(0, os.SEEK_END)  # here, since zipfile takes a file that is not there for a damaged one
            file.seek(0)
            listing.lost = list_members(path, file, size, take)
    except RemoteReadError as error:
        raise SourceError(f"{path}: {error}; try again, or download it first") from error
    except OSError as error:
        denied = isinstance(error, PermissionError)
        reason = "permission denied" if denied else "no such file, or no answer from where it should be"
        raise SourceNotFoundError(f"{path}: {error.strerror or reason}, expected a tar or zip archive") from error
    listing.members = _told_apart(listing.members)
    return listing


def without_dots(name: str) -> str:
    """Return the name of a member without parts ``.``, which lead nowhere: ``tar -C photos .`` writes them."""
    return name if "." not in name.split("/") else "/".join(part for part in name.split("/") if part != ".")


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
                    return members.get(without_dots(name)) or ArchiveMember(
                        archive, name, problem=self._missing(archive)
                    )
        return None

    def _listed(self, archive: str) -> dict[str, ArchiveMember] | None:
        if archive not in self._members:
            listing = _list_if_there(archive)
            if listing is None:  # a folder of such a name, or nothing: then reading the file says so
                self._members[archive] = None
            else:
                self._members[archive] = {member.name: member for member in listing.members}
                self._lost[archive] = listing.lost
        return self._members[archive]

    def _missing(self, archive: str) -> str:
        lost = self._lost[archive]
        return f"no such member of {os.path.basename(archive)}" + (f", which is {lost}" if lost else "")


def _list_if_there(path: str) -> Listing | None:
    if not is_url(path):
        return list_archive(path) if os.path.isfile(path) else None
    try:
        return list_archive(path)
    except SourceNotFoundError:
        return None


def _list_tar(path: str, file: BufferedReader[RawIOBase], end: int, take: Callable[[ArchiveMember], None]) -> str:
    """Hand on each member; return why there may be more."""
    try:
        tar = tarfile.open(fileobj=cast(Any, _Headers(file)), mode="r:")  # noqa: SIM115
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise SourceError(f"{path}: not a tar archive ({error}), expected an uncompressed .tar") from error
    count = 0
    for entry in _entries(tar):
        if entry is None or entry.offset_data + entry.size > end:
            return _cut_short(count)
        if not entry.isdir():
            take(_tar_member(path, entry))
            count += 1
    # Without its end mark a tar ends where it was cut, which may be between two members.
    file.seek(tar.offset)
    return "" if file.read(_BLOCK) == bytes(_BLOCK) else _cut_short(count)


class _Headers:
    """A tar as tarfile reads it: headers and long names, never a member. No header is longer than a long name needs."""

    def __init__(self, file: BufferedReader[RawIOBase]) -> None:
        self.seek, self.tell, self._file = file.seek, file.tell, file

    def read(self, size: int) -> bytes:
        if size > _MOST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._file.read(size)


def _entries(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo | None]:
    """Yield the entries of a tar, and None as the last of them where one is damaged."""
    try:
        while (entry := tar.next()) is not None:
            cast(Any, tar).members = []  # it would keep them all
            yield entry
    except (tarfile.TarError, EOFError, ValueError, OverflowError):
        yield None


def _tar_member(path: str, entry: tarfile.TarInfo) -> ArchiveMember:
    name = without_dots(entry.name)
    if not entry.isreg():
        return ArchiveMember(path, name, problem="a link or a device, not a file")
    if entry.sparse is not None:
        return ArchiveMember(path, name, problem="a sparse file, which is not read")
    return ArchiveMember(path, name, entry.offset_data, entry.size, entry.size)


def _cut_short(count: int) -> str:
    return f"cut short or damaged after {count:,} files; what follows is lost"


def _list_zip(path: str, file: BufferedReader[RawIOBase], end: int, take: Callable[[ArchiveMember], None]) -> str:
    """Hand on each member, by the directory at the end of the file; nothing else of it is read."""
    try:
        with zipfile.ZipFile(file) as archive:
            # `is_dir` falls over a file without a name
            entries = [entry for entry in archive.infolist() if not entry.filename.endswith("/")]
    except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError, EOFError) as error:
        raise SourceError(
            f"{path}: not a zip archive, or one cut short ({error}): the list of its files is at its end, and "
            "without it none can be read; copy or download it again"
        ) from error
    for entry in entries:
        take(_zip_member(path, entry, end))
    return ""


def _zip_member(path: str, entry: zipfile.ZipInfo, end: int) -> ArchiveMember:
    name = without_dots(entry.filename)
    if entry.flag_bits & 0x1:
        return ArchiveMember(path, name, problem="encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return ArchiveMember(path, name, problem=f"compressed by method {entry.compress_type}, expected deflate")
    if not 0 <= entry.header_offset <= end - entry.compress_size:
        return ArchiveMember(path, name, problem="it reaches beyond the end of the archive")
    deflated = entry.compress_type == zipfile.ZIP_DEFLATED
    return ArchiveMember(
        path, name, entry.header_offset, entry.compress_size, entry.file_size, deflated, entry.CRC, headed=True
    )


def _told_apart(members: list[ArchiveMember]) -> list[ArchiveMember]:
    """Return members of names of their own; those that share one are one member, which cannot be read."""
    counts = Counter(member.name for member in members)
    if len(counts) == len(members):
        return members
    named: dict[str, ArchiveMember] = {}
    for member in members:
        if counts[member.name] > 1:
            member = lost(member, f"{counts[member.name]} files in the archive have its name")
        named.setdefault(member.name, member)
    return list(named.values())


def lost(member: ArchiveMember, problem: str) -> ArchiveMember:
    """Return a member as one that cannot be read."""
    # Without its place, by which a memo could know its bytes and serve them all the same.
    return ArchiveMember(member.archive, member.name, problem=problem)


def _take_sidecar(member: ArchiveMember, sidecars: dict[str, Sidecar]) -> ArchiveMember:
    """Add what a member says of its sample, if it is a sidecar; return it, or that it is damaged."""
    try:
        sidecar = read_sidecar(member)
    except (UnreadableImageError, ValueError, RecursionError) as error:
        return lost(member, "not UTF-8" if isinstance(error, UnicodeError) else str(error))
    if sidecar.texts:
        sidecars[member.name] = sidecar
    return member
