"""The in-memory twin of the store: the same promises, except that everything goes with the process.

For runs without a disk and for tests. What holds for both is checked by one contract suite.

Layer: beside stored; numpy, errors and specs only.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import numpy as np

from embedkit.errors import StoreNotFoundError, UsageError
from embedkit.specs import FeatureSpec
from embedkit.store.feature_set import (
    Digests,
    Features,
    Mask,
    as_digest,
    as_digests,
    check_rows,
    convert_rows,
    keys_of,
    missing_rows,
)


class MemoryFeatureStore:
    """A store without a disk: feature sets by spec."""

    def __init__(self) -> None:
        self._sets: dict[str, MemoryFeatureSet] = {}
        self._lock = threading.Lock()

    def features(self, spec: FeatureSpec) -> MemoryFeatureSet:
        """Return the features of a spec; the same set whenever the spec is the same."""
        with self._lock:
            return self._sets.setdefault(spec.fingerprint, MemoryFeatureSet(spec))

    def fingerprints(self) -> list[str]:
        """List the fingerprints of the specs of which something was committed, sorted."""
        return sorted(name for name, features in self._sets.items() if features)

    def spec(self, fingerprint: str) -> FeatureSpec:
        """Return the spec of a fingerprint.

        Raises
        ------
        StoreNotFoundError
            The store has no features of this fingerprint.
        """
        if fingerprint not in self.fingerprints():
            raise StoreNotFoundError(f"the store has no features of fingerprint {fingerprint}")
        return self._sets[fingerprint].spec


class MemoryFeatureSet:
    """A `FeatureSet` in memory.

    Parameters
    ----------
    spec : FeatureSpec
    """

    def __init__(self, spec: FeatureSpec) -> None:
        self._spec = spec
        self._fingerprint = spec.fingerprint
        self._rows: dict[bytes, Features] = {}
        self._reasons: dict[bytes, str] = {}
        self._claims: dict[bytes, MemoryWriter] = {}
        self._lock = threading.Lock()

    @property
    def spec(self) -> FeatureSpec:
        """What the features are."""
        return self._spec

    @property
    def fingerprint(self) -> str:
        """Of the spec, 64 hexadecimal digits."""
        return self._fingerprint

    @property
    def width(self) -> int:
        """Features in a row."""
        return self._spec.backbone.width

    def __bool__(self) -> bool:
        return bool(self._rows or self._reasons)

    def refresh(self) -> None:
        """Do nothing: what is committed in memory is seen at once."""

    def contains(self, digests: Digests) -> Mask:
        """Say which rows are there; see `FeatureSet.contains`."""
        return np.array([digest in self._rows for digest in _keys(digests)], dtype=np.bool_)

    def get(self, digests: Digests) -> Features:
        """Return rows in the order asked; see `FeatureSet.get`."""
        keys = _keys(digests)
        rows = np.empty((len(keys), self.width), np.dtype(self._spec.dtype))
        for position, key in enumerate(keys):
            row = self._rows.get(key)
            if row is None:
                raise missing_rows(as_digests(digests), self.contains(digests), "memory")
            rows[position] = row
        return rows

    def batches(self, digests: Digests, rows: int) -> Iterator[Features]:
        """Yield what `get` returns, at most so many rows at a time."""
        wanted = as_digests(digests)
        for start in range(0, len(wanted), rows):
            yield self.get(wanted[start : start + rows])

    def undecodable(self, digests: Digests) -> dict[bytes, str]:
        """Return the remembered reasons of digests without a row; see `FeatureSet.undecodable`."""
        return {key: self._reasons[key] for key in _keys(digests) if key in self._reasons and key not in self._rows}

    def writer(self) -> MemoryWriter:
        """Return a writer; there may be many, in many threads."""
        return MemoryWriter(self)

    def take(self, rows: dict[bytes, Features], reasons: dict[bytes, str], writer: MemoryWriter) -> None:
        """Commit what a writer has collected, and end its claims on it."""
        with self._lock:
            for digest, row in rows.items():
                self._rows.setdefault(digest, row)
            for digest, reason in reasons.items():
                self._reasons.setdefault(digest, reason)
        self.release([*rows, *reasons], writer)

    def claim(self, digests: list[bytes], writer: MemoryWriter) -> Mask:
        """Give a writer what is not there, not remembered as undecodable and not claimed by another."""
        with self._lock:
            granted = [
                digest not in self._rows
                and digest not in self._reasons
                and self._claims.setdefault(digest, writer) is writer
                for digest in digests
            ]
        return np.array(granted, dtype=np.bool_)

    def release(self, digests: list[bytes] | None, writer: MemoryWriter) -> None:
        """End claims of a writer: on some digests, or all."""
        with self._lock:
            for digest in list(self._claims) if digests is None else digests:
                if self._claims.get(digest) is writer:
                    del self._claims[digest]


class MemoryWriter:
    """A `Writer` to a `MemoryFeatureSet`. Nothing is committed before `commit` or the end: no crash can be survived."""

    def __init__(self, features: MemoryFeatureSet) -> None:
        self._features = features
        self._rows: dict[bytes, Features] = {}
        self._reasons: dict[bytes, str] = {}
        self._open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.commit()
        self._features.release(None, self)
        self._open = False

    def add(self, digests: Digests, features: Features) -> None:
        """Add rows; see `Writer.add`."""
        self._check_open()
        spec = self._features.spec
        features = np.asarray(features)
        check_rows(as_digests(digests), features, spec)
        rows = np.empty(features.shape, np.dtype(spec.dtype))
        convert_rows(features, rows)
        for digest, row in zip(_keys(digests), rows, strict=True):
            self._rows.setdefault(digest, row)

    def add_undecodable(self, digest: bytes, reason: str) -> None:
        """Remember that a digest cannot be decoded; see `Writer.add_undecodable`."""
        self._check_open()
        self._reasons.setdefault(as_digest(digest), reason)

    def commit(self) -> None:
        """Commit what was added; see `Writer.commit`."""
        self._features.take(self._rows, self._reasons, self)
        self._rows, self._reasons = {}, {}

    def claim(self, digests: Digests) -> Mask:
        """Announce rows that this writer is about to compute; see `Writer.claim`."""
        self._check_open()
        granted = self._features.claim(_keys(digests), self)
        return granted & np.array([key not in self._rows for key in _keys(digests)], dtype=np.bool_)

    def release(self, digests: Digests) -> None:
        """Give up claims; see `Writer.release`."""
        self._features.release(_keys(digests), self)

    def _check_open(self) -> None:
        if not self._open:
            raise UsageError("this writer was left already; make another one")


def _keys(digests: Digests) -> list[bytes]:
    return keys_of(as_digests(digests))
