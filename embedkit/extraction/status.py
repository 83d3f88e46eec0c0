"""Where a plan stands: what its units have settled, and which of them somebody works on.

Layer: extraction; above the rooms, below the embedder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from embedkit.errors import IncompletePlanError
from embedkit.extraction.plan import Plan
from embedkit.extraction.records import Records, standing
from embedkit.extraction.report import Extraction
from embedkit.store import FeatureStore


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
class PlanStatus:
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

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        record = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "units"}
        units = [
            {
                "unit": f"{unit.number}/{unit.count}",
                "rows": unit.rows,
                "done": unit.done,
                "failed": unit.failed,
                "unread": unit.unread,
                "worker": unit.worker,
                "settled": unit.settled,
            }
            for unit in self.units
        ]
        return {**record, "complete": self.complete, "units": units}


def plan_status(plan: Plan, store: FeatureStore) -> PlanStatus:
    """Return where a plan stands, by the records of its units, the store and the leases."""
    records = Records(plan, store.memo_folder)
    written = records.read_all()
    now = standing(plan, written, store.features(plan.resolution.spec))
    taken = records.leases().taken()
    counts = {record.count for record in written}
    count = counts.pop() if len(counts) == 1 else plan.units
    failing = np.zeros(len(plan.source), dtype=np.bool_)
    failing[list(now.failures)] = True
    unread = failing & ~now.final
    by_number = {record.number: record for record in written if record.count == count}
    units: list[UnitStatus] = []
    for number in range(1, count + 1):
        unit = plan.unit(number, count)
        of_unit = slice(unit.start, unit.stop)
        record = by_number.get(number)
        at_work = record if record is not None and record.lease in taken else None
        units.append(
            UnitStatus(
                number=number,
                count=count,
                rows=len(unit),
                done=int(now.present[of_unit].sum()),
                failed=int(failing[of_unit].sum()),
                unread=int(unread[of_unit].sum()),
                worker=None if at_work is None else at_work.worker,
                settled=None if at_work is None else at_work.done,
            )
        )
    return PlanStatus(
        images=len(plan.source),
        done=int(now.present.sum()),
        failed=len(now.failures),
        missing=int(now.missing.sum()),
        unread=int(unread.sum()),
        fingerprint=plan.resolution.spec.fingerprint,
        store=str(store.path),
        units=units,
    )


def planned_extraction(plan: Plan, store: FeatureStore) -> Extraction:
    """Return what the units of a plan have computed, as one extraction over all its rows.

    Raises
    ------
    IncompletePlanError
        Some rows were not settled yet.
    """
    features = store.features(plan.resolution.spec)
    now = standing(plan, Records(plan, store.memo_folder).read_all(), features)
    missing = np.flatnonzero(now.missing)
    if len(missing):
        first = plan.source.keys[int(missing[0])]
        raise IncompletePlanError(
            f"{len(missing)} of {len(plan.source)} images of {plan.file.path} are missing (first: {first!r}); "
            f"`embedkit extract --status {plan.file.path}` says which units to run"
        )
    return Extraction(
        resolution=plan.resolution,
        features=features,
        digests=now.digests,
        backbone=None,
        failures=now.failures,
        forward_passes=0,
        cache_hits=int(now.present.sum()),
        seconds=0.0,
    )
