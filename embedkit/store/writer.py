"""A writer: collects rows in memory and commits them as parts.

Rows are committed when they take 64 MB, when the oldest has waited 30 seconds (looked at whenever something is added),
and when the writer is left, be it by an exception or an interrupt: a row that was added is whole, whatever happened
after it. The small parts that a long run leaves behind are merged as soon as they make up a large one, and at the end.

Layer: above parts, merge, leases and undecodable; below stored, which makes writers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from embedkit.errors import EmbedkitError, StoreLostError, StoreWriteError, UsageError
from embedkit.files import Disk, Folder
from embedkit.store.digests import Digests, Features, Mask, as_digest, as_digests, check_rows, keys_of
from embedkit.store.layout import LEASES, committed_length, ensure_features_folder, part_names, touch_last_use
from embedkit.store.leases import Leases
from embedkit.store.merge import maintenance, merge_parts
from embedkit.store.parts import row_bytes, write_part
from embedkit.store.row_buffer import RowBuffer
from embedkit.store.undecodable import write_undecodable

if TYPE_CHECKING:
    from embedkit.store.stored import FeatureSet

COMMIT_BYTES = 64 << 20
COMMIT_SECONDS = 30.0

# Small parts within a factor of eight are of one size; so many of them are merged by the next writer that is left, and
# so many at most, which takes it a tenth of a second.
_BITS_OF_A_SIZE, _MANY_PARTS, _MERGED_IN_PASSING = 3, 16, 64

_log = logging.getLogger(__name__)


class Writer:
    """Puts rows into a feature set; a context manager, to be used by one thread; made by `FeatureSet.writer`.

    What was added becomes visible and permanent when it is committed: by `commit`, by itself after 30 seconds or 64 MB
    (judged whenever something is added), and when the writer is left, also by an exception or an interrupt, since every
    row that was added is whole whatever happened after it.

    Parameters
    ----------
    features : FeatureSet
        What is written to.
    folder : Folder
        Where its parts lie.
    committed : callable
        Called when something new is in the folder.
    commit_bytes : int
    commit_seconds : float
    lease_seconds : float
    disk : Disk
    """

    def __init__(
        self,
        features: FeatureSet,
        folder: Folder,
        committed: Callable[[], None],
        *,
        commit_bytes: int,
        commit_seconds: float,
        lease_seconds: float,
        disk: Disk,
    ) -> None:
        self._features = features
        self._folder = folder
        self._committed = committed
        self._commit_bytes = commit_bytes
        self._commit_seconds = commit_seconds
        self._disk = disk
        self._row_bytes = row_bytes(features.spec)
        self._leases = Leases(folder.child(LEASES), lease_seconds)
        self._buffer = RowBuffer(features.spec, min(commit_bytes, COMMIT_BYTES))
        self._added: set[bytes] = set()
        self._reasons: dict[bytes, str] = {}
        self._oldest: float | None = None
        self._small: list[str] = []
        self._wrote = False
        self._open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.commit()
                self._merge_small(at_least=0)
                self._merge_in_passing()
            else:
                self._commit_after(error)
        finally:
            self._open = False
            self._leases.close()

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
        self._check_open()
        wanted = as_digests(digests)
        features = np.asarray(features)
        check_rows(wanted, features, self._features.spec)
        first: dict[bytes, int] = {}
        for position, key in enumerate(keys_of(wanted)):
            if key not in self._added:
                first.setdefault(key, position)
        if len(first) < len(wanted):
            keep = list(first.values())
            wanted, features = wanted[keep], features[keep]
        self._buffer.add(wanted, features)
        self._added.update(first)  # an interrupt before this line costs a row stored twice
        self._commit_if_due()

    def add_undecodable(self, digest: bytes, reason: str) -> None:
        """Remember that the bytes of a digest are no image, and why, so that nobody decodes them again."""
        self._check_open()
        self._reasons.setdefault(as_digest(digest), reason)
        self._commit_if_due()

    def commit(self) -> None:
        """Commit what was added; what it says is there for ever, whatever happens to this process or machine.

        Raises
        ------
        StoreWriteError
            The disk is full, read-only or failing. What was committed before is intact; the rows stay in the writer.
        """
        if not len(self._buffer) and not self._reasons:
            return
        spec = self._features.spec
        ensure_features_folder(self._folder, spec, self._disk)  # gc may have dropped it
        touch_last_use(self._folder)
        if len(self._buffer):
            part = write_part(self._folder, spec, self._buffer.digests(), self._buffer.blocks(), self._disk)
            self._small.append(part)
            self._wrote = True
            self._committed()
            self._leases.release(self._added)
            self._added = set()
            self._buffer.clear()
        if self._reasons:
            write_undecodable(self._folder, spec.fingerprint, self._reasons, self._disk)
            self._committed()
            self._leases.release(self._reasons)
            self._reasons = {}
        self._oldest = None
        self._merge_small(at_least=self._commit_bytes)

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
        self._check_open()
        wanted = as_digests(digests)
        keys = keys_of(wanted)
        known = self._known(wanted)
        with suppress(StoreWriteError):  # then there are no leases, and the commit will say what is wrong
            ensure_features_folder(self._folder, self._features.spec, self._disk)
        granted = self._leases.claim(key for key in keys if key not in known and key not in self._added)
        # Another writer commits before it ends its lease: what was being computed a moment ago is there now.
        self._features.refresh()
        known = self._known(wanted)
        self._leases.release(granted & known)
        granted -= known
        return np.array([key in granted for key in keys], dtype=np.bool_)

    def release(self, digests: Digests) -> None:
        """Give up claims on rows that will not be computed after all."""
        self._leases.release(keys_of(as_digests(digests)))

    def _known(self, digests: Digests) -> set[bytes]:
        """Return those of the digests that have a row or a reason why they have none."""
        present = self._features.contains(digests)
        return set(keys_of(digests[present])) | self._features.undecodable(digests).keys()

    def _commit_if_due(self) -> None:
        now = time.monotonic()
        if self._oldest is None:
            self._oldest = now
        if len(self._buffer) * self._row_bytes >= self._commit_bytes or now - self._oldest >= self._commit_seconds:
            self.commit()

    def _commit_after(self, error: BaseException) -> None:
        """Commit what an exception or an interrupt left in the writer; the exception itself goes on.

        A failure to write that was the exception is not told twice.
        """
        try:
            self.commit()
        except (EmbedkitError, OSError) as second:
            if not isinstance(error, StoreWriteError | StoreLostError):
                count = len(self._buffer)
                _log.warning("%d rows could not be committed after %s: %s", count, type(error).__name__, second)

    def _merge_small(self, at_least: int) -> None:
        """Merge the small parts of this writer when together they have so many bytes.

        All rows are committed already: a merge that fails is tried again later, at last by `pack`.
        """
        limit = self._commit_bytes // 2
        self._small = [name for name in self._small if committed_length(name) < limit]
        if len(self._small) < 2 or sum(map(committed_length, self._small)) < at_least:
            return
        try:
            with maintenance(self._folder, wait=False) as free:
                if free:
                    merged = merge_parts(self._folder, self._features.spec, self._small, self._disk)
                    self._small = [merged] if merged else []
                    self._committed()
        except (EmbedkitError, OSError) as error:
            _log.warning("small parts are not merged (their rows are safe): %s", error)
            self._small = []

    def _merge_in_passing(self) -> None:
        """Merge small parts of whatever writers, when there are many of about one size.

        Short runs leave a part each. Parts are put together with others of their size, so that a row is written again
        only a few times however many runs there are.
        """
        if not self._wrote:
            return
        sizes: dict[int, list[str]] = {}
        for name in part_names(self._folder):
            if committed_length(name) < self._commit_bytes // 2:
                sizes.setdefault(committed_length(name).bit_length() // _BITS_OF_A_SIZE, []).append(name)
        chosen = next((names for _, names in sorted(sizes.items()) if len(names) >= _MANY_PARTS), None)
        if chosen is None:
            return
        try:
            stats = self._folder.stats(chosen)
            chosen = sorted(stats, key=lambda name: (stats[name].st_mtime_ns, name))[:_MERGED_IN_PASSING]
            with maintenance(self._folder, wait=False) as free:
                if free:
                    merge_parts(self._folder, self._features.spec, chosen, self._disk)
                    self._committed()
        except (EmbedkitError, OSError) as error:
            _log.warning("small parts are not merged (their rows are safe): %s", error)

    def _check_open(self) -> None:
        if not self._open:
            raise UsageError("this writer was left already; make another one")
