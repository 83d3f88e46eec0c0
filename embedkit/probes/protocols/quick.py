"""The ``quick`` protocol, embedkit's default: standardise, choose one hyper-parameter, refit, report on unseen rows.

    choose   the value with the best score on the selection rows, fitted on the other training rows; of equal values
             that of the least loss on these rows (logistic, svm; docs/design/007), else the most regularised
    refit    with that value on all training rows
    report   the score on the test rows with its 95 % interval: accuracy of classes, R2 of values, mean average
             precision of several labels a row; beside it every other metric that the predictions allow

Without splits the same is done once a fold, and the predictions of all folds are judged together.

Layer: probes.protocols; above the engine of evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from embedkit.errors import UsageError
from embedkit.evaluation import Duplicates, LabelType, Outcome, ProbeRun, Protocol, Task, evaluate, is_large, labels_of
from embedkit.probes.imported import checked, import_estimator, is_path
from embedkit.probes.imported import run as run_imported
from embedkit.probes.linear import logistic, one_against_rest, pca_logistic, svm
from embedkit.probes.neighbours import knn
from embedkit.probes.onepass import lda, ridge
from embedkit.tables import FeatureTable

_Run = Callable[[Task], Outcome]

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


def default_estimators(table: FeatureTable) -> tuple[str, ...]:
    """Return the names that a table is probed with when none is asked for: those that suit its labels and its size.

    On a large table an SVM takes several times as long as logistic regression.
    """
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
    duplicates: Duplicates | None = None,
) -> ProbeRun:
    """Run the protocol with one estimator on one table.

    Parameters
    ----------
    table : FeatureTable
        With labels. Features larger than half a gigabyte are read block by block, unless the estimator is one of the
        user's and needs them in memory.
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
    duplicates : Duplicates, optional
        As in `embedkit.evaluation.evaluate`.

    Returns
    -------
    ProbeRun
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
    kind = labels_of(table).kind
    protocol = Protocol(
        name="quick",
        estimator=estimator if isinstance(estimator, str) else type(estimator).__name__,
        metric=_METRIC[kind],
        run=_run_of(estimator, params, kind, random_state, device),
        ships=True,
    )
    return evaluate(
        protocol,
        table,
        model=model,
        floor=floor,
        folds=folds,
        random_state=random_state,
        further=further,
        duplicates=duplicates,
    )


def check_estimator(
    estimator: Any, params: Mapping[str, Sequence[Any]] | None = None, kind: LabelType | None = None
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
    estimator: Any, params: Mapping[str, Sequence[Any]] | None, kind: LabelType, random_state: int, device: str
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
    return lambda task: run_imported(unfitted, grid, task, random_state, device)
