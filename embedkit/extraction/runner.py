"""The one runner: from a source and requests to features in a store, in one pass over the images.

    which digests are known (stat memo) -> which are in the store -> read, identify -> claim -> decode, preprocess
    -> forward -> commit

Every image is read once, and decoded once for all networks that take the same pixels; outputs of one network share its
forward pass. All stages share one pool of threads, one a core (but what reads from URLs has many of its own), and each
is ahead of the next by a bounded number of images; the calling thread puts batches together and commits. A row's number
travels beside its pixels the whole way.

Layer: extraction; above the rooms, below the embedder. Knows images, preprocess, backbones and store.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.backbones import Backbone, FeatureRequest, check_batch_size
from embedkit.errors import ImageError, UsageError
from embedkit.extraction.job import Features, Job
from embedkit.extraction.network import Batch, Network, run_batch
from embedkit.extraction.pipeline import (
    Failed,
    Identified,
    identify,
    in_blocks,
    prefetch,
    prepare,
    task_size,
)
from embedkit.extraction.report import Extraction, Progress, Tick
from embedkit.extraction.resolution import Resolution, by_network, resolve, resolve_together
from embedkit.extraction.space import check_space
from embedkit.extraction.stopwatch import Stopwatch
from embedkit.images import ImageSource, StatMemo
from embedkit.results import Stages
from embedkit.store import FeatureStore

# Rows that are identified, looked up and claimed together, at least, and for each of many threads: large enough to make
# a claim cheap, small enough that the encoded bytes of two blocks are nothing beside a network.
_BLOCK, _BLOCK_A_THREAD = 64, 16

# Threads that read from URLs: they wait for answers and keep no core busy. More would not find work within two blocks.
_REMOTE_READERS = 64

# How long to sleep between looks at images that another process has claimed.
_POLL_SECONDS = 0.2


def run(
    source: ImageSource,
    request: FeatureRequest,
    store: FeatureStore,
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
    request : FeatureRequest
    store : FeatureStore
    progress : callable, optional
        Called with a `Tick` whenever images are settled.
    rehash : bool
        Read every file again to know its digest, whatever the stat memo says.
    batch_size : int, optional
        Images in one forward pass; by default the backbone's own choice. Short batches are filled up to it, so that
        all passes have one shape; but above 32, to no more than the source has images.
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
    resolved = None if backbone is None else [resolve(request, store, backbone=backbone)]
    [extraction] = run_many(
        source, [request], store, progress=progress, rehash=rehash, batch_size=batch_size, resolved=resolved
    )
    return extraction


def run_many(
    source: ImageSource,
    requests: Sequence[FeatureRequest],
    store: FeatureStore,
    *,
    progress: Progress | None = None,
    rehash: bool = False,
    batch_size: int | None = None,
    resolved: Sequence[tuple[Resolution, Backbone | None]] | None = None,
) -> list[Extraction]:
    """Do what `run` does for several requests in one pass over the images.

    All networks that have something to compute are in memory at once.

    Parameters
    ----------
    requests : sequence of FeatureRequest
        At least one.
    progress : callable, optional
        As in `run`; an image counts once for each kind of features.
    resolved : sequence of (Resolution, Backbone or None), optional
        What `resolve_together` gave for these requests.
    source, store, rehash, batch_size
        As in `run`, which also lists what is raised.

    Returns
    -------
    list of Extraction
        One a request.
    """
    if not requests:
        raise UsageError("no features were asked for, expected at least one request")
    check_batch_size(batch_size)
    return _Pass(source, store, progress, batch_size).execute(requests, resolved, rehash)


class _Claimed(NamedTuple):
    """An image and its place in a batch of each network that has a job waiting for it."""

    image: Identified
    places: list[tuple[Batch, int]]


class _Pass:
    def __init__(
        self,
        source: ImageSource,
        store: FeatureStore,
        progress: Progress | None,
        batch_size: int | None,
    ) -> None:
        self.source = source
        self.store = store
        self.progress = progress
        self.batch_size = batch_size
        self.threads = _threads()
        self.readers = max(self.threads, _REMOTE_READERS) if source.is_remote else self.threads
        self.block = max(_BLOCK, _BLOCK_A_THREAD * self.threads)
        self.side_by_side = self.threads
        self.on_device = False
        self.stopwatch = Stopwatch()
        self.stages: Stages | None = None

    def execute(
        self,
        requests: Sequence[FeatureRequest],
        resolved: Sequence[tuple[Resolution, Backbone | None]] | None,
        rehash: bool,
    ) -> list[Extraction]:
        started = time.monotonic()
        self.memo = StatMemo(self.store.memo_folder / self.source.memo_name)
        try:
            digests, known = self._recall_digests(rehash)
            if resolved is None:
                resolved = resolve_together(
                    requests, self.store, expected_images=len(self.source.keys), batch_size=self.batch_size
                )
            jobs: dict[str, Job] = {}  # two requests may mean the same features
            backbones: dict[str, Backbone | None] = {}
            for request, (resolution, backbone) in zip(requests, resolved, strict=True):
                fingerprint = resolution.spec.fingerprint
                if fingerprint not in jobs:
                    jobs[fingerprint] = Job(request, resolution.spec, self.store.features(resolution.spec), digests)
                backbones[fingerprint] = backbones.get(fingerprint) or backbone
            self.jobs = list(jobs.values())
            self.networks = self._group(backbones)
            for job in self.jobs:
                job.recall(known)
            self._tick()
            if any(job.pending.any() for job in self.jobs):
                check_space(self.store.path, [(job.spec, int(job.pending.sum())) for job in self.jobs])
                with ThreadPoolExecutor(self.threads, thread_name_prefix="embedkit-decode") as executor:
                    try:
                        self._compute(executor)
                    except BaseException:
                        executor.shutdown(wait=True, cancel_futures=True)
                        raise
        finally:
            self.memo.save()
        seconds = time.monotonic() - started
        return [self._outcome(jobs[resolution.spec.fingerprint], resolution, seconds) for resolution, _ in resolved]

    def _recall_digests(self, rehash: bool) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Take the digests of unchanged files from the memo; say which rows are known."""
        digests = np.zeros((len(self.source.keys), 32), dtype=np.uint8)
        known = np.zeros(len(digests), dtype=bool)
        if not rehash:
            rows, refs = self.source.on_disk()
            digests[rows], known[rows] = self.memo.lookup(refs)
        return digests, known

    def _group(self, backbones: dict[str, Backbone | None]) -> list[Network]:
        """Put together the jobs that share forward passes: outputs that were, or will be, loaded together."""
        networks: list[Network] = []
        for members in by_network([job.request.pinned(job.spec) for job in self.jobs]):
            jobs = [self.jobs[place] for place in members]
            given = [backbone for job in jobs if (backbone := backbones[job.spec.fingerprint]) is not None]
            loaded = given if len(given) == len(jobs) else None
            networks.append(Network(jobs, loaded, self.batch_size, self.store.memo_folder))
        return networks

    def _outcome(self, job: Job, resolution: Resolution, seconds: float) -> Extraction:
        network = next(network for network in self.networks if job in network.jobs)
        return Extraction(
            resolution=resolution,
            features=job.features,
            digests=job.digests,
            backbone=network.backbone_of(job),
            failures=dict(sorted(job.failures.items())),
            forward_passes=job.forward_passes,
            cache_hits=job.cache_hits,
            seconds=seconds,
            stages=self.stages if job.forward_passes else None,
            pace=network.images / network.seconds * self.side_by_side if network.seconds else None,
            copies=job.copies,
        )

    def _compute(self, executor: Executor) -> None:
        with contextlib.ExitStack() as stack:
            for job in self.jobs:
                job.writer = stack.enter_context(job.features.writer())
            self._work_off(executor)
            while any(job.deferred for job in self.jobs):
                # What is in a buffer may be what the other process waits for.
                for job in self.jobs:
                    job.writer.commit()
                changed = [job.revisit() for job in self.jobs]
                if any(job.pending.any() for job in self.jobs):
                    self._work_off(executor)
                elif not any(changed):
                    time.sleep(_POLL_SECONDS)
            with self.stopwatch.timed("commit"):
                for job in self.jobs:
                    job.writer.commit()
        self.stages = self.stopwatch.read_off(self.threads, self.readers, on_device=self.on_device)
        for job in self.jobs:
            job.settle_twins()
        self._tick()

    def _work_off(self, executor: Executor) -> None:
        rows: list[int] = np.flatnonzero(np.any([job.pending for job in self.jobs], axis=0)).tolist()
        working = [network for network in self.networks if any(job.pending.any() for job in network.jobs)]
        with self._reading(executor) as readers:
            ahead = 2 * self.block
            size = task_size(len(rows), self.threads, ahead)
            read_at_once = 1 if self.source.is_remote else size
            identified = itertools.chain.from_iterable(
                prefetch(readers, self._identify, in_blocks(rows, read_at_once), ahead // read_at_once)
            )
            prepared = prefetch(executor, self._prepare, in_blocks(self._claim(identified), size), ahead // size)
            batches = _batches(itertools.chain.from_iterable(prepared))
            for batch, features in self._forward(batches, working, executor):
                for job, computed in zip(batch.network.jobs, features, strict=True):
                    mine = [place for place, jobs in enumerate(batch.jobs) if job in jobs]
                    if mine:
                        with self.stopwatch.timed("commit"):
                            job.settle([batch.images[place] for place in mine], computed[mine])
                self._tick()

    @contextlib.contextmanager
    def _reading(self, executor: Executor) -> Generator[Executor]:
        """Give the threads that read: those of the other stages, unless reading is mostly waiting."""
        if not self.source.is_remote:
            yield executor
            return
        with ThreadPoolExecutor(self.readers, thread_name_prefix="embedkit-read") as readers:
            try:
                yield readers
            except BaseException:
                readers.shutdown(wait=True, cancel_futures=True)
                raise

    def _identify(self, rows: list[int]) -> list[Identified | Failed]:
        with self.stopwatch.timed("read"):
            return [identify(row, self.source.images[row]) for row in rows]

    def _claim(self, identified: Iterable[Identified | Failed]) -> Iterator[_Claimed]:
        """Let pass what this pass has to compute for some job; settle or set aside everything else."""
        filling: dict[Network, Batch] = {}
        for block in in_blocks(identified, self.block):
            images: list[Identified] = []
            for item in block:
                if isinstance(item, Failed):
                    for job in self.jobs:
                        if job.pending[item.row]:
                            job.pending[item.row] = False
                            job.fail(item.row, str(item.error))
                    continue
                if item.file is not None:
                    self.memo.record(*item.file, item.digest)
                images.append(item)
            wanted: dict[int, list[Job]] = {}
            for job in self.jobs:
                for item in job.claim(images):
                    wanted.setdefault(item.row, []).append(job)
            for item in images:
                if item.row in wanted:
                    yield _Claimed(item, self._place(item, wanted[item.row], filling))
            self._tick()

    def _place(self, image: Identified, waiting: list[Job], filling: dict[Network, Batch]) -> list[tuple[Batch, int]]:
        """Give an image its place in a batch of each network whose jobs wait for it."""
        places: list[tuple[Batch, int]] = []
        for network in self.networks:
            jobs = [job for job in waiting if job in network.jobs]
            if not jobs:
                continue
            batch = filling.get(network)
            if batch is None or batch.is_full:
                batch = filling[network] = network.new_batch(len(self.source))
            places.append((batch, batch.place(image, jobs)))
        return places

    def _prepare(self, block: list[_Claimed]) -> list[tuple[_Claimed, list[ImageError | None]]]:
        with self.stopwatch.timed("decode"):
            return [
                (claimed, prepare(claimed.image, [(one.network.recipe, one.pixels[at]) for one, at in claimed.places]))
                for claimed in block
            ]

    def _forward(
        self, batches: Iterator[Batch], networks: Sequence[Network], executor: Executor
    ) -> Iterator[tuple[Batch, list[Features]]]:
        """Run the networks, in order of the batches.

        On a CPU passes run side by side in the threads that also decode, one core each; a GPU has one under way and one
        waiting, in threads of their own: in the pool they would wait behind the images that are to be decoded.
        """
        first = next(batches, None)
        if first is None:
            return
        with contextlib.ExitStack() as stack:
            ahead = self.threads
            if any(network.needs_torch for network in networks):  # else no torch is loaded
                from embedkit.backbones import keep_thread_count

                stack.enter_context(keep_thread_count())
            self.on_device = any(network.on_device for network in networks)
            if self.on_device:
                ahead = 1
                self.side_by_side = 2
                executor = stack.enter_context(ThreadPoolExecutor(2, thread_name_prefix="embedkit-device"))
            run = functools.partial(run_batch, images=len(self.source))
            for batch, features, seconds in prefetch(executor, run, itertools.chain([first], batches), ahead):
                batch.network.images += len(batch.images)
                batch.network.seconds += seconds
                self.stopwatch.add("forward", seconds)
                yield batch, features

    def _tick(self) -> None:
        if self.progress is not None:
            done, found, failed = (
                sum(counts)
                for counts in zip(*((job.done, job.cache_hits, len(job.failures)) for job in self.jobs), strict=True)
            )
            self.progress(Tick(len(self.source.keys) * len(self.jobs), done, found, failed))


def _batches(prepared: Iterable[tuple[_Claimed, list[ImageError | None]]]) -> Iterator[Batch]:
    """Yield batches, each when the last of its images was decoded; of images that are none, say so to their jobs."""
    unfinished: dict[Network, Batch] = {}
    for claimed, errors in prepared:
        for (batch, place), error in zip(claimed.places, errors, strict=True):
            unfinished[batch.network] = batch
            if error is not None:
                batch.failed.add(place)
                for job in batch.jobs[place]:
                    job.drop(claimed.image.row, claimed.image.digest, error)
            if place == len(batch.pixels) - 1:
                yield unfinished.pop(batch.network)
    yield from unfinished.values()


def _threads() -> int:
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
