"""One request in a pass over a source: which of its rows are settled, and how.

Layer: extraction; above the rooms, below the embedder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from embedkit.backbones import FeatureRequest
from embedkit.errors import ImageError, UndecodableImageError
from embedkit.extraction.pipeline import Identified, Ready
from embedkit.specs import FeatureSpec
from embedkit.store import FeatureSet, Mask, Writer

Features = npt.NDArray[np.float32]

_NOT_FINITE = "the network gives features that are not finite; try another precision"


class Job:
    """The features of one spec that a source asks for.

    Parameters
    ----------
    request : FeatureRequest
    spec : FeatureSpec
        What the request was resolved to.
    features : FeatureSet
        Of that spec.
    digests : ndarray of shape (n_images, 32), uint8
        As far as they are known.

    Attributes
    ----------
    pending : ndarray of shape (n_images,), bool
        Rows that the pass under way has to settle.
    deferred : list of int
        Rows whose images another process is computing.
    writer : Writer
        Set by the pass before the first claim.
    forward_passes, cache_hits, copies, failures
        As in `Extraction`; in the end each row counts in one of them.
    """

    writer: Writer

    def __init__(
        self, request: FeatureRequest, spec: FeatureSpec, features: FeatureSet, digests: npt.NDArray[np.uint8]
    ) -> None:
        self.request = request
        self.spec = spec
        self.features = features
        self.digests = digests.copy()
        self.pending = np.ones(len(digests), dtype=np.bool_)
        self.failures: dict[int, str] = {}
        self.deferred: list[int] = []
        self.cache_hits = 0
        self.forward_passes = 0
        self.copies = 0
        self.done = 0
        # Digests that this pass has taken on: a second row with the same bytes costs no second forward pass.
        self._taken: set[bytes] = set()
        # Why a digest that this pass has taken on came to nothing.
        self._reasons: dict[bytes, str] = {}
        self._twins: list[int] = []  # rows that wait for such a digest

    def recall(self, known: Mask) -> None:
        """Settle the rows whose digests are known and in the store."""
        rows = np.flatnonzero(known)
        there = self.features.contains(self.digests[rows])
        self.cache_hits += int(there.sum())
        self.done += int(there.sum())
        self.pending[rows[there]] = False
        reasons = self.features.undecodable(self.digests[rows[~there]])
        for row in rows[~there].tolist():
            reason = reasons.get(self.digests[row].tobytes())
            if reason is not None:
                self.pending[row] = False
                self.fail(row, reason)

    def claim(self, identified: Sequence[Identified]) -> list[Identified]:
        """Return the images that this pass has to compute; settle or set aside the other pending ones."""
        wanted = [item for item in identified if self.pending[item.row]]
        if not wanted:
            return []
        for item in wanted:
            self.pending[item.row] = False
            self.digests[item.row] = np.frombuffer(item.digest, dtype=np.uint8)
        digests = self.digests[[item.row for item in wanted]]
        there = self.features.contains(digests)
        reasons = self.features.undecodable(digests[~there])
        fresh: dict[bytes, Identified] = {}
        for item, found in zip(wanted, there.tolist(), strict=True):
            if item.digest in self._taken or item.digest in fresh:
                self._twins.append(item.row)
            elif found:
                self.cache_hits += 1
                self.done += 1
            elif item.digest in reasons:
                self.fail(item.row, reasons[item.digest])
            else:
                fresh[item.digest] = item
        if not fresh:
            return []
        granted = self.writer.claim(self.digests[[item.row for item in fresh.values()]]).tolist()
        mine = [item for item, ours in zip(fresh.values(), granted, strict=True) if ours]
        self.deferred.extend(item.row for item, ours in zip(fresh.values(), granted, strict=True) if not ours)
        self._taken.update(item.digest for item in mine)
        return mine

    def revisit(self) -> bool:
        """Settle what other processes have committed since, and take over what they have given up, as pending.

        Returns
        -------
        bool
            Whether anything has changed.
        """
        rows, self.deferred = np.array(self.deferred, dtype=np.intp), []
        if not len(rows):
            return False
        self.features.refresh()
        there = self.features.contains(self.digests[rows])
        reasons = self.features.undecodable(self.digests[rows[~there]])
        failed = np.array([digest.tobytes() in reasons for digest in self.digests[rows]], dtype=bool)
        self.cache_hits += int(there.sum())
        self.done += int(there.sum())
        for row in rows[failed].tolist():
            digest = self.digests[row].tobytes()
            self._reasons[digest] = reasons[digest]
            self.fail(row, reasons[digest])
        open_rows = rows[~there & ~failed]
        granted = self.writer.claim(self.digests[open_rows]) if len(open_rows) else np.zeros(0, dtype=np.bool_)
        self.deferred.extend(open_rows[~granted].tolist())
        self.pending[open_rows[granted]] = True
        return bool(granted.any() or len(open_rows) < len(rows))

    def settle(self, batch: Sequence[Ready], features: Features) -> None:
        """Hand the features of images over to the writer."""
        finite = cast(Mask, np.isfinite(features).all(axis=1))
        self.forward_passes += int(finite.sum())
        for item, fine in zip(batch, finite, strict=True):
            if fine:
                self.done += 1
            else:
                self.drop(item.row, item.digest, ImageError(_NOT_FINITE))
        digests = self.digests[[item.row for item in batch]]
        self.writer.add(digests[finite], features[finite])

    def drop(self, row: int, digest: bytes, error: ImageError) -> None:
        """Enter an image in the ledger; remember its digest when no run could ever decode it."""
        reason = str(error)
        self.fail(row, reason)
        self._reasons[digest] = reason
        if isinstance(error, UndecodableImageError):
            self.writer.add_undecodable(digest, reason)
        self.writer.release(np.frombuffer(digest, dtype=np.uint8)[None])

    def fail(self, row: int, reason: str) -> None:
        """Enter a row in the ledger of failures."""
        self.failures[row] = reason
        self.done += 1

    def settle_twins(self) -> None:
        """Settle the rows that share their bytes with one that was computed."""
        for row in self._twins:
            reason = self._reasons.get(self.digests[row].tobytes())
            if reason is not None:
                self.fail(row, reason)
            else:
                self.copies += 1
                self.done += 1
        self._twins = []
