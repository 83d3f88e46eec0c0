"""The one runner: from a source and a request to features in a store.

    which digests are known (stat memo) -> which are in the store -> read, identify -> claim -> decode, preprocess
    -> forward -> commit

All stages share one pool of threads, one a core, and each is ahead of the next by a bounded number of images; the
calling thread puts batches together and commits. A row's number travels beside its pixels the whole way.

Layer: extraction; above the rooms, below the embedder. Knows images, preprocess, backbones and store.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import cast

import numpy as np
import numpy.typing as npt

from embedkit.backbones import Backbone
from embedkit.errors import ImageError, UndecodableImageError
from embedkit.extraction.pipeline import Failed, Identified, Ready, identify, prefetch, prepare
from embedkit.extraction.report import Extraction, Progress, Tick
from embedkit.extraction.request import ExtractionRequest
from embedkit.extraction.resolution import load, resolve
from embedkit.images import ImageSource, StatMemo
from embedkit.preprocess import Preprocessor
from embedkit.specs import require_equal
from embedkit.store import FeatureSet, FeatureStore, MemoryFeatureStore, Writer

# Rows that are identified, looked up and claimed together: large enough to make a claim cheap, small enough that the
# encoded bytes of two blocks are nothing beside a network.
_BLOCK = 64
Features = npt.NDArray[np.float32]

_NOT_FINITE = "the network gives features that are not finite; try another precision"

# How long to sleep between looks at images that another process has claimed.
_POLL_SECONDS = 0.2


def run(
    source: ImageSource,
    request: ExtractionRequest,
    store: FeatureStore | MemoryFeatureStore,
    *,
    progress: Progress | None = None,
    rehash: bool = False,
    batch_size: int | None = None,
    backbone: Backbone | None = None,
) -> Extraction:
    """Compute what the store does not hold of a source's features, and commit it.

    Parameters
    ----------
    source : ImageSource
    request : ExtractionRequest
    store : FeatureStore or MemoryFeatureStore
    progress : callable, optional
        Called with a `Tick` whenever images are settled.
    rehash : bool
        Read every file again to know its digest, whatever the stat memo says.
    batch_size : int, optional
        Images in one forward pass; by default the backbone's own choice.
    backbone : Backbone, optional
        The backbone of this very request, where the caller has loaded it before.

    Returns
    -------
    Extraction

    Raises
    ------
    BackboneError
        The backbone cannot be built as asked.
    StoreError
        The store cannot be read or written. Rows committed before are intact; the next run resumes there.
    """
    return _Run(source, request, store, progress, rehash, batch_size, backbone).execute()


class _Run:
    def __init__(
        self,
        source: ImageSource,
        request: ExtractionRequest,
        store: FeatureStore | MemoryFeatureStore,
        progress: Progress | None,
        rehash: bool,
        batch_size: int | None,
        backbone: Backbone | None,
    ) -> None:
        self.source = source
        self.request = request
        self.store = store
        self.progress = progress
        self.rehash = rehash
        self.batch_size = batch_size
        self.digests = np.zeros((len(source.keys), 32), dtype=np.uint8)
        self.failures: dict[int, str] = {}
        self.cache_hits = 0
        self.forward_passes = 0
        self.done = 0
        self.backbone = backbone
        # Digests that this run has taken on: a second row with the same bytes costs no second pass.
        self.taken: set[bytes] = set()
        # Why a digest that this run has taken on came to nothing.
        self.reasons: dict[bytes, str] = {}
        self.twins: list[int] = []  # rows that wait for such a digest
        self.deferred: list[int] = []  # rows whose images another process is computing

    def execute(self) -> Extraction:
        started = time.monotonic()
        folder = self.store.memo_folder if isinstance(self.store, FeatureStore) else None
        memo = StatMemo(folder / self.source.memo_name) if folder is not None else None
        try:
            known = self._recall_digests(memo)
            self.resolution, self.backbone = resolve(
                self.request,
                self.store,
                expected_images=len(self.source.keys),
                batch_size=self.batch_size,
                backbone=self.backbone,
            )
            self.features: FeatureSet = self.store.features(self.resolution.spec)
            rows = self._missing_rows(known)
            self._tick()
            if len(rows):
                with ThreadPoolExecutor(_threads(), thread_name_prefix="embedkit-decode") as executor:
                    try:
                        self._compute(rows, executor, memo)
                    except BaseException:
                        executor.shutdown(wait=True, cancel_futures=True)
                        raise
        finally:
            if memo is not None:
                memo.save()
        return Extraction(
            resolution=self.resolution,
            features=self.features,
            digests=self.digests,
            backbone=self.backbone,
            failures=dict(sorted(self.failures.items())),
            forward_passes=self.forward_passes,
            cache_hits=self.cache_hits,
            seconds=time.monotonic() - started,
        )

    def _recall_digests(self, memo: StatMemo | None) -> npt.NDArray[np.bool_]:
        """Take the digests of unchanged files from the memo; return which rows are known."""
        known = np.zeros(len(self.digests), dtype=bool)
        if memo is not None and not self.rehash:
            rows, refs = self.source.on_disk()
            digests, found = memo.lookup(refs)
            self.digests[rows] = digests
            known[rows] = found
        return known

    def _missing_rows(self, known: npt.NDArray[np.bool_]) -> list[int]:
        """Settle the rows whose digests are known and in the store; return the others."""
        rows = np.flatnonzero(known)
        digests = self.digests[rows]
        there = self.features.contains(digests)
        self.cache_hits += int(there.sum())
        self.done += int(there.sum())
        reasons = self.features.undecodable(digests[~there])
        settled = known.copy()
        settled[rows[~there]] = False
        for row in rows[~there].tolist():
            reason = reasons.get(self.digests[row].tobytes())
            if reason is not None:
                self._fail(row, reason)
                settled[row] = True
        return np.flatnonzero(~settled).tolist()

    def _compute(self, rows: list[int], executor: Executor, memo: StatMemo | None) -> None:
        with self.features.writer() as writer:
            self._work_off(rows, executor, writer, memo)
            while self.deferred:
                # What is in the buffer may be what the other process waits for.
                writer.commit()
                self._revisit_deferred(executor, writer, memo)
        for row in self.twins:
            reason = self.reasons.get(self.digests[row].tobytes())
            if reason is not None:
                self._fail(row, reason)
            else:
                self.done += 1
        self._tick()

    def _work_off(self, rows: list[int], executor: Executor, writer: Writer, memo: StatMemo | None) -> None:
        identified = prefetch(executor, self._identify, rows, ahead=2 * _BLOCK)
        claimed = self._claim(identified, writer, memo)
        prepared = prefetch(executor, self._prepare, claimed, ahead=2 * _BLOCK)
        for batch, features in self._passes(self._batches(prepared, writer), executor):
            self._settle(batch, features, writer)

    def _batches(self, prepared: Iterable[Ready | Failed], writer: Writer) -> Iterator[list[Ready]]:
        batch: list[Ready] = []
        for item in prepared:
            if isinstance(item, Failed):
                self._drop(item, writer)
                continue
            batch.append(item)
            if len(batch) == self._loaded().batch_size:
                yield batch
                batch = []
        if batch:
            yield batch

    def _passes(self, batches: Iterator[list[Ready]], executor: Executor) -> Iterator[tuple[list[Ready], Features]]:
        """Run the network, in order of the batches.

        On a CPU passes run side by side in the threads that also decode, one core each; a GPU has one pass under way
        and one waiting.
        """
        first = next(batches, None)
        if first is None:
            return
        backbone = self._loaded()
        ahead = _threads() if backbone.device == "cpu" else 1
        with contextlib.ExitStack() as stack:
            if backbone.module is not None:  # a pseudo-backbone needs no torch
                from embedkit.backbones.threads import keep_thread_count

                stack.enter_context(keep_thread_count())
            yield from prefetch(executor, self._pass, itertools.chain([first], batches), ahead)

    def _pass(self, batch: list[Ready]) -> tuple[list[Ready], Features]:
        backbone = self._loaded()
        if backbone.module is not None:
            from embedkit.backbones.threads import use_one_thread

            use_one_thread()
        return batch, backbone(np.stack([item.pixels for item in batch]))

    def _identify(self, row: int) -> Identified | Failed:
        return identify(row, self.source.images[row])

    def _prepare(self, identified: Identified) -> Ready | Failed:
        return prepare(identified, self.resolution.spec.decode, self._preprocessor)

    @functools.cached_property
    def _preprocessor(self) -> Preprocessor:
        return Preprocessor(self.resolution.spec.preprocess)

    def _claim(
        self, identified: Iterable[Identified | Failed], writer: Writer, memo: StatMemo | None
    ) -> Iterator[Identified]:
        """Let pass what this run has to compute; settle or set aside everything else."""
        for block in _blocks(identified):
            candidates: list[Identified] = []
            for item in block:
                if isinstance(item, Failed):
                    self._fail(item.row, str(item.error))
                    continue
                self.digests[item.row] = np.frombuffer(item.digest, dtype=np.uint8)
                if memo is not None and item.file is not None:
                    memo.record(*item.file, item.digest)
                candidates.append(item)
            for item in self._claim_block(candidates, writer):
                self.taken.add(item.digest)
                yield item
            self._tick()

    def _claim_block(self, candidates: list[Identified], writer: Writer) -> list[Identified]:
        if not candidates:
            return []
        digests = self.digests[[item.row for item in candidates]]
        there = self.features.contains(digests)
        reasons = self.features.undecodable(digests[~there])
        fresh: dict[bytes, Identified] = {}
        for item, found in zip(candidates, there.tolist(), strict=True):
            if item.digest in self.taken or item.digest in fresh:
                self.twins.append(item.row)
            elif found:
                self.cache_hits += 1
                self.done += 1
            elif item.digest in reasons:
                self._fail(item.row, reasons[item.digest])
            else:
                fresh[item.digest] = item
        if not fresh:
            return []
        granted = writer.claim(self.digests[[item.row for item in fresh.values()]])
        mine = [item for item, ours in zip(fresh.values(), granted.tolist(), strict=True) if ours]
        self.deferred.extend(item.row for item, ours in zip(fresh.values(), granted.tolist(), strict=True) if not ours)
        return mine

    def _revisit_deferred(self, executor: Executor, writer: Writer, memo: StatMemo | None) -> None:
        """Settle what the other process has committed since, and take over what it has given up."""
        rows, self.deferred = np.array(self.deferred), []
        self.features.refresh()
        there = self.features.contains(self.digests[rows])
        reasons = self.features.undecodable(self.digests[rows[~there]])
        failed = np.array([digest.tobytes() in reasons for digest in self.digests[rows]], dtype=bool)
        self.done += int(there.sum())
        for row in rows[failed].tolist():
            self._fail(row, reasons[self.digests[row].tobytes()])
        open_rows = rows[~there & ~failed]
        if not len(open_rows):
            return
        granted = writer.claim(self.digests[open_rows])
        self.deferred.extend(open_rows[~granted].tolist())
        if granted.any():
            self._work_off(open_rows[granted].tolist(), executor, writer, memo)
        elif not there.any():
            time.sleep(_POLL_SECONDS)

    def _settle(self, batch: list[Ready], features: Features, writer: Writer) -> None:
        self.forward_passes += len(batch)
        finite = cast(npt.NDArray[np.bool_], np.isfinite(features).all(axis=1))
        for item, fine in zip(batch, finite, strict=True):
            if fine:
                self.done += 1
            else:
                self._drop(Failed(item.row, item.digest, ImageError(_NOT_FINITE)), writer)
        digests = self.digests[[item.row for item in batch]]
        writer.add(digests[finite], features[finite])
        self._tick()

    def _drop(self, failed: Failed, writer: Writer) -> None:
        """Enter an image in the ledger; remember its digest when no run could ever decode it."""
        reason = str(failed.error)
        self._fail(failed.row, reason)
        if failed.digest is not None:
            self.reasons[failed.digest] = reason
            if isinstance(failed.error, UndecodableImageError):
                writer.add_undecodable(failed.digest, reason)
            writer.release(np.frombuffer(failed.digest, dtype=np.uint8)[None])

    def _fail(self, row: int, reason: str) -> None:
        self.failures[row] = reason
        self.done += 1

    def _loaded(self) -> Backbone:
        if self.backbone is None:
            self.backbone = load(self.request.pinned(self.resolution.spec), batch_size=self.batch_size)
            require_equal(
                self.request.feature_spec(self.backbone),
                self.resolution.spec,
                "the backbone is not the one that the memo of requests promised; run again with --rehash",
            )
        return self.backbone

    def _tick(self) -> None:
        if self.progress is not None:
            self.progress(Tick(len(self.digests), self.done, self.cache_hits, len(self.failures)))


def _blocks(items: Iterable[Identified | Failed]) -> Iterator[list[Identified | Failed]]:
    remaining = iter(items)
    while block := list(itertools.islice(remaining, _BLOCK)):
        yield block


def _threads() -> int:
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
