"""Properties of files that give the label away: whoever learns them has not looked at what is in the picture.

Each property alone predicts the class by a small tree, out of fold. Its share of right names is compared with that of
the same predictions against labels permuted within the folds, which is what no relation would give.

Layer: auditing; above evaluation, images (what they look like) and scikit-learn.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from sklearn.tree import DecisionTreeClassifier

from embedkit.auditing.labels import FOLDS, deal, fit_quietly
from embedkit.evaluation import holm_correction
from embedkit.images import Looks
from embedkit.results import Finding

Float64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

_PERMUTATIONS = 999
_LEAST_SKILL, _LEVEL = 0.10, 0.01
_SHOWN = 3


def properties(keys: Sequence[str], looks: Looks) -> dict[str, Float64]:
    """Give what is known of files beside their pictures, a column or more each, by name.

    Text is coded by numbers; the number in a name stands for the order in which pictures were taken.

    Parameters
    ----------
    keys : sequence of str of length n
    looks : Looks
        Of the same images.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {
            "size": np.stack([looks.width, looks.height], axis=1),
            "aspect": (looks.width / looks.height)[:, None],
            "bytes": looks.bytes[:, None],
            "brightness": np.stack([looks.brightness, looks.contrast], axis=1),
        }
    for name, texts in (("file type", looks.kind), ("camera", looks.camera)):
        distinct = sorted(set(texts))
        if 1 < len(distinct) <= max(2, len(texts) // 10):
            codes = np.array([distinct.index(text) for text in texts])
            found[name] = np.eye(len(distinct))[codes] if len(distinct) <= 32 else codes[:, None].astype(np.float64)
    numbers = [_number(key) for key in keys]
    found["number in the name"] = np.array(numbers, dtype=np.float64)[:, None]
    return {name: np.nan_to_num(X, nan=-1.0, posinf=-1.0, neginf=-1.0) for name, X in found.items()}


def shortcuts(
    keys: Sequence[str], classes: Sequence[str], y: Rows, found: Mapping[str, Float64], *, random_state: int = 0
) -> list[Finding]:
    """Find properties from which the class can be told.

    Parameters
    ----------
    keys : sequence of str of length n
    classes : sequence of str
        By their numbers in `y`.
    y : ndarray of shape (n,), intp
    found : mapping of str to ndarray of shape (n, k)
        Of `properties`.
    random_state : int
    """
    varying = {name: X for name, X in found.items() if len(np.unique(X, axis=0)) > 1}
    if not varying or len(np.unique(y)) < 2 or len(y) < 2 * FOLDS:
        return []
    random = np.random.default_rng(random_state)
    fold = deal(y, np.arange(len(y)), random_state)
    guess = float(np.bincount(y).max() / len(y))
    told = {name: _out_of_fold(X, y, fold) for name, X in varying.items()}
    p_values = [_p_value(said, y, fold, random) for said in told.values()]
    corrected = holm_correction(p_values).tolist()
    results: list[Finding] = []
    for (name, said), p_value in zip(told.items(), corrected, strict=True):
        right = said == y
        skill = (float(right.mean()) - guess) / (1 - guess)
        if skill < _LEAST_SKILL or p_value > _LEVEL:
            continue
        most = Counter(cast("list[int]", y[right].tolist())).most_common(_SHOWN)
        examples = {number: keys[int(np.flatnonzero(right & (y == number))[0])] for number, _ in most}
        gives = "; ".join(f"{classes[number]} {times} times, such as {examples[number]}" for number, times in most)
        words = (
            f"the {name} alone names {100 * right.mean():.0f} % right; the commonest class has {100 * guess:.0f} % "
            f"(p {'<' if p_value < 0.01 else '='} {max(p_value, 0.01):.2g}, corrected): {gives}"
        )
        results.append(Finding("shortcut", name, examples[most[0][0]], skill, words))
    return sorted(results, key=lambda one: -one.score)


def _out_of_fold(X: Float64, y: Rows, fold: Rows) -> Rows:
    said = np.full(len(y), -1, np.intp)
    for number in range(FOLDS):
        train, held_out = fold != number, fold == number
        if held_out.any():
            tree: Any = DecisionTreeClassifier(max_depth=8, min_samples_leaf=5, random_state=0)
            said[held_out] = fit_quietly(tree, X[train], y[train]).predict(X[held_out])
    return said


def _p_value(said: Rows, y: Rows, fold: Rows, random: np.random.Generator) -> float:
    """Compare predictions of a fold with its own labels in random order; the trees of a fold have not seen them."""
    right = int((said == y).sum())
    members = [np.flatnonzero(fold == number) for number in range(FOLDS)]
    as_good = 0
    for _ in range(_PERMUTATIONS):
        drawn = sum(int((said[rows] == random.permutation(y[rows])).sum()) for rows in members)
        as_good += drawn >= right
    return (as_good + 1) / (_PERMUTATIONS + 1)


def _number(key: str) -> float:
    """Return the last number in a file's name, without its folder; NaN where it has none."""
    numbers = re.findall(r"\d{1,15}", key.rsplit("/", 1)[-1])
    return float(numbers[-1]) if numbers else np.nan
