"""Images that a caller hands over: lists of paths, bytes, Pillow images or arrays, whole arrays, columns of frames.

Layer: images. Pillow and NumPy; pandas, polars and torch objects are known by what they can do.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import EmptySourceError, ManifestError, SourceNotFoundError, UsageError
from embedkit.files import open_regular
from embedkit.images.datasets import is_dataset, open_dataset
from embedkit.images.modes import in_range
from embedkit.images.reading import ArchiveMember, ImageRef, array_of_tensor, as_ref, is_tensor
from embedkit.images.remote import locate
from embedkit.images.source import ImageSource, key_of

_LOOKED_AT = 16  # images of an array of floats
_DIGEST = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)
_MISSING = ArchiveMember(archive="", name="", problem="no image is given")
_NUL = ArchiveMember(archive="", name="", problem="no such file: its name holds a NUL")


def rows_of(X: Any, *, root: str | os.PathLike[str] | None = None, missing: bool = False) -> ImageSource:
    """Return what scikit-learn knows as `X` as a source, one row an item, in order.

    Parameters
    ----------
    X : sequence of length n, ndarray, Series, one-column frame, or data set
        Items are paths or URLs (a str is always one), encoded bytes, Pillow images, arrays, tensors (c, h, w), or rows
        ``{"image": ...}`` of these. A numeric array is a batch of images: (n, h, w) grey, (n, h, w, 1), (n, h, w, 3) or
        (n, h, w, 4); uint8, uint16, bool, or floats in [0, 1]; so is a tensor (n, c, h, w).
    root : path, optional
        The folder against which relative paths are resolved; by default the working folder.
    missing : bool
        Take None, NaN and pandas.NA for images that cannot be read, instead of refusing them.

    Returns
    -------
    ImageSource
        Keys are the paths as given, row numbers for everything else. An item may come twice, as in a bootstrap
        sample: the second key of ``a.jpg`` is ``a.jpg#2``.

    Raises
    ------
    UsageError
        Not a sequence of images.
    EmptySourceError
        No rows.
    """
    if hasattr(X, "to_pylist"):  # pyarrow, whose items are scalars of its own
        raise UsageError(f"got {_described(X)}, expected a list: take its column of images and use .to_pylist()")
    if is_dataset(X):
        return open_dataset(X, label_column=None, target_type="auto")
    if is_tensor(X):
        return open_array(array_of_tensor(X), "tensor")
    column = _as_column(X)
    if isinstance(column, np.ndarray):
        array = cast(npt.NDArray[Any], column)
        if array.dtype.kind not in "OU":
            return open_array(array, "array")
        column = array.tolist()
    if isinstance(column, (list, tuple)):
        items = cast(Sequence[Any], column)
        return _open_items([_MISSING if missing and _is_missing(item) else item for item in items], root)
    raise UsageError(
        f"got {_described(X)}, expected a sequence of paths, bytes, Pillow images or arrays, or an array (n, h, w, 3)"
        f"{_way_out(X)}"
    )


def _way_out(X: Any) -> str:
    """Say what was probably meant."""
    if isinstance(X, ImageSource):
        return ": pass the images of the source, source.images"
    if isinstance(X, str | os.PathLike):
        return ": of one image [path], of a folder or a file that lists images open_source(path).images"
    return ""


def digests_of(X: Any) -> npt.NDArray[np.uint8]:
    """Return the keys of images in a store as their digests, uint8 (n, 32).

    Parameters
    ----------
    X : sequence of str of length n, Series, one-column frame, or ndarray of shape (n, 32), uint8
        SHA-256, as 64 hexadecimal digits or as bytes.

    Raises
    ------
    UsageError
        Something else.
    EmptySourceError
        No rows.
    """
    column = _as_column(X)
    if isinstance(column, np.ndarray) and cast(npt.NDArray[Any], column).dtype == np.uint8:
        digests = cast(npt.NDArray[np.uint8], column)
        if digests.ndim != 2 or digests.shape[1] != 32:
            raise UsageError(f"keys are uint8 {digests.shape}, expected (n, 32): a SHA-256 a row")
    elif isinstance(column, (list, tuple, np.ndarray)):
        digests = np.array([_digest(row, item) for row, item in enumerate(cast(Sequence[Any], column))], np.uint8)
    else:
        raise UsageError(f"X is {_described(X)}, expected a sequence of keys of 64 hexadecimal digits")
    if not len(digests):
        raise EmptySourceError("an empty list, expected at least one key")
    return digests


def open_npy(path: str) -> ImageSource:
    """Open a ``.npy`` file of images, (n, h, w, 3) and the like, memory-mapped.

    Raises
    ------
    ManifestError
        Not an .npy file, one cut short, or one of Python objects.
    SourceNotFoundError, UsageError
    """
    try:
        open_regular(Path(path)).close()
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise SourceNotFoundError(f"{path}: {error.strerror}, expected an .npy file") from error
    except Exception as error:  # NumPy reads its header as Python: a damaged one may raise anything
        if "mmap length" in str(error):  # what its header says does not fit into it
            size = os.path.getsize(path)
            raise ManifestError(
                f"{path}: cut short: {size:,} bytes hold fewer images than its header says; copy or write it again"
            ) from error
        raise ManifestError(f"{path}: not an .npy file of numbers: {error}") from error
    source = open_array(array, os.path.abspath(path))
    check_range(source)
    return source


def check_range(source: ImageSource) -> None:
    """Refuse one array of floats of which no image is in [0, 1], going by a few of them.

    Raises
    ------
    UsageError
        Every image that was looked at would be a failure of its own.
    """
    if not isinstance(source.images, _Rows):
        return
    low = high = math.nan
    for row in np.unique(np.linspace(0, len(source) - 1, _LOOKED_AT).astype(int)):
        pixels = source.images[int(row)]
        if pixels.dtype.kind != "f" or not pixels.size or in_range(pixels):
            return
        low, high = float(np.fmin(low, pixels.min())), float(np.fmax(high, pixels.max()))
    raise UsageError(
        f"{source.name}: its floats reach from {low:g} to {high:g}, expected [0, 1]; divide by 255 if they go up to "
        "255, or save them as uint8"
    )


def open_array(array: npt.NDArray[Any], name: str) -> ImageSource:
    """Open one array as a batch of images; see `rows_of` for shapes and types."""
    shape = array.shape
    if array.ndim == 3 and shape[2] in (3, 4):
        raise UsageError(
            f"{name}: shape {shape} looks like one image, expected a batch (n, h, w, 3) or (n, h, w): use array[None]"
        )
    if array.ndim not in (3, 4) or (array.ndim == 4 and shape[3] not in (1, 3, 4)):
        hint = "; channels come last: use array.transpose(0, 2, 3, 1)" if array.ndim == 4 and shape[1] in (1, 3) else ""
        raise UsageError(
            f"{name}: array of shape {shape}, expected (n, h, w), (n, h, w, 1), (n, h, w, 3) or (n, h, w, 4){hint}"
        )
    if array.dtype.kind != "f" and array.dtype.name not in ("bool", "uint8", "uint16"):
        raise UsageError(f"{name}: array of {array.dtype}, expected uint8, uint16, bool or floats in [0, 1]")
    if not len(array):
        raise EmptySourceError(f"{name}: array of shape {shape}, expected at least one image")
    described = name if os.path.isabs(name) else f"{array.dtype} array of shape {shape}"
    return ImageSource(name=described, keys=_numbers(len(array)), images=cast(Sequence[ImageRef], _Rows(array)))


class _Rows(Sequence[npt.NDArray[Any]]):
    """The rows of an array as a sequence of arrays, which an array is not in name."""

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, index: Any) -> Any:
        """Return one image (h, w[, c]); a memory-mapped one is read now."""
        return np.asarray(self._array[index])


def _as_column(X: Any) -> Any:
    """Return the values of a pandas or polars column, or of a frame's only column; anything else as it is."""
    columns = getattr(X, "columns", None)
    if columns is not None and hasattr(X, "shape"):
        names = list(columns)
        if len(names) != 1:
            raise UsageError(
                f"got a frame of {len(names)} columns, expected the one that holds the images: frame[[name]]"
            )
        return _as_column(X[names[0]])
    if isinstance(X, np.ndarray):
        return _checked(cast(npt.NDArray[Any], X))
    return X.to_list() if hasattr(X, "to_list") else X


def _checked(X: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array of items in one dimension, a numeric one as it is."""
    if X.dtype.kind == "S":
        raise UsageError(
            f"got an array of {X.dtype}, which drops the zeros that bytes end in; use a list, or dtype=object"
        )
    if X.dtype.kind not in "OU" or X.ndim == 1:
        return X
    if X.ndim == 2 and X.shape[1] == 1:
        return X[:, 0]
    if X.dtype.kind == "U":
        raise UsageError(f"got an array of paths of shape {X.shape}, expected (n,) or (n, 1): one path a row")
    raise UsageError(
        f"got an object array of shape {X.shape}, expected (n,) or (n, 1); NumPy takes Pillow images apart: "
        "array = np.empty(n, dtype=object); array[:] = images"
    )


def _digest(row: int, item: object) -> list[int]:
    if not isinstance(item, str) or not _DIGEST.fullmatch(item):
        shown = repr(item) if isinstance(item, str) else _described(item)
        raise UsageError(f"row {row} is {shown}, expected a key of 64 hexadecimal digits, the SHA-256 of an image")
    return list(bytes.fromhex(item))


def _is_missing(item: object) -> bool:
    # NaN is the one float that is not itself; pandas.NA is known by its name, since pandas need not be there.
    return item is None or (isinstance(item, float) and item != item) or type(item).__name__ == "NAType"


def _open_items(items: Sequence[Any], root: str | os.PathLike[str] | None) -> ImageSource:
    if not len(items):
        raise EmptySourceError("an empty list, expected at least one image")
    if root is not None and not isinstance(cast(object, root), str | os.PathLike):
        raise UsageError(f"root is {root!r}, expected the path of a folder, or None")
    folder = os.fspath(root) if root is not None else ""
    keys: list[str] = []
    images: list[ImageRef] = []
    for row, item in enumerate(items):
        ref = as_ref(item)
        if ref is None and _is_missing(item):
            raise UsageError(f"row {row} is missing ({item!r}), expected an image; leave it out")
        if ref is None:
            raise UsageError(f"row {row} is {_described(item)}, expected a path, bytes, a Pillow image or an array")
        if isinstance(ref, str) and "\0" in ref:  # no file can have this name, and no key either
            keys.append(key_of(ref.replace("\0", "\\0")))
            images.append(_NUL)
        elif isinstance(ref, str):
            keys.append(key_of(ref))
            images.append(locate(ref, folder))
        else:
            keys.append(str(row))
            images.append(ref)
    return ImageSource(name=f"list of {len(items)} images", keys=_distinct(keys), images=images)


def _distinct(keys: list[str]) -> list[str]:
    """Mark the second and later ones of equal keys: ``a.jpg``, ``a.jpg#2``, ``a.jpg#3``."""
    if len(set(keys)) == len(keys):
        return keys
    taken = set(keys)
    last: dict[str, int] = {}
    distinct: list[str] = []
    for key in keys:
        number = last.get(key, 0) + 1
        while number > 1 and f"{key}#{number}" in taken:
            number += 1
        last[key] = number
        distinct.append(f"{key}#{number}" if number > 1 else key)
        taken.add(distinct[-1])
    return distinct


def _numbers(n: int) -> list[str]:
    return [str(row) for row in range(n)]


def _described(item: Any) -> str:
    kind = type(cast(object, item))
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
