"""Where a plan stands: what its units have settled, and which of them somebody works on.

Layer: extraction; above the rooms, below the embedder.
"""

from __future__ import annotations

import numpy as np

from embedkit.errors import IncompletePlanError
from embedkit.extraction.plan import Plan
from embedkit.extraction.records import Records, state_of
from embedkit.extraction.report import Extraction
from embedkit.results import PlanStatus, UnitStatus
from embedkit.store import FeatureStore


def plan_status(plan: Plan, store: FeatureStore) -> PlanStatus:
    """Return where a plan stands, by the records of its units, the store and the leases."""
    records = Records(plan, store.memo_folder)
    written = records.read_all()
    now = state_of(plan, written, store.features(plan.resolution.spec))
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
    now = state_of(plan, Records(plan, store.memo_folder).read_all(), features)
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
