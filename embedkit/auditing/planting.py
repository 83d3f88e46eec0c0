"""Faults planted in the user's own table, and how many of them the audit finds.

Layer: auditing; above labels.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set

import numpy as np

from embedkit.auditing.labels import Float32, Ranking, Rows, out_of_fold
from embedkit.evaluation import DuplicatePair
from embedkit.results import SelfCheck

WRONG_LABELS, COPIES = 0.05, 0.02
"""Shares of the images that get a wrong label, and of which a copy is planted."""


def check_labels(
    X: Float32,
    y: Rows,
    units: Sequence[object] | None = None,
    *,
    ranking: Ranking = "probes",
    random_state: int = 0,
) -> SelfCheck:
    """Give 5 % of the images another label, drawn from all, and look for them among the 5 % most doubtful.

    Labels that were wrong before count as false.
    """
    wrong, rows = planted_labels(y, np.random.default_rng(random_state))
    found = out_of_fold(X, wrong, units, ranking=ranking, random_state=random_state)
    named = np.argsort(-found.doubt, kind="stable")[: len(rows)]
    return _scored(set(rows.tolist()), set(named.tolist()))


def planted_labels(y: Rows, random: np.random.Generator) -> tuple[Rows, Rows]:
    """Return class numbers of which 5 % are of another class, and the rows of these."""
    n_classes = int(y.max()) + 1
    rows = random.choice(len(y), max(1, round(WRONG_LABELS * len(y))), replace=False)
    wrong = y.copy()
    wrong[rows] = (y[rows] + random.integers(1, n_classes, len(rows))) % n_classes
    return wrong, rows


def check_copies(planted: Collection[tuple[int, int]], pairs: Sequence[DuplicatePair]) -> SelfCheck:
    """Count planted (row, copy) pairs among those that the detector names; all other near-duplicates count as false.

    A copy may have the bytes of its original, as a JPEG of quality 75 that is saved again: it counts as found.
    """
    copies = set(planted)
    named = {(one, two) for one, two, _, kind in pairs if kind == "near" or (one, two) in copies}
    return _scored(copies, named)


def _scored(planted: Set[object], named: Set[object]) -> SelfCheck:
    found = len(planted & named)
    return SelfCheck(
        planted=len(planted),
        found=found,
        precision=found / len(named) if named else 1.0,
        recall=found / len(planted) if planted else 1.0,
    )
