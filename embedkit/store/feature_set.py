"""What a set of features promises (`stored.StoredFeatureSet` keeps it).

A feature set holds the features of one spec: digest -> row. Rows are written through a writer and never change.

Layer: errors and specs only.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Protocol, Self, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import MissingRowsError, UsageError
from embedkit.specs import FeatureSpec

Digests = npt.NDArray[np.uint8]
Features = npt.NDArray[np.floating[Any]]
Mask = npt.NDArray[np.bool_]


class Writer(Protocol):
    """Puts rows into a feature set; a context manager, to be used by one thread.

    What was added becomes visible and permanent when it is committed: by `commit`, by itself after 30 seconds or 64 MB
    (judged whenever something is added), and when the writer is left, also by an exception or an interrupt, since every
    row that was added is whole whatever happened after it.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def add(self, digests: Digests, features: Features) -> None:
        """Add rows; they are copied, and converted to the stored dtype.

        Parameters
        ----------
        digests : ndarray of shape (n, 32), uint8
            A digest added before counts once, with its first row.
        features : ndarray of shape (n, width), a floating dtype

        Raises
        ------
        UsageError
            Another shape or type, or a finite number that the stored dtype cannot hold.
        StoreWriteError
            A commit was due and failed. The rows stay in the writer: commit again when there is space.
        """
        ...

    def add_undecodable(self, digest: bytes, reason: str) -> None:
        """Remember that the bytes of a digest are no image, and why, so that nobody decodes them again."""
        ...

    def commit(self) -> None:
        """Commit what was added; what it says is there for ever, whatever happens to this process or machine.

        Raises
        ------
        StoreWriteError
            The disk is full, read-only or failing. What was committed before is intact; the rows stay in the writer.
        """
        ...

    def claim(self, digests: Digests) -> Mask:
        """Announce that this writer is about to compute rows.

        Parameters
        ----------
        digests : ndarray of shape (n, 32), uint8

        Returns
        -------
        ndarray of shape (n,), bool
            True: go ahead. False: the row is there by now, or another live writer is computing it; look again later.
            A claim ends with the commit of its row, with `release` and with the writer. Claims are advice: when their
            machinery fails, rows are computed twice and nothing else happens.
        """
        ...

    def release(self, digests: Digests) -> None:
        """Give up claims on rows that will not be computed after all."""
        ...


class FeatureSet(Protocol):
    """The features of one spec, by digest. Reading is safe from many threads."""

    @property
    def spec(self) -> FeatureSpec:
        """What the features are."""
        ...

    @property
    def fingerprint(self) -> str:
        """Of the spec, 64 hexadecimal digits."""
        ...

    @property
    def width(self) -> int:
        """Features in a row."""
        ...

    def refresh(self) -> None:
        """See what others have committed since this set was opened or refreshed."""
        ...

    def contains(self, digests: Digests) -> Mask:
        """Say which rows are there.

        Parameters
        ----------
        digests : ndarray of shape (n, 32), uint8

        Returns
        -------
        ndarray of shape (n,), bool
        """
        ...

    def get(self, digests: Digests) -> Features:
        """Return rows in the order asked.

        Parameters
        ----------
        digests : ndarray of shape (n, 32), uint8
            May repeat.

        Returns
        -------
        ndarray of shape (n, width), of the spec's dtype

        Raises
        ------
        MissingRowsError
            Some are not there.
        """
        ...

    def batches(self, digests: Digests, rows: int) -> Iterator[Features]:
        """Yield what `get` returns, at most so many rows at a time."""
        ...

    def undecodable(self, digests: Digests) -> dict[bytes, str]:
        """Return, of these digests, those remembered as undecodable and without a row, each with its reason."""
        ...

    def writer(self) -> Writer:
        """Return a writer; there may be many, in many processes."""
        ...


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
