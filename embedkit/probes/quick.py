"""The ``quick`` protocol, embedkit's default: standardise, choose one hyper-parameter, refit, report on unseen rows.

    choose   the value with the best score on the selection rows, fitted on the other training rows; of equal values the
             most regularised
    refit    with that value on all training rows
    report   the score on the test rows with its 95 % interval: accuracy of classes, R2 of values, mean average
             precision of several labels a row; beside it every other metric that the predictions allow

Without splits the same is done once a fold, and the predictions of all folds are judged together.

Layer: probes; above the store and the estimators, below workflows.
"""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.errors import SplitError, UsageError
from embedkit.evaluation import (
    FeatureRows,
    Float64,
    Kind,
    Predicted,
    Rows,
    Split,
    Task,
    final_split,
    further_metrics,
    is_large,
    joined,
    judge,
    leaks,
    make_splits,
    per_image,
    task_of,
)
from embedkit.probes.grids import svm
from embedkit.probes.imported import checked, import_estimator, is_path
from embedkit.probes.imported import run as run_imported
from embedkit.probes.logistic import logistic, one_against_rest, pca_logistic
from embedkit.probes.neighbours import knn
from embedkit.probes.onepass import lda, ridge
from embedkit.probes.outcomes import Outcome, Steps
from embedkit.results import ProbeResult
from embedkit.tables import FeatureTable

_Run = Callable[[FeatureRows, Task, Split], Outcome]

_RUNS: dict[str, dict[str, _Run]] = {
    "class": {
        "logistic": logistic,
        "pca+logistic": pca_logistic,
        "svm": svm,
        "knn": knn,
        "ridge": ridge,
        "lda": lda,
    },
    "value": {"ridge": ridge},
    "multilabel": {"logistic": one_against_rest, "ridge": ridge},
}
_BY_DEFAULT = {
    "class": ("logistic", "pca+logistic", "svm", "knn"),
    "value": ("ridge",),
    "multilabel": ("logistic", "ridge"),
}

_METRIC = {"class": "accuracy", "value": "r2", "multilabel": "average_precision"}

ESTIMATORS = tuple(_RUNS["class"])
"""Names of estimators, all of which take classes."""

# Up to so many numbers in the features, BLAS works on one core: its threads wait for each other after every product,
# and beside other work that cost a factor of 26 on 1,257 x 1,280 features, where they had little to gain.
_ONE_CORE_SIZE = 1 << 24

_MOST_SCORES = 1 << 22
"""32 MB, and a few seconds of bootstrap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quick:
    """The outcome of the protocol: the record, what it judged, and the estimator.

    Attributes
    ----------
    result : ProbeResult
    steps : list of (str, estimator)
        The fitted steps of a Pipeline on features. Empty for neighbours of more training rows than memory holds.
    tested : ndarray of shape (n_test,), intp
        Row numbers that were judged.
    predictions : ndarray of shape (n_test,), str or float64, or of shape (n_test, n_classes), float
        Labels, values, or scores of several labels, in the order of `tested`.
    predicted : Predicted
        The same with numbers for classes, and with scores of the classes where the estimator has any.
    per_image : ndarray of shape (n_test,), float64
        What paired tests compare; see `ProbeRun`.
    """

    result: ProbeResult
    steps: Steps
    tested: npt.NDArray[np.intp]
    predictions: npt.NDArray[Any]
    predicted: Predicted
    per_image: Float64


def default_estimators(table: FeatureTable) -> tuple[str, ...]:
    """Return the names that a table is probed with when none is asked for: those that suit its labels and its size."""
    names = _BY_DEFAULT.get(table.target_type, _BY_DEFAULT["class"])
    return tuple(name for name in names if not (name == "svm" and is_large(table)))


def quick(
    table: FeatureTable,
    estimator: Any,
    *,
    model: str,
    floor: bool = False,
    folds: int = 5,
    random_state: int = 0,
    params: Mapping[str, Sequence[Any]] | None = None,
    device: str = "auto",
    further: bool = True,
) -> Quick:
    """Run the protocol with one estimator on one table.

    Parameters
    ----------
    table : FeatureTable
        With labels. Features larger than half a gigabyte are read block by block, unless the estimator needs them in
        memory: an SVM, or one of the user's.
    estimator : str or estimator of scikit-learn
        For classes ``"logistic"``, ``"pca+logistic"``, ``"svm"``, ``"knn"``, ``"ridge"`` or ``"lda"``; for values
        ``"ridge"``; for several labels a row ``"logistic"`` (one against the rest) or ``"ridge"``. Or the dotted path
        of a class, or an object, which is cloned.
    model : str
        What the result calls the features.
    floor : bool
        The features are a floor.
    folds : int
        For a table without splits.
    random_state : int
        Seed of every random choice.
    params : mapping of str to sequence, optional
        For an estimator by path or object: values to choose from, of equals the first. Without, nothing is chosen.
    device : str
        Where an estimator by path or object is fitted if it takes tensors, as `resolve_tensor_device` names them.
    further : bool
        Judge by further metrics too. Those that need a score of every class for every tested image are left out
        where that would be more than four million numbers.

    Returns
    -------
    Quick
        For a table without splits, `steps` are fitted on all its rows.

    Raises
    ------
    LabelsError
        Labels are missing, of one class only, or all equal.
    SplitError
        There is no train or test split, or a class has fewer rows than there are folds.
    UsageError
        The estimator is not known or does not suit the labels, or the features are not finite.
    """
    from threadpoolctl import threadpool_limits  # pyright: ignore[reportUnknownVariableType]

    started = time.monotonic()
    task = task_of(table)
    run = _run_of(estimator, params, task.kind, random_state, device)
    splits = make_splits(
        task.y,
        None if table.split is None else table.split.tolist(),
        groups=None if table.groups is None else table.groups.tolist(),
        folds=folds,
        random_state=random_state,
    )
    n_scores = sum(len(split.test) for split in splits) * len(task.classes)
    task = dataclasses.replace(task, scored=further and n_scores <= _MOST_SCORES)
    features = FeatureRows(table)
    one_core = features.shape[0] * features.shape[1] <= _ONE_CORE_SIZE
    with threadpool_limits(1 if one_core else None), warnings.catch_warnings():
        # scikit-learn's guess at values where labels, which are classes here, are many.
        warnings.filterwarnings("ignore", message="The number of unique classes is greater than 50%")
        outcomes = [run(features, task, split) for split in splits]
        shipped = outcomes[0]
        if table.split is None:
            # What is shipped learns from every image; the cross-validated number is that of the procedure.
            groups = None if table.groups is None else table.groups.tolist()
            shipped = run(features, task, final_split(task.y, groups, np.arange(len(table)), random_state=random_state))
        seconds = time.monotonic() - started
        leaked = leaks(table, features, splits, random_state)
    tested = np.concatenate([split.test for split in splits])
    predicted, y = joined([outcome.predicted for outcome in outcomes]), task.targets[tested]
    if task.kind == "multilabel" and not y.any():
        raise SplitError("no tested image has any of the classes, so nothing can be judged; check the splits")
    metric = _METRIC[task.kind]
    main = judge([metric], y, [predicted], random_state=random_state)[metric]
    ranked = predicted if n_scores <= _MOST_SCORES else dataclasses.replace(predicted, scores=None)
    others = further_metrics(metric, y, [ranked], random_state) if further else {}
    first = splits[0]
    result = ProbeResult(
        model=model,
        protocol="quick",
        estimator=estimator if isinstance(estimator, str) else type(estimator).__name__,
        metric=metric,
        value=main["value"],
        interval=main["interval"],
        n_train=len(first.train),
        n_test=len(tested),
        n_classes=_count_classes(task, first.train),
        params=shipped.params,
        at_edge=shipped.at_edge,
        converged=all(outcome.converged for outcome in [*outcomes, shipped]),
        selected_on=first.selected_on if shipped.params else "nothing: the estimator's own parameters were kept",
        reported_on=first.reported_on,
        floor=floor,
        notes=[*first.notes, *_unlearnable(task, splits), *leaked.notes()],
        fit_seconds=seconds,
        metrics=others,
        leaks=dataclasses.asdict(leaked),
    )
    return Quick(
        result=result,
        steps=shipped.steps,
        tested=tested,
        predictions=task.decoded(predicted),
        predicted=predicted,
        per_image=per_image(y, [predicted]),
    )


def check_estimator(
    estimator: Any, params: Mapping[str, Sequence[Any]] | None = None, kind: Kind | None = None
) -> None:
    """Raise UsageError unless there is such an estimator, and it suits the kind of labels where that is given."""
    if kind is not None:
        _run_of(estimator, params, kind, random_state=0, device="cpu")
        return
    if isinstance(estimator, str) and not is_path(estimator):
        if estimator not in ESTIMATORS:
            raise UsageError(
                f"estimator {estimator!r} is not known; use {', '.join(ESTIMATORS)}, or a dotted path such as "
                "sklearn.svm.SVC"
            )
        if params:
            raise UsageError(
                f"parameters are for an estimator named by a dotted path; {estimator!r} chooses from a grid of its own"
            )
    elif is_path(estimator):
        import_estimator(estimator)


def _run_of(
    estimator: Any, params: Mapping[str, Sequence[Any]] | None, kind: Kind, random_state: int, device: str
) -> _Run:
    check_estimator(estimator, params)
    if isinstance(estimator, str) and not is_path(estimator):
        runs = _RUNS[kind]
        if estimator not in runs:
            kinds = {"value": "values", "multilabel": "several labels an image"}
            raise UsageError(
                f"estimator {estimator!r} is not for labels that are {kinds[kind]}; use {', '.join(runs)}, or a "
                "dotted path of a scikit-learn estimator"
            )
        return runs[estimator]
    found = import_estimator(estimator) if isinstance(estimator, str) else estimator
    unfitted, grid = checked(found, params or {}, kind)
    return lambda features, task, split: run_imported(unfitted, grid, features, task, split, random_state, device)


def _count_classes(task: Task, train: Rows) -> int:
    if task.kind == "value":
        return 0
    return task.y.shape[1] if task.kind == "multilabel" else len(np.unique(task.y[train]))


def _unlearnable(task: Task, splits: list[Split]) -> list[str]:
    """Say of several labels how many cannot be learnt or judged."""
    if task.kind != "multilabel":
        return []
    notes: list[str] = []
    absent = sum(not task.y[split.train].any(axis=0).all() for split in splits)
    if absent:
        worst = max(int((~task.y[split.train].any(axis=0)).sum()) for split in splits)
        notes.append(f"{worst} of {task.y.shape[1]} classes have no training image and cannot be ranked")
    tested = np.concatenate([split.test for split in splits])
    unseen = int((~task.y[tested].any(axis=0)).sum())
    if unseen:
        notes.append(f"{unseen} of {task.y.shape[1]} classes have no tested image and are not in the mean")
    return notes
