"""What the units of a plan report: small files beside the store, from which the table is put together.

    STORE/memo/plans/<id of the plan>/unit-<number>-of-<count>.json      one a unit, replaced as a whole
    STORE/memo/plans/<id of the plan>/leases/                            who works on which unit

A record says which image each row of its unit turned out to be. It is a memo: a record that is lost or damaged costs
reading the unit's images again, no forward pass. What it says is checked against the store: a row is there when the
store has its digest, whatever the record claims.

Layer: extraction; above the rooms, below the embedder.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from embedkit.errors import StoreWriteError
from embedkit.extraction.plan import Plan
from embedkit.files import DISK, TEMPORARY_PREFIX, Folder, commit_to, read_json
from embedkit.specs import canonical_json
from embedkit.store import Digests, FeatureSet, Leases, Mask

_NAME = re.compile(r"unit-([0-9]+)-of-([0-9]+)\.json")

log = logging.getLogger("embedkit")


@dataclass(slots=True, kw_only=True)
class UnitRecord:
    """What one unit has to say.

    Attributes
    ----------
    number, count : int
        The unit, from 1, of how many.
    deaths : int
        How often a worker has begun it and was not heard of again; counts the one that is at work.
    worker : str
        Who wrote this, as ``host:process``.
    done : int
        Rows settled, as that worker last said.
    digests : ndarray of shape (rows of the unit, 32), uint8
        Zeros where not known (yet).
    failures : dict of int to str
        Row of the plan -> reason.
    killers : dict of int to str
        Rows of the plan that killed every process that read them -> reason. They are not tried again.
    strikes : dict of int to int
        Row of the plan -> how often a process that had only this row to do was begun and has not answered.
    """

    number: int
    count: int
    deaths: int = 0
    worker: str = ""
    done: int = 0
    digests: Digests
    failures: dict[int, str] = field(default_factory=dict[int, str])
    killers: dict[int, str] = field(default_factory=dict[int, str])
    strikes: dict[int, int] = field(default_factory=dict[int, int])

    @property
    def lease(self) -> bytes:
        """The name under which a worker announces that it is at work, 32 bytes like a digest."""
        return hashlib.sha256(f"unit {self.number}/{self.count}".encode()).digest()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "unit": [self.number, self.count],
            "deaths": self.deaths,
            "worker": self.worker,
            "done": self.done,
            "digests": base64.b64encode(self.digests.tobytes()).decode("ascii"),
            "failures": {str(row): reason for row, reason in self.failures.items()},
            "killers": {str(row): reason for row, reason in self.killers.items()},
            "strikes": {str(row): count for row, count in self.strikes.items()},
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> UnitRecord:
        """Build a record from what `to_dict` returned."""
        number, count = record["unit"]
        return cls(
            number=number,
            count=count,
            deaths=record["deaths"],
            worker=record["worker"],
            done=record["done"],
            digests=np.frombuffer(base64.b64decode(record["digests"]), np.uint8).reshape(-1, 32).copy(),
            failures={int(row): reason for row, reason in record["failures"].items()},
            killers={int(row): reason for row, reason in record["killers"].items()},
            strikes={int(row): count for row, count in record["strikes"].items()},
        )


def this_worker() -> str:
    """Return the name of this process among workers on several machines."""
    return f"{socket.gethostname()}:{os.getpid()}"


def plans_folder(memo_folder: Path) -> Path:
    """Return the folder for what belongs to plans, made when needed.

    Raises
    ------
    StoreWriteError
    """
    return _made(memo_folder, "plans").path


def _made(memo_folder: Path, *names: str) -> Folder:
    """Return a folder among the memos, made when needed; the store itself must be there."""
    folder = Folder(memo_folder.parent, (memo_folder.name, *names))
    try:
        for above in folder.way():
            above.make()
    except OSError as error:
        raise StoreWriteError(f"cannot create {folder.path}: {error.strerror}; check the disk") from error
    return folder


class Records:
    """The records of one plan.

    Parameters
    ----------
    plan : Plan
    memo_folder : Path
        Of the store.
    """

    def __init__(self, plan: Plan, memo_folder: Path) -> None:
        self._plan = plan
        self._memo_folder = memo_folder
        self._folder = Folder(memo_folder.parent, (memo_folder.name, "plans", plan.id[:32]))

    def leases(self) -> Leases:
        """Return leases on units, for one worker."""
        return Leases(self._folder.child("leases"))

    def read(self, number: int, count: int) -> UnitRecord:
        """Return the record of a unit, a blank one where there is none."""
        rows = self._plan.unit(number, count)
        record = _read(self._path(number, count))
        if record is not None and len(record.digests) == len(rows):
            return record
        return UnitRecord(number=number, count=count, digests=np.zeros((len(rows), 32), np.uint8))

    def read_all(self, rows: range | None = None) -> list[UnitRecord]:
        """Return all records that say something of some rows, of whatever division into units they are."""
        records: list[UnitRecord] = []
        for number, count in self.units():
            unit = self._plan.unit(number, count)
            if rows is None or (unit.start < rows.stop and rows.start < unit.stop):
                record = _read(self._path(number, count))
                if record is not None and len(record.digests) == len(unit):
                    records.append(record)
        return records

    def units(self) -> list[tuple[int, int]]:
        """Return the units that have a record, as (number, count)."""
        found = [match for name in sorted(self._folder.names()) if (match := _NAME.fullmatch(name)) is not None]
        units = [(int(match[1]), int(match[2])) for match in found]
        return [(number, count) for number, count in units if 1 <= number <= count]

    def write(self, record: UnitRecord) -> None:
        """Replace the record of a unit.

        Raises
        ------
        StoreWriteError
        """
        text = canonical_json(record.to_dict())
        digest = hashlib.sha256(text.encode("ascii")).hexdigest()
        folder = _made(self._memo_folder, "plans", self._plan.id[:32])
        content = f'{{"sha256":"{digest}","record":{text}}}\n'.encode("ascii")
        commit_to(self._path(record.number, record.count), [content], sealed=False, folder=folder)

    def remove(self) -> None:
        """Forget what units have reported; the rows in the store stay."""
        for folder, is_ours in ((self._folder.child("leases"), ".lease"), (self._folder, ".json")):
            with contextlib.suppress(OSError):
                with folder.opened() as at:
                    for name in folder.names():
                        if name.endswith((is_ours, ".lock")) or name.startswith(TEMPORARY_PREFIX):
                            DISK.remove(folder / name, at)
                folder.remove()

    def _path(self, number: int, count: int) -> Path:
        return self._folder / f"unit-{number}-of-{count}.json"


@dataclass(frozen=True, slots=True)
class PlanState:
    """Where the rows of a plan stand, by the records and the store.

    Attributes
    ----------
    digests : ndarray of shape (n_rows, 32), uint8
        Zeros where not known.
    present : ndarray of shape (n_rows,), bool
        The store has the row.
    failures : dict of int to str
        Row -> reason, of rows that are not present.
    final : ndarray of shape (n_rows,), bool
        Rows that need no further try: present, undecodable, or deadly. What could merely not be read is not among them.
    """

    digests: Digests
    present: Mask
    failures: dict[int, str]
    final: Mask

    @property
    def missing(self) -> Mask:
        """Rows of which nothing is known yet, shape (n_rows,), bool."""
        missing = ~self.present
        missing[list(self.failures)] = False
        return missing


def state_of(plan: Plan, records: list[UnitRecord], features: FeatureSet) -> PlanState:
    """Put records together, and compare them with what the store has."""
    rows = len(plan.source)
    digests = np.zeros((rows, 32), np.uint8)
    failures: dict[int, str] = {}
    killers: dict[int, str] = {}
    for record in records:
        unit = plan.unit(record.number, record.count)
        known = record.digests.any(axis=1)
        digests[unit.start : unit.stop][known] = record.digests[known]
        failures |= record.failures
        killers |= record.killers
    present = np.asarray(digests.any(axis=1), dtype=np.bool_)
    present[present] = features.contains(digests[present])
    reasons = features.undecodable(digests[~present])
    final: Mask = present.copy()
    told: dict[int, str] = {}
    for row in np.flatnonzero(~present).tolist():
        reason = reasons.get(digests[row].tobytes()) or killers.get(row)
        final[row] = reason is not None
        reason = reason or failures.get(row)
        if reason is not None:
            told[row] = reason
    return PlanState(digests, present, told, final)


def _read(path: Path) -> UnitRecord | None:
    """Return a record; None where there is none or it cannot be believed."""
    try:
        envelope = read_json(path)
        record = envelope["record"]
        if envelope["sha256"] != hashlib.sha256(canonical_json(record).encode("ascii")).hexdigest():
            raise ValueError("its content does not match its SHA-256")
        return UnitRecord.from_dict(record)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("the record %s cannot be read (%s): its images are read again", path, error)
        return None
