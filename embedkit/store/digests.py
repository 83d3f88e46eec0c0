"""Digests and rows as a store takes them: checked, converted, and named where they are missing.

Layer: errors and specs only.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import MissingRowsError, UsageError
from embedkit.specs import FeatureSpec

Digests = npt.NDArray[np.uint8]
Features = npt.NDArray[np.floating[Any]]
Mask = npt.NDArray[np.bool_]


def as_digests(digests: Digests) -> Digests:
    """Return digests as a C-ordered array, or refuse them.

    Raises
    ------
    UsageError
        They are not uint8 of shape (n, 32).
    """
    array = np.asarray(digests)
    if array.dtype != np.uint8 or array.ndim != 2 or array.shape[1] != 32:
        raise UsageError(f"digests are {array.dtype} of shape {array.shape}; expected uint8 of shape (n, 32)")
    return np.ascontiguousarray(array)


def keys_of(digests: Digests) -> list[bytes]:
    """Return digests (n, 32) as a list of bytes, in their order."""
    return cast(list[bytes], np.ascontiguousarray(digests).view("V32")[:, 0].tolist())


def as_digest(digest: bytes) -> bytes:
    """Return one digest as bytes, or refuse it.

    Raises
    ------
    UsageError
        It is not 32 bytes long.
    """
    if len(digest) != 32:
        raise UsageError(f"a digest has {len(digest)} bytes; expected 32")
    return bytes(digest)


def check_rows(digests: Digests, features: Features, spec: FeatureSpec) -> None:
    """Refuse features that are not one row of the spec's width for each digest.

    Raises
    ------
    UsageError
        Another shape, or no floating type.
    """
    expected = (len(digests), spec.backbone.width)
    if not np.issubdtype(features.dtype, np.floating) or features.shape != expected:
        raise UsageError(
            f"features are {features.dtype} of shape {features.shape}; expected a floating type of shape {expected}"
        )


def convert_rows(features: Features, target: Features) -> None:
    """Copy features to an array of the stored dtype.

    Raises
    ------
    UsageError
        A finite number is too large for the stored dtype.
    """
    with np.errstate(over="ignore"):  # checked below
        np.copyto(target, features, casting="same_kind")
    if target.dtype.itemsize < features.dtype.itemsize and not np.array_equal(np.isinf(target), np.isinf(features)):
        largest = np.finfo(target.dtype).max
        raise UsageError(f"features exceed the range of {target.dtype} ({largest}); store float32")


def missing_rows(digests: Digests, present: Mask, where: str) -> MissingRowsError:
    """Return the error that names rows which are not there."""
    absent = digests[~present]
    first = absent[0].tobytes().hex()
    return MissingRowsError(
        f"{len(absent)} of {len(digests)} rows are not in {where} (first: {first}); extract them first"
    )
