"""What extractions leave behind: what was computed, where the time went, what a plan asks for and where it stands.

Layer: results; above record.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from embedkit.results.plain import to_plain
from embedkit.results.record import Record

Stage = Literal["read", "decode", "forward", "commit"]

_DOING: dict[Stage, str] = {"read": "reading", "decode": "decoding", "forward": "computing", "commit": "committing"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """What the threads of a pass were busy with.

    Attributes
    ----------
    read, decode, forward, commit : float
        Seconds, summed over threads: reading and hashing; decoding and resizing; in the network; writing to the store.
    wall : float
        Seconds that the pass took.
    threads : int
        Threads that read, decode and, on a CPU, compute; each keeps one core busy.
    readers : int
        Threads that read: these, or more that mostly wait, where the images lie at URLs.
    on_device : bool
        The network runs on a GPU, beside the threads.
    """

    read: float
    decode: float
    forward: float
    commit: float
    wall: float
    threads: int
    readers: int
    on_device: bool

    def __post_init__(self) -> None:
        if self.threads < 1 or self.readers < 1 or not self.wall > 0:
            raise ValueError(f"{self.threads} threads, {self.readers} readers and {self.wall} s are no pass")

    @property
    def bottleneck(self) -> str:
        """The stage that used most of what it had, in words: ``"decode-bound: 1.9 of 2 cores decoding"``."""
        shares: dict[Stage, float] = {
            "read": self.read / self.readers,
            "decode": self.decode / self.threads,
            "forward": self.forward if self.on_device else self.forward / self.threads,
            "commit": self.commit,
        }
        stage = max(shares, key=lambda name: shares[name])
        busy = shares[stage] / self.wall
        if stage == "commit" or (stage == "forward" and self.on_device):
            return f"{stage}-bound: {_DOING[stage]} {min(busy, 1.0):.0%} of the time"
        if stage == "read" and self.readers > self.threads:
            return f"read-bound: {min(busy, 1.0) * self.readers:.0f} of {self.readers} readers busy"
        return f"{stage}-bound: {min(busy, 1.0) * self.threads:.1f} of {self.threads} cores {_DOING[stage]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractResult(Record):
    """What an extraction did.

    Each image is a forward pass, a cache hit, a copy or a failure, and only one of these.

    Attributes
    ----------
    images : int
        Rows and failures together.
    forward_passes : int
        Distinct images that went through the network in this run and became features.
    cache_hits : int
        Rows that the store held before the run, or by the time that another run had computed them.
    copies : int
        Rows with the same bytes as another image of this run.
    fingerprint : str
        Of the features.
    store : str
        The folder of the store.
    output : str or None
        The feature file, where one was asked for.
    model, engine, precision, choice : str
        What computed the features, and why that.
    drift : float or None
        Worst centred cosine to fp32 torch; None where fp32 torch computed.
    width : int
        Number of features of one image.
    seconds : float
        Wall clock, the writing of the feature file included.
    stages : Stages or None
        Where the time went and what held the run up; None where this process computed nothing.
    labels, splits, passed_over : dict of str to int
        Class -> images; split -> images; why files of the source are no rows -> how many.
    changes : dict of str to int, or None
        Of an update: how many rows of the output were added, removed and changed.
    source_notes : list of str
        What could be meant in another way in the source, and what decides it; logged when it was opened.
    """

    kind: ClassVar[str] = "extraction"

    images: int
    forward_passes: int
    cache_hits: int
    fingerprint: str
    store: str
    output: str | None
    model: str
    engine: str
    precision: str
    choice: str
    drift: float | None
    width: int
    seconds: float
    stages: Stages | None = None
    copies: int = 0
    labels: dict[str, int] = field(default_factory=dict[str, int])
    splits: dict[str, int] = field(default_factory=dict[str, int])
    passed_over: dict[str, int] = field(default_factory=dict[str, int])
    changes: dict[str, int] | None = None
    source_notes: list[str] = field(default_factory=list[str])

    @property
    def failed(self) -> int:
        """Images without features; `skipped` lists them."""
        return len(self.skipped)

    @property
    def images_per_second(self) -> float | None:
        """Of the whole run."""
        return self.images / self.seconds if self.seconds > 0 else None

    def to_dict(self, *, rows: bool = True) -> dict[str, Any]:
        """Return plain JSON values; ``failed`` counts what ``skipped`` lists."""
        record = Record.to_dict(self, rows=rows)
        if self.stages is not None:
            record["stages"]["bottleneck"] = self.stages.bottleneck
        return record | {"failed": self.failed, "images_per_second": to_plain(self.images_per_second)}

    def table(self) -> list[dict[str, Any]]:
        """Return one row."""
        names = ("model", "images", "forward_passes", "cache_hits", "copies", "failed", "width", "engine", "precision")
        return [{name: getattr(self, name) for name in (*names, "drift", "seconds", "output")}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast(Record):
    """What an extraction would do.

    Attributes
    ----------
    rows : int
        Images of the source.
    labels, splits, passed_over, source_notes
        As in `ExtractResult`.
    forward_passes : int
        Distinct images that would go through the network.
    seconds_expected : float
        For those, at the pace of a sample on this machine, without the loading of the network.
    bytes_expected : int
        On disk, for new features in the store and for a feature file of all rows.
    memory_expected : int
        Bytes; the most that this process had while the sample was computed. 0 where the system does not say.
    model, engine, precision, choice : str
    width : int
    fingerprint, store : str
    """

    kind: ClassVar[str] = "forecast"

    rows: int
    labels: dict[str, int]
    splits: dict[str, int]
    passed_over: dict[str, int]
    forward_passes: int
    seconds_expected: float
    bytes_expected: int
    memory_expected: int
    model: str
    engine: str
    precision: str
    choice: str
    width: int
    fingerprint: str
    store: str
    source_notes: list[str] = field(default_factory=list[str])

    def table(self) -> list[dict[str, Any]]:
        """Return one row."""
        names = ("model", "rows", "forward_passes", "seconds_expected", "bytes_expected", "memory_expected")
        return [{name: getattr(self, name) for name in names}]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanResult(Record):
    """What a plan asks for.

    Attributes
    ----------
    plan : str
        The file.
    images : int
    bytes : int
        Of the images whose size is known.
    units : int
        Into how many units the plan proposes to divide them.
    fingerprint, store, model, engine, precision, choice : str
        As in `ExtractResult`.
    drift : float or None
    width : int
    seconds_expected : float
        For all images one after the other, at the pace of a sample on this machine.
    bytes_expected : int
        On disk, for the features in the store and for the feature file.
    memory_expected : int
        Bytes of one process; 0 where the system does not say.
    """

    kind: ClassVar[str] = "plan"

    plan: str
    images: int
    bytes: int
    units: int
    fingerprint: str
    store: str
    model: str
    engine: str
    precision: str
    choice: str
    drift: float | None
    width: int
    seconds_expected: float = 0.0
    bytes_expected: int = 0
    memory_expected: int = 0

    def table(self) -> list[dict[str, Any]]:
        """Return one row."""
        names = ("plan", "model", "images", "bytes", "units", "width", "engine", "precision", "drift")
        return [{name: getattr(self, name) for name in names}]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitStatus:
    """Where one unit stands.

    Attributes
    ----------
    number, count : int
        The unit, from 1, of how many.
    rows : int
        Images in it.
    done : int
        Rows in the store. What a unit that is under way has committed counts when it ends.
    failed : int
        Images that have a reason instead.
    unread : int
        Of these failed: those that the unit tries again when it is run, mostly since their bytes could not be had.
    worker : str or None
        ``host:process`` of who works on it now, by the leases; None where nobody does.
    settled : int or None
        Rows that this worker has done or given up, committed or not, as it last said.
    """

    number: int
    count: int
    rows: int
    done: int
    failed: int
    unread: int
    worker: str | None
    settled: int | None

    @property
    def complete(self) -> bool:
        """Whether every image is a row or a failure."""
        return self.done + self.failed >= self.rows and self.worker is None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStatus(Record):
    """Where a plan stands.

    Attributes
    ----------
    images, done, failed, missing, unread : int
        Rows of the plan; those in the store; those with a reason instead; those that no unit has settled; of those that
        failed, the ones that their units try again, as in `UnitStatus`. The first is the sum of the next three.
    fingerprint, store : str
    units : list of UnitStatus
        Divided as the workers do, or as the plan proposes while there are none.
    """

    kind: ClassVar[str] = "plan-status"

    images: int
    done: int
    failed: int
    missing: int
    unread: int
    fingerprint: str
    store: str
    units: list[UnitStatus]

    @property
    def complete(self) -> bool:
        """Whether the table can be written."""
        return self.missing == 0

    def to_dict(self, *, rows: bool = True) -> dict[str, Any]:
        """Return plain JSON values, with whether all and which units are complete."""
        record = Record.to_dict(self, rows=rows)
        for unit, plain in zip(self.units, record["units"], strict=True):
            plain |= {"unit": f"{unit.number}/{unit.count}", "complete": unit.complete}
        return record | {"complete": self.complete}

    def table(self) -> list[dict[str, Any]]:
        """Return one row a unit."""
        return [dataclasses.asdict(unit) | {"complete": unit.complete} for unit in self.units]
