"""How accuracy grows with labels: few-shot curves over images a class, learning curves over fractions of the training.

Each point is fitted several times, on training images drawn anew with each seed, and judged on test images that no
draw contains. Draws of one seed are nested: the images of 2 shots are among those of 4, so that neighbouring points
differ by what was added and not by chance alone.

Layer: probes; above quick and splits, below workflows.
"""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import LabelsError, UsageError
from embedkit.evaluation import (
    Duplicates,
    Estimate,
    Predicted,
    Rows,
    Split,
    errors_naming,
    estimated,
    find_duplicates,
    interval_of,
    interval_over_draws,
    leaks,
    make_splits,
)
from embedkit.probes.protocols.quick import quick
from embedkit.results import Curve, Point
from embedkit.tables import FeatureTable

CLASS_MEAN = "class-mean"
"""The nearest mean of a class after centring and L2 normalisation (SimpleShot): it chooses nothing, so that one image a
class is enough."""


def few_shot_curve(
    table: FeatureTable,
    shots: Sequence[int],
    *,
    model: str,
    estimator: str = CLASS_MEAN,
    seeds: int = 5,
    folds: int = 5,
    floor: bool = False,
    duplicates: Duplicates | None = None,
) -> Curve:
    """Judge an estimator that learns from a few images a class.

    Parameters
    ----------
    table : FeatureTable
        With class labels. A declared validation split is not used: its labels would be more than the shots.
    shots : sequence of int
        Images a class; a class that has fewer gives all of its images.
    model : str
        What the curve calls the features.
    estimator : str
        ``"class-mean"``, or one of `quick`'s, which needs two images a class to choose its parameter on.
    seeds : int
        Draws, of seeds 0, 1, ...
    folds : int
        Without splits, one fold in so many is tested, another one for each seed.
    floor : bool
        The features are a floor.
    duplicates : Duplicates, optional
        As in `embedkit.evaluation.evaluate`.

    Raises
    ------
    UsageError
        Shots or seeds below 1, or none.
    LabelsError
        There are no class labels.
    SplitError
        There is no usable split, or there are too few images to choose a parameter on.
    """
    if not shots or min(shots) < 1:
        raise UsageError(f"shots are {list(shots)}, expected numbers of images a class, each at least 1")
    if table.target_type != "class":
        raise LabelsError("shots are images a class, and the target has no classes; use fractions of the training")

    def draw(train: Rows, size: float, random: np.random.Generator) -> Rows:
        return np.concatenate([members[: int(size)] for members in _shuffled(table, train, random)])

    options: dict[str, Any] = {"model": model, "estimator": estimator, "seeds": seeds, "folds": folds, "floor": floor}
    curve = _curve("shots", table, shots, draw, **options, duplicates=duplicates)
    counts = np.unique(cast(npt.NDArray[Any], table.y)[_base(table, 0, folds)[0]], return_counts=True)[1]
    short = [
        f"{int((counts < size).sum())} of {len(counts)} classes have fewer than {size} training images; all are used"
        for size in sorted(set(shots))
        if (counts < size).any()
    ]
    return dataclasses.replace(curve, notes=[*curve.notes, *short])


def learning_curve(
    table: FeatureTable,
    fractions: Sequence[float],
    *,
    model: str,
    estimator: str = "logistic",
    seeds: int = 5,
    folds: int = 5,
    floor: bool = False,
    duplicates: Duplicates | None = None,
) -> Curve:
    """Judge an estimator that learns from a part of the training rows, class by class where there are classes.

    Parameters
    ----------
    table : FeatureTable
        With labels. A declared validation split is not used: it would not shrink with the training rows.
    fractions : sequence of float
        Above 0, at most 1.
    model, estimator, seeds, folds, floor, duplicates
        As in `few_shot_curve`, which also lists what is raised.
    """
    if not fractions or not all(0 < fraction <= 1 for fraction in fractions):
        raise UsageError(f"fractions are {list(fractions)}, expected numbers above 0, at most 1")

    def draw(train: Rows, size: float, random: np.random.Generator) -> Rows:
        parts = _shuffled(table, train, random)
        return np.concatenate([members[: max(1, round(size * len(members)))] for members in parts])

    options: dict[str, Any] = {"model": model, "estimator": estimator, "seeds": seeds, "folds": folds, "floor": floor}
    return _curve("fractions", table, fractions, draw, **options, duplicates=duplicates)


def _curve(
    kind: Literal["shots", "fractions"],
    table: FeatureTable,
    sizes: Sequence[float],
    draw: Callable[[Rows, float, np.random.Generator], Rows],
    *,
    model: str,
    estimator: str,
    seeds: int,
    folds: int,
    floor: bool,
    duplicates: Duplicates | None,
) -> Curve:
    if seeds < 1:
        raise UsageError(f"seeds={seeds}, expected at least 1")
    if table.y is None:
        raise LabelsError(
            "the target has no labels; give a manifest with a label column, or name one by --label-column "
            "(label_column=...)"
        )
    if duplicates is None:
        duplicates = find_duplicates(table)
    bases = [_base(table, seed, folds) for seed in range(seeds)]
    # Of a fold for each seed, the draws hold other test images each time, and what these move is in their spread.
    crossed = table.split is not None and seeds > 1
    points: list[Point] = []
    metric = "accuracy"
    for size in sorted(set(sizes)):
        judged: list[_Judged] = []
        rows: list[int] = []
        for seed, (train, test, _) in enumerate(bases):
            part = np.sort(draw(train, size, np.random.default_rng(seed)))
            with warnings.catch_warnings():
                # scikit-learn takes labels of which most are distinct for values; with a few shots they are classes.
                warnings.filterwarnings("ignore", "The number of unique classes is greater", UserWarning)
                with errors_naming(f"at {_named(kind, size)}"):
                    judged.append(_judge(table, part, test, estimator, seed, duplicates))
            rows.append(len(part))
        values, metric = [one.estimate.value for one in judged], judged[0].metric
        points.append(
            Point(
                size=size,
                n_train=float(np.mean(rows)),
                values=values,
                mean=float(np.mean(values)),
                interval=_interval(judged, crossed=crossed),
                converged=all(one.converged for one in judged),
            )
        )
    drawn_from, tested, _ = bases[0]
    none = np.empty(0, dtype=np.intp)
    split = Split(fit=drawn_from, select=none, test=tested, selected_on="", reported_on="")
    leaked = leaks(table, [split], duplicates)
    n_test = len(tested)
    drawn = "test split" if table.split is not None else f"one fold of {folds}, another for each seed"
    return Curve(
        model=model,
        estimator=estimator,
        metric=metric,
        kind=kind,
        seeds=seeds,
        n_test=n_test,
        reported_on=f"{drawn} ({n_test} images)",
        points=points,
        floor=floor,
        notes=[
            *dict.fromkeys(note for _, _, said in bases for note in said),
            *leaked.notes(),
            *(["intervals are over the test images and the draws of training images together"] if crossed else []),
        ],
        leaks=leaked.counts(),
    )


def _named(kind: Literal["shots", "fractions"], size: float) -> str:
    if kind == "fractions":
        return f"{size:g} of the training images"
    return f"{size:g} image{'' if size == 1 else 's'} a class"


def _base(table: FeatureTable, seed: int, folds: int) -> tuple[Rows, Rows, tuple[str, ...]]:
    """Return the rows to draw from, the rows to judge on, and what should be known about them."""
    names = None if table.split is None else table.split.tolist()
    groups = None if table.groups is None else table.groups.tolist()
    split = make_splits(cast(Any, table.y), names, groups=groups, folds=folds, random_state=seed)[0]
    train = split.train
    if table.split is not None:
        # The rows that candidates are fitted on are always of the train split.
        train = train[np.isin(table.split[train].astype(str), np.unique(table.split[split.fit].astype(str)))]
    return train, split.test, split.notes


def _shuffled(table: FeatureTable, rows: Rows, random: np.random.Generator) -> list[Rows]:
    """Return the rows of each class in random order; all of them as one where there are no classes."""
    if table.target_type != "class":
        return [random.permutation(rows)]
    y = cast(npt.NDArray[Any], table.y)[rows].astype(str)
    return [random.permutation(rows[y == label]) for label in np.unique(y)]


class _Judged(NamedTuple):
    """One draw: its metric on the test rows of the targets `y`, and whether all fits converged."""

    metric: str
    estimate: Estimate
    y: npt.NDArray[Any]
    converged: bool


def _judge(table: FeatureTable, train: Rows, test: Rows, estimator: str, seed: int, duplicates: Duplicates) -> _Judged:
    if estimator == CLASS_MEAN:
        from embedkit.estimators import NearestClassMean

        if table.target_type != "class":
            raise LabelsError(f"{CLASS_MEAN} needs one class an image; name another estimator")
        names = cast(npt.NDArray[Any], table.y).astype(str)
        fitted = cast(Any, NearestClassMean().fit(table.X[train], names[train]))
        classes = np.unique(names)
        y, said = (np.searchsorted(classes, part) for part in (names[test], fitted.predict(table.X[test])))
        return _Judged("accuracy", estimated("accuracy", y, Predicted(targets=said)), y, converged=True)
    divided = _divided(table, train, test)
    run = quick(divided, estimator, model="", random_state=seed, further=False, duplicates=duplicates)
    y, metric = run.labels.targets[run.tested], run.result.metric
    return _Judged(metric, estimated(metric, y, run.draws[0]), y, run.result.converged)


def _divided(table: FeatureTable, train: Rows, test: Rows) -> FeatureTable:
    """Return the table of some rows, split into training and test ones."""
    part = table[np.concatenate([train, test])]
    head = copy.copy(part.metadata)
    head.split = np.array(["train"] * len(train) + ["test"] * len(test), dtype=object)
    stored = cast(npt.NDArray[np.float32], part.X.astype(head.spec.dtype))
    return FeatureTable(head, stored)


def _interval(judged: list[_Judged], *, crossed: bool) -> tuple[float, float] | None:
    values = [one.estimate.value for one in judged]
    if len(set(values)) < 2:  # one draw, or draws of all rows, which do not differ: that is no certainty
        return None
    if crossed:
        return interval_of(judged[0].metric, judged[0].y, [one.estimate for one in judged])
    return interval_over_draws(judged[0].metric, values)
