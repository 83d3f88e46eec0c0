"""What the second half of the labels has brought, and what as many again are expected to bring.

Layer: selection; above held_out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedkit.evaluation import paired_permutation_test
from embedkit.selection.held_out import REPEATS, folds_of, name_by_ridge
from embedkit.selection.rows import Classes


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelGain:
    """Probes of half the labels beside one of all, on the same tested rows.

    Attributes
    ----------
    fitted : int
        Rows that the probe of all was fitted on.
    half, whole : float
        Accuracy on the tested rows, a fraction; of halves the mean over five cuts in two.
    interval : (float, float)
        95 %, of the difference, over tested rows.
    p_value : float
        Of the difference: paired permutation test.
    expected : float
        Gain of twice as many labels. The error is taken as a + b / sqrt(n), so that each doubling brings what the one
        before brought, divided by the root of two.
    """

    fitted: int
    half: float
    whole: float
    interval: tuple[float, float]
    p_value: float
    expected: float


def gain_of_labels(
    X: npt.ArrayLike,
    classes: Classes,
    groups: Classes,
    tested: npt.ArrayLike,
    tested_classes: Classes,
    *,
    seed: int = 0,
) -> LabelGain:
    """Measure what half the labels lack.

    Parameters
    ----------
    X : array-like of shape (n, d)
    classes, groups : ndarray of shape (n,)
        As in `embedkit.selection.held_out_rows`.
    tested : array-like of shape (m, d)
        Rows that no probe is fitted on.
    tested_classes : ndarray of shape (m,)
        Numbers of the same classes; -1 of others.
    seed : int
    """
    train, test = np.asarray(X, np.float64), np.asarray(tested, np.float64)

    def right(rows: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        known, numbers = np.unique(classes[rows], return_inverse=True)
        if len(known) < 2:
            return (tested_classes == known[0]).astype(np.float64)
        named = known[name_by_ridge(train[rows], numbers.astype(np.intp), test)]
        return (named == tested_classes).astype(np.float64)

    whole = right(np.ones(len(train), np.bool_))
    halves: list[npt.NDArray[np.float64]] = []
    for number in range(REPEATS):
        cut = folds_of(classes, groups, seed=seed + number)
        halves += [right(cut == fold) for fold in (0, 1) if (cut == fold).any()]
    half = np.mean(halves, axis=0)
    gains = whole - half
    margin = 1.96 * float(gains.std()) / np.sqrt(len(gains))
    gained = float(gains.mean())
    return LabelGain(
        fitted=len(train),
        half=float(half.mean()),
        whole=float(whole.mean()),
        interval=(gained - margin, gained + margin),
        p_value=paired_permutation_test(whole, half, random_state=seed).p_value,
        expected=gained / float(np.sqrt(2)),
    )
