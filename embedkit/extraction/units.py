"""One unit of a plan: an idempotent piece of work that first asks what is committed already.

Whatever runs units (a shell, a Slurm array, Ray, Dask, one process a device) needs no more than to call `extract` until
every unit was done once. A unit that has killed its processes `DEATHS` times, say by an image that crashes a decoder
or needs more memory than there is, is done by child processes in small pieces from then on: an image that kills its
process even when it is alone becomes a failure with its reason. Such a reason is kept with the plan, not with the
digest in the store, because another machine or another plan may fare better with the same bytes.

Layer: extraction; above the rooms, below the embedder.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from embedkit.backbones import Backbone, check_batch_size
from embedkit.errors import SourceNotFoundError, SpecMismatchError, WorkerDiedError
from embedkit.extraction.child import Child, ChildSettings
from embedkit.extraction.pipeline import Identified, identify
from embedkit.extraction.plan import PlanFile
from embedkit.extraction.reachable import check_reachable, is_there, was_there
from embedkit.extraction.records import PlanState, Records, UnitRecord, state_of, this_worker
from embedkit.extraction.report import Extraction, Progress, Tick
from embedkit.extraction.runner import run_many
from embedkit.images import ImageRef, ImageSource
from embedkit.specs import describe_differences

DEATHS = 2
"""So many processes may die over a unit, or over a single image, before it is treated as the cause."""

# How often a worker says how far it is.
_REPORT_SECONDS = 5.0

# Beyond so many units, each has its own memo of file stamps: all of them rewriting the memo of the whole source would
# cost more than the images.
_UNITS_SHARING_A_MEMO = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitResult:
    """What a unit did. Each of its rows is a forward pass, a cache hit, a copy or a failure, and only one of these.

    Attributes
    ----------
    number, count : int
    rows : int
        Images in the unit.
    failures : dict of int to str
        Row of the plan -> reason.
    forward_passes, cache_hits, copies : int
        As in `Extraction`.
    seconds : float
    """

    number: int
    count: int
    rows: int
    failures: dict[int, str] = field(default_factory=dict[int, str])
    forward_passes: int = 0
    cache_hits: int = 0
    copies: int = 0
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        record = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**record, "failures": {str(row): reason for row, reason in self.failures.items()}}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> UnitResult:
        """Build a result from what `to_dict` returned."""
        failures: dict[str, str] = record["failures"]
        result = cls(**{name: value for name, value in record.items() if name != "failures"})
        return replace(result, failures={int(row): reason for row, reason in failures.items()})


@dataclass(frozen=True, slots=True)
class _Counts:
    forward_passes: int
    cache_hits: int
    copies: int


class UnitWorker:
    """Does units of one plan, one after another, with the backbone loaded once.

    Parameters
    ----------
    file : PlanFile
    device : str, optional
        In place of the plan's.
    batch_size : int, optional

    Raises
    ------
    UsageError
        The device or the batch size is none.
    PlanError
        The plan cannot be read.
    StoreError
        Its store cannot be opened.
    """

    def __init__(self, file: PlanFile, *, device: str | None = None, batch_size: int | None = None) -> None:
        check_batch_size(batch_size)
        self.plan = file.read()
        self.store = self.plan.open_store()
        self._file = file
        self._device = device
        self._batch_size = batch_size
        self._request = self.plan.pinned(device)
        self._records = Records(self.plan, self.store.memo_folder)
        self._backbone: Backbone | None = None

    def extract(self, number: int, count: int, progress: Progress | None = None) -> UnitResult:
        """Do what is left of unit `number` (from 1) of `count`.

        Raises
        ------
        UsageError
            There is no such unit.
        SpecMismatchError, BackboneError
            This machine computes other features than the plan says.
        SourceNotFoundError
            The folder or an archive of the images is not there, or not one image of the unit; then it is not done.
        StoreError
            The store cannot be read or written. What was committed before is intact.
        """
        started = time.monotonic()
        rows = self.plan.unit(number, count)
        record = self._records.read(number, count)
        before = state_of(self.plan, self._records.read_all(rows), self.store.features(self.plan.resolution.spec))
        todo = [row for row in rows if not before.final[row]]
        found = int(before.present[rows.start : rows.stop].sum())
        if not todo:
            failures = {row: before.failures[row] for row in rows if row in before.failures}
            return UnitResult(number=number, count=count, rows=len(rows), failures=failures, cache_hits=found)
        check_reachable(self.plan, todo)
        self._renew(record, rows, before, todo)
        leases = self._records.leases()
        try:
            # While another worker is alive on this unit, its unfinished attempt is no death.
            if leases.claim([record.lease]):
                record.deaths += 1
            self._records.write(record)
            work = self._work_carefully if record.deaths > DEATHS else self._work
            try:
                counts = work(record, rows, todo, progress)
                self._check_not_lost(record, rows, before)
                record.done = len(rows)
            finally:
                # Whoever comes to this line was not killed by an image, whatever else went wrong.
                record.deaths = 0
                self._records.write(record)
        finally:
            leases.close()
        failures = {row: before.failures[row] for row in rows if before.final[row] and row in before.failures}
        return UnitResult(
            number=number,
            count=count,
            rows=len(rows),
            failures={**failures, **record.failures, **record.killers},
            forward_passes=counts.forward_passes,
            cache_hits=found + counts.cache_hits,
            copies=counts.copies,
            seconds=time.monotonic() - started,
        )

    def extract_rows(self, rows: Sequence[int], memo_name: str, progress: Progress | None = None) -> Extraction:
        """Compute what the store does not hold of some rows of the plan.

        Parameters
        ----------
        rows : sequence of int
        memo_name : str
            The source whose memo of file stamps is used.
        progress : callable, optional

        Raises
        ------
        SpecMismatchError, BackboneError, StoreError
            As for `extract`.
        """
        try:
            [extraction] = run_many(
                _subset(self.plan.source, rows, memo_name),
                [self._request],
                self.store,
                progress=progress,
                batch_size=self._batch_size,
                resolved=[(self.plan.resolution, self._backbone)],
            )
        except SpecMismatchError as error:
            raise SpecMismatchError(
                f"this machine cannot honour {self._file.path}: {describe_differences([*error.differences])}; use the "
                "weights and versions that the plan was made with, or make a new plan",
                error.differences,
            ) from error
        self._backbone = extraction.backbone
        return extraction

    def _renew(self, record: UnitRecord, rows: range, before: PlanState, todo: Sequence[int]) -> None:
        """Take over what other records say of this unit's rows, and forget failures that are past or tried again."""
        record.digests[:] = before.digests[rows.start : rows.stop]
        record.digests[[row - rows.start for row in todo]] = 0
        record.failures = {row: reason for row, reason in before.failures.items() if row in rows and before.final[row]}
        record.killers = {row: reason for row, reason in record.killers.items() if not before.present[row]}
        record.worker, record.done = this_worker(), len(rows) - len(todo)

    def _check_not_lost(self, record: UnitRecord, rows: range, before: PlanState) -> None:
        """Refuse a unit none of whose images is there any more: what it says of them is not kept."""
        read = [bool(digest.any()) for digest in record.digests]
        unread = [row for row in record.failures if not read[row - rows.start] and was_there(self.plan, row)]
        if not unread or any(is_there(self.plan, row, read[row - rows.start]) for row in rows):
            return
        first = min(unread)
        reason = record.failures[first]
        for row in unread:
            del record.failures[row]
            if row in before.failures:
                record.failures[row] = before.failures[row]
        raise SourceNotFoundError(
            f"none of the {len(rows)} images of unit {record.number}/{record.count} is there (first: "
            f"{self.plan.source.keys[first]!r}: {reason}); mount their folder and run the unit again, or make a new "
            "plan if they are gone for good"
        )

    def _work(self, record: UnitRecord, rows: range, todo: Sequence[int], progress: Progress | None) -> _Counts:
        """Compute rows and enter what became of them in the record."""
        memo_name = self.plan.source.name
        if record.count > _UNITS_SHARING_A_MEMO:
            memo_name += f"#{self.plan.id[:16]}/{record.number}/{record.count}"
        reported = time.monotonic()

        def report(tick: Tick) -> None:
            nonlocal reported
            if progress is not None:
                progress(tick)
            if time.monotonic() - reported > _REPORT_SECONDS:
                reported, record.done = time.monotonic(), len(rows) - len(todo) + tick.done
                self._records.write(record)

        extraction = self.extract_rows(todo, memo_name, report)
        record.digests[[row - rows.start for row in todo]] = extraction.digests
        record.failures |= {todo[place]: reason for place, reason in extraction.failures.items()}
        return _Counts(extraction.forward_passes, extraction.cache_hits, extraction.copies)

    def _work_carefully(
        self, record: UnitRecord, rows: range, todo: Sequence[int], progress: Progress | None
    ) -> _Counts:
        """Do what `_work` does in a child process, so that an image which kills its process is found.

        What is known is written down at each step: this process may be killed along with its child, as a container is
        that runs out of memory. When that has happened, images are done one by one.
        """
        passes = hits = copies = done = 0
        failures: dict[int, str] = {}
        size = 1 if record.deaths > DEATHS + 1 else math.isqrt(len(todo) - 1) + 1
        pieces = [todo[start : start + size] for start in range(0, len(todo), size)]
        settings = ChildSettings(plan=self._file, device=self._device, batch_size=self._batch_size)
        with Child(settings) as child:
            for part, answer in self._isolated(child, record, pieces):
                done += len(part)
                if isinstance(answer, str):
                    record.killers[part[0]] = answer
                    seen = identify(part[0], self.plan.source.images[part[0]])  # reads it, decodes nothing
                    digests = [seen.digest if isinstance(seen, Identified) else bytes(32)]
                else:
                    digests = [bytes.fromhex(digest) for digest in answer["digests"]]
                    failures |= {part[int(place)]: reason for place, reason in answer["failures"].items()}
                    passes += answer["forward_passes"]
                    hits += answer["cache_hits"]
                    copies += answer["copies"]
                for row, digest in zip(part, digests, strict=True):
                    record.digests[row - rows.start] = np.frombuffer(digest, np.uint8)
                    record.strikes.pop(row, None)
                record.done = len(rows) - len(todo) + done
                self._records.write(record)
                if progress is not None:
                    progress(Tick(len(todo), done, hits, len(failures) + len(record.killers)))
        record.failures |= failures
        return _Counts(passes, hits, copies)

    def _isolated(
        self, child: Child, record: UnitRecord, pieces: Sequence[Sequence[int]]
    ) -> Iterator[tuple[Sequence[int], Mapping[str, Any] | str]]:
        """Let a child do pieces, row by row where it dies.

        Yields
        ------
        part : sequence of int
        answer : mapping or str
            Of the child; or, for a single row, why there will be none.
        """
        for piece in pieces:
            if len(piece) > 1:
                try:
                    yield piece, child.extract_rows(piece)
                    continue
                except WorkerDiedError:
                    pass
            for row in piece:
                yield [row], self._alone(child, record, row)

    def _alone(self, child: Child, record: UnitRecord, row: int) -> Mapping[str, Any] | str:
        manner = "and the processes beside it"
        while record.strikes.get(row, 0) < DEATHS:
            record.strikes[row] = record.strikes.get(row, 0) + 1
            self._records.write(record)
            try:
                return child.extract_rows([row])
            except WorkerDiedError as error:
                manner = str(error)
        return f"it kills the process that reads it: alone in a process, {DEATHS} times, {manner}"


class _Lazily(Sequence[ImageRef]):
    """Some rows of images that are read when they are asked for."""

    def __init__(self, images: Sequence[ImageRef], rows: Sequence[int]) -> None:
        self._images = images
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        """Read the image of one row."""
        return self._images[self._rows[cast(int, index)]]


def _subset(source: ImageSource, rows: Sequence[int], name: str) -> ImageSource:
    images = source.images
    return ImageSource(
        name=name,
        keys=[source.keys[row] for row in rows],
        images=[images[row] for row in rows] if isinstance(images, list) else _Lazily(images, rows),
    )
