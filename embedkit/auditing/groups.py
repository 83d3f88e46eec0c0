"""Groups of images that are named worse than the rest, and classes with few images.

Layer: auditing; above evaluation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from embedkit.auditing.labels import OutOfFold
from embedkit.evaluation import share_interval
from embedkit.results import Finding

_LEAST_ROWS, _LEAST_GAP = 8, 0.10
_MOST_GROUPS = 200
"""Values up to which a column is taken for groups."""

_FEW_SHARE, _FEW_ROWS = 0.2, 5
"""A class of fewer images than this share of the usual class, or of fewer than so many."""


def weak_groups(
    keys: Sequence[str], classes: Sequence[str], oof: OutOfFold, groups: Mapping[str, npt.NDArray[np.object_]]
) -> list[Finding]:
    """Find classes, splits and values of columns whose images are named right far less often than the rest.

    A group is weak if the upper end of the interval of its accuracy, at 95 % for all groups together (Bonferroni),
    lies below the accuracy of all images, by ten points or more in the middle.

    Parameters
    ----------
    keys : sequence of str of length n
    classes : sequence of str
        By their numbers in `oof`.
    oof : OutOfFold
        Of the same images.
    groups : mapping of str to object ndarray of shape (n,)
        Columns of text; empty text is no group.
    """
    right, overall = oof.right, float(oof.right.mean())
    named = np.array(classes, dtype=object)[oof.y]
    candidates: list[tuple[str, npt.NDArray[np.intp]]] = []
    for column, values in {"label": named, **groups}.items():
        distinct = sorted({str(value) for value in values.tolist()} - {""})
        if 1 < len(distinct) <= _MOST_GROUPS:
            candidates += [(f"{column}={value}", np.flatnonzero(values == value)) for value in distinct]
    candidates = [(name, rows) for name, rows in candidates if len(rows) >= _LEAST_ROWS]
    found: list[Finding] = []
    for name, rows in candidates:
        count, total = int(right[rows].sum()), len(rows)
        _, high = share_interval(count, total, 1 - 0.05 / len(candidates))
        gap = overall - count / total
        if high >= overall or gap < _LEAST_GAP:
            continue
        wrong = rows[~right[rows]]
        mostly, times = Counter(classes[number] for number in oof.predicted[wrong].tolist()).most_common(1)[0]
        said = (
            # No interval: of the lowest of many groups none holds the truth as often as it says.
            f"{100 * count / total:.0f} % of {total} are named right, of all {100 * overall:.0f} %; "
            f"{times} are taken for {mostly}"
        )
        found.append(Finding("weak-group", name, keys[int(wrong[0])], gap, said))
    return sorted(found, key=lambda one: -one.score)


def imbalance(keys: Sequence[str], labels: Sequence[str]) -> list[Finding]:
    """Find classes with far fewer images than the usual class.

    Parameters
    ----------
    keys, labels : sequence of str of length n
    """
    counts = Counter(labels)
    usual = float(np.median(list(counts.values())))
    example = dict(zip(reversed(labels), reversed(keys), strict=True))
    few = [(name, count) for name, count in counts.items() if count < _FEW_SHARE * usual or count < _FEW_ROWS]
    return [
        Finding(
            "imbalance",
            name,
            example[name],
            max(counts.values()) / count,
            f"{count} image{'s' if count != 1 else ''}; the usual class has {usual:.0f}, the largest "
            f"{max(counts.values())}",
        )
        for name, count in sorted(few, key=lambda item: (item[1], item[0]))
    ]
