"""What an image is given as, and how its encoded bytes are read.

Layer: images; above remote_file. Standard library, Pillow and NumPy (for the types).
"""

from __future__ import annotations

import os
import stat
import unicodedata
import zlib
from dataclasses import dataclass
from io import FileIO, RawIOBase
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from embedkit.errors import UnreadableImageError
from embedkit.files import INFLATING, inflated_limit
from embedkit.images.access import is_url
from embedkit.images.remote import RemoteReadError, read_range
from embedkit.images.remote_file import open_file

if TYPE_CHECKING:
    from typing_extensions import TypeIs

IMAGE_NAMES = ("image", "img")
"""Under what name a row that is a dict holds its image."""

MAX_FILE_BYTES = 1 << 30
"""Larger files are not read: no image within `Limits` needs more than a gigabyte."""

_ZIP_HEADER_BYTES = 30  # without the name and the extra fields

_NON_BLOCKING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """A file inside a tar or zip archive, found by its place in it; nothing is ever extracted.

    Attributes
    ----------
    archive : str
        Path or URL of the archive.
    name : str
        The member's name as the archive has it: a key, never a path.
    offset, stored : int
        Where its bytes, or else the header before them, begin in the archive, and how many bytes there are.
    size : int
        Number of bytes once unpacked.
    deflated : bool
        Whether they are compressed (zip).
    crc : int or None
        CRC-32 of the unpacked bytes (zip).
    headed : bool
        Whether a header, whose length it says itself, stands at `offset`, before the bytes (zip).
    problem : str
        Why the member cannot be read; empty for one that can.
    """

    archive: str
    name: str
    offset: int = 0
    stored: int = 0
    size: int = 0
    deflated: bool = False
    crc: int | None = None
    headed: bool = False
    problem: str = ""


EncodedRef = str | bytes | ArchiveMember
PixelRef = Image.Image | npt.NDArray[Any]
ImageRef = EncodedRef | PixelRef
"""One image: the path or URL of a file, encoded bytes, a member of an archive, a Pillow image or an array."""


def is_encoded(ref: ImageRef) -> TypeIs[EncodedRef]:
    """Say whether an image is given by encoded bytes (a file, bytes, a member), not by pixels in memory."""
    return isinstance(ref, (str, bytes, ArchiveMember))


def as_ref(item: object) -> ImageRef | None:
    """Return what a caller gave for one image as an `ImageRef`; None where it is none.

    Paths may be any `os.PathLike`, bytes any buffer type, and a dict such as ``datasets`` decodes to
    (``{"bytes": ..., "path": ...}``) stands for its bytes, or else for its path; a row such as ``{"image": ...}`` for
    its image, and a tensor for the array it holds.
    """
    if isinstance(item, str):
        return str(item)  # np.str_ too
    if isinstance(item, np.ndarray):
        return cast(npt.NDArray[Any], item)
    if isinstance(item, (bytes, ArchiveMember, Image.Image)):
        return item
    if isinstance(item, os.PathLike):
        return os.fsdecode(cast("os.PathLike[str]", item))
    if isinstance(item, (bytearray, memoryview)):
        return bytes(cast(bytearray, item))
    if isinstance(item, dict):
        record = cast(dict[str, object], item)
        if "bytes" in record:
            return as_ref(record["bytes"] if record["bytes"] is not None else record.get("path"))
        name = next((name for name in IMAGE_NAMES if name in record), None)
        return None if name is None else as_ref(record[name])
    return array_of_tensor(item) if is_tensor(item) else None


def is_tensor(item: object) -> bool:
    """Say whether an object is a tensor of torch, by what it can do."""
    return all(hasattr(item, name) for name in ("detach", "cpu", "numpy", "permute"))


def array_of_tensor(tensor: Any) -> npt.NDArray[Any]:
    """Return a tensor of one image (c, h, w) or of many (n, c, h, w) as an array whose channels come last.

    Where both the first and the last axis could be channels, the first one is, as everywhere in torch.
    """
    tensor = tensor.detach().cpu()
    if str(tensor.dtype) in ("torch.bfloat16", "torch.float16"):
        tensor = tensor.float()
    array: npt.NDArray[Any] = tensor.numpy()
    if array.ndim in (3, 4) and array.shape[-3] in (1, 3, 4):
        array = np.moveaxis(array, -3, -1)
    return np.ascontiguousarray(array)


def read_bytes(ref: EncodedRef) -> bytes:
    """Return the encoded bytes of an image.

    Raises
    ------
    UnreadableImageError
        As for `read_with_status`.
    """
    return read_with_status(ref)[0]


def read_with_status(ref: EncodedRef) -> tuple[bytes, os.stat_result | None]:
    """Return the encoded bytes of an image, and the status of the file that they are from, taken before they were read.

    Raises
    ------
    UnreadableImageError
        Vanished, no permission, not a regular file, too large, an I/O error, a damaged or missing member. The message
        is a short reason without the path.
    """
    if isinstance(ref, bytes):
        return ref, None
    try:
        if isinstance(ref, ArchiveMember):
            status = _status(ref.archive)
            return _read_member(ref), status
        return (_read_url(ref), None) if is_url(ref) else _read_file(ref)
    except UnreadableImageError:
        raise
    except RemoteReadError as error:
        raise UnreadableImageError(str(error)) from error
    except FileNotFoundError as error:
        raise UnreadableImageError(f"no such file{_other_form(ref)}") from error
    except NotADirectoryError as error:
        raise UnreadableImageError("no such file: a parent of it is not a folder") from error
    except PermissionError as error:
        raise UnreadableImageError("permission denied") from error
    except OSError as error:
        raise UnreadableImageError(f"cannot be read: {error.strerror or type(error).__name__}") from error
    except ValueError as error:  # a NUL in the path
        raise UnreadableImageError("no such file: its name holds a NUL") from error
    except MemoryError as error:
        raise UnreadableImageError("not enough memory to read it") from error


def read_head(ref: str | ArchiveMember, size: int) -> bytes:
    """Return the first bytes of a file, none where it cannot be read: there, it is no image that its name hides."""
    try:
        if isinstance(ref, ArchiveMember):
            return _read_member_head(ref, size)
        return read_range(ref, 0, size) if is_url(ref) else _read_file(ref, size)[0]
    except (OSError, ValueError, MemoryError, RemoteReadError, UnreadableImageError):
        return b""


def _read_member_head(member: ArchiveMember, size: int) -> bytes:
    if member.problem:
        return b""
    with open_file(member.archive) as file:
        file.seek(member.offset)
        if member.headed:
            _skip_header(file)
        data = _read_fully(file, min(member.stored, size if not member.deflated else 4 * size))
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size) if member.deflated else data


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (OSError, ValueError):  # a URL, or nothing: reading it says why
        return None


def _read_file(path: str, size: int | None = None) -> tuple[bytes, os.stat_result]:
    # Opening a named pipe would otherwise wait for someone to write into it.
    descriptor = os.open(path, os.O_RDONLY | _NON_BLOCKING)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise UnreadableImageError("a folder, not a file")
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableImageError("not a regular file")
        if size is None and status.st_size > MAX_FILE_BYTES:
            raise UnreadableImageError(_too_large(status.st_size))
        if size is not None:
            return _read_fully(FileIO(descriptor, closefd=False), size), status
        with INFLATING.hold_large(status.st_size):
            data = os.read(descriptor, status.st_size + 1)
            if len(data) != status.st_size or not data:  # it grew, or is of a kind that does not say how much it holds
                data += FileIO(descriptor, closefd=False).readall()
            return data, status
    finally:
        os.close(descriptor)


def _read_url(url: str) -> bytes:
    data = read_range(url, 0, MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise UnreadableImageError(_too_large(len(data)))
    return data


def _read_member(member: ArchiveMember) -> bytes:
    if member.problem:
        raise UnreadableImageError(member.problem)
    if max(member.size, member.stored) > MAX_FILE_BYTES:
        raise UnreadableImageError(_too_large(max(member.size, member.stored)))
    if member.deflated and member.size > inflated_limit(member.stored):
        raise UnreadableImageError(f"its {member.stored:,} bytes say that they become {member.size:,}")
    with INFLATING.hold_large(member.stored + member.size * member.deflated):
        with open_file(member.archive) as file:
            file.seek(member.offset)
            if member.headed:
                _skip_header(file)
            data = _read_fully(file, member.stored)
        if member.deflated:
            data = _inflate(data, member.size)
    if len(data) != member.size:
        raise UnreadableImageError(f"{len(data)} of {member.size} bytes: the archive is cut short or was changed")
    if member.crc is not None and zlib.crc32(data) != member.crc:
        raise UnreadableImageError("its checksum does not match: the archive is damaged")
    return data


def _skip_header(file: RawIOBase) -> None:
    """Go past a member's own header, which repeats its name and has extra fields (APPNOTE.TXT, 4.3.7)."""
    header = _read_fully(file, _ZIP_HEADER_BYTES)
    if len(header) < _ZIP_HEADER_BYTES or header[:4] != b"PK\x03\x04":
        raise UnreadableImageError("its place in the archive is damaged")
    file.seek(sum(int.from_bytes(header[at : at + 2], "little") for at in (26, 28)), os.SEEK_CUR)


def _read_fully(file: RawIOBase, size: int) -> bytes:
    """Read `size` bytes, or as many as there are; a raw read may return fewer."""
    data = file.read(size) or b""
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def _inflate(data: bytes, size: int) -> bytes:
    """Unpack a raw deflate stream, no further than its stated size."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, max(size, 1))
    except zlib.error as error:
        raise UnreadableImageError("its compressed bytes are damaged") from error


def _other_form(ref: EncodedRef) -> str:
    """Say that a file is there under the same name in another normal form of Unicode, as macOS writes them."""
    if isinstance(ref, str) and not ref.isascii() and not is_url(ref):
        for form in ("NFC", "NFD"):
            if (other := unicodedata.normalize(form, ref)) != ref and os.path.exists(other):
                return f": its name is there in another form of Unicode ({form}); rename it, or write it so"
    return ""


def _too_large(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB, more than the {MAX_FILE_BYTES >> 30} GiB that are read"
