"""How well scores put the rows of one class before the others: marks bool (n_rows,), scores float64 (n_rows,).

Layer: evaluation; above estimate. NumPy.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embedkit.evaluation.estimate import UNDEFINED, Estimate, of_groups
from embedkit.evaluation.predictions import Float64


def roc_area(marks: npt.NDArray[np.bool_], scores: Float64) -> Estimate:
    """Give the share of pairs of a row of the class and another row that the scores put in order."""
    if marks.all() or not marks.any():
        return UNDEFINED
    beaten = np.empty(len(marks))
    for mine in (marks, ~marks):
        rivals = np.sort(scores[~mine])
        # A rival of the same score is half beaten.
        beaten[mine] = (np.searchsorted(rivals, scores[mine]) + np.searchsorted(rivals, scores[mine], "right")) / 2
        beaten[mine] /= len(rivals)
    beaten[~marks] = 1 - beaten[~marks]
    area = float(beaten[marks].mean())
    of_each: Float64 = np.where(marks, float(marks.sum()), float((~marks).sum()))
    return of_groups(area, (beaten - area) / of_each, marks, decided_by_few=True)


class _Ranking:
    """One class's rows at each of their scores, from the highest on: between these recall stays, precision only falls.

    Attributes
    ----------
    first : ndarray of shape (n_rows,)
        The score at which a row, of any class, is among those seen; their number for rows below all.
    new, found, seen : ndarray of shape (n_scores,)
        Rows of the class at the score, at it or above, and rows of any class at it or above.
    """

    def __init__(self, marks: npt.NDArray[np.bool_], scores: Float64) -> None:
        thresholds = np.unique(-scores[marks])
        size = len(thresholds)
        self.first = np.searchsorted(thresholds, -scores)
        self.new = np.bincount(self.first[marks], minlength=size).astype(np.float64)
        self.found = np.cumsum(self.new)
        self.seen = np.cumsum(np.bincount(self.first, minlength=size)[:size]).astype(np.float64)

    @property
    def precision(self) -> Float64:
        return self.found / self.seen

    @property
    def recall(self) -> Float64:
        return self.found / self.found[-1]


def average_precision(marks: npt.NDArray[np.bool_], scores: Float64) -> Estimate:
    """Give the sum of precisions at each step of recall."""
    if not marks.any():
        return UNDEFINED
    ranking = _Ranking(marks, scores)
    own, weight = float(marks.sum()), ranking.new / ranking.seen
    value = float((ranking.new * ranking.precision).sum()) / own
    # A row moves the precision at its score and at all lower ones.
    found, seen = (np.append(np.cumsum(part[::-1])[::-1], 0) for part in (weight, weight * ranking.precision))
    precision = np.append(ranking.precision, 0)[ranking.first]
    influence = np.where(marks, precision + found[ranking.first] - value, 0) - seen[ranking.first]
    bias = _bias_of_average_precision(ranking)
    return of_groups(value, influence / own, marks, bias=bias, decided_by_few=True)


def _bias_of_average_precision(ranking: _Ranking) -> float:
    """Give the bias by the jackknife: each row left out once, its own and the others that are seen with each row."""
    new, found, seen, own = ranking.new, ranking.found, ranking.seen, ranking.found[-1]
    if own < 2:
        return 0.0
    less = np.maximum(seen - 1, 1)
    without_own = (found - 1) * ((found - 1) / less - ranking.precision) / (own - 1)
    without_other = (seen - found) * found * (1 / less - 1 / seen) / own
    return float((new * (without_own + without_other)).sum())


def precision_area(marks: npt.NDArray[np.bool_], scores: Float64) -> Estimate:
    """Give the area under the interpolated precision; it has no slope."""
    if not marks.any():
        return UNDEFINED
    ranking = _Ranking(marks, scores)
    return Estimate(float((np.diff(ranking.recall, prepend=0.0) * _envelope(ranking.precision)).sum()))


def precision_at_11_points(marks: npt.NDArray[np.bool_], scores: Float64) -> Estimate:
    """Give the mean of the interpolated precision at recalls 0, 0.1, ..., 1; it has no slope."""
    # Rounding must not put a recall of 3 / 10 below the level 0.3.
    return _at_levels(marks, scores, np.linspace(0, 1, 11)[1:] - 1e-12)


def precision_at_11_points_as_published(marks: npt.NDArray[np.bool_], scores: Float64) -> Estimate:
    """Give the same with recalls compared in floating point."""
    return _at_levels(marks, scores, np.linspace(0, 1, 11)[1:])


def _at_levels(marks: npt.NDArray[np.bool_], scores: Float64, levels: Float64) -> Estimate:
    """Average the highest precision at each level of recall or above, and the 1 at recall 0."""
    if not marks.any():
        return UNDEFINED
    ranking = _Ranking(marks, scores)
    first = np.searchsorted(ranking.recall, levels).clip(max=len(ranking.recall) - 1)
    return Estimate(float(1 + _envelope(ranking.precision)[first].sum()) / 11)


def _envelope(precision: Float64) -> Float64:
    """Give the highest precision at each recall or a higher one."""
    return np.maximum.accumulate(precision[::-1])[::-1]
