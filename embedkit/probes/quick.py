"""The ``quick`` protocol, embedkit's default: standardise, choose one hyper-parameter, refit, report on unseen rows.

    choose   the value with the best accuracy on the selection rows, fitted on the other training rows; of equal values
             the most regularised
    refit    with that value on all training rows
    report   accuracy on the test rows with its 95 % Wilson interval

Without splits the same is done once a fold, and the predictions of all folds are judged together.

Layer: probes; above the store and the estimators, below workflows.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import LabelsError, UsageError
from embedkit.probes.records import ProbeResult
from embedkit.probes.splits import SELECTION_FRACTION, Rows, Split, make_splits, stratified_part
from embedkit.probes.statistics import wilson_interval
from embedkit.store import FeatureTable

ESTIMATORS = ("logistic", "pca+logistic", "svm", "knn")

# Inverse regularisation strengths. Standardised features of some hundred dimensions are separable: what is best lies
# far below scikit-learn's default of 1.
_LOGISTIC_CS = tuple(float(value) for value in np.logspace(-5, 2, 15))
_SVM_CS = tuple(float(value) for value in np.logspace(-5, 0, 6))
_NEIGHBOURS = (1, 3, 5, 10, 20, 50)
_COMPONENTS = 128
# libsvm is exact and quick where the kernel matrix of the rows fits into its cache; beyond, liblinear's primal is.
_KERNEL_ROWS = 10_000


# Up to so many numbers in the features, BLAS works on one core: its threads wait for each other after every product,
# and beside other work that cost a factor of 26 on 1,257 x 1,280 features, where they had little to gain.
_ONE_CORE_SIZE = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A hyper-parameter and how it was chosen."""

    params: dict[str, float | int | str]
    at_edge: bool
    converged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Quick:
    """The outcome of the protocol: the record, and the estimator that it judged.

    Attributes
    ----------
    result : ProbeResult
    steps : list of (str, estimator)
        The fitted steps of a Pipeline on features.
    """

    result: ProbeResult
    steps: list[tuple[str, Any]]


def quick(
    table: FeatureTable, estimator: str, *, model: str, floor: bool = False, folds: int = 5, random_state: int = 0
) -> Quick:
    """Run the protocol with one estimator on one table.

    Parameters
    ----------
    table : FeatureTable
        With class labels.
    estimator : {"logistic", "pca+logistic", "svm", "knn"}
    model : str
        What the result calls the features.
    floor : bool
        The features are a floor.
    folds : int
        For a table without splits.
    random_state : int
        Seed of every random choice.

    Returns
    -------
    Quick
        For a table without splits, `steps` are fitted on all its rows.

    Raises
    ------
    LabelsError
        There are no class labels.
    SplitError
        There is no train or test split, or a class has fewer rows than there are folds.
    """
    from threadpoolctl import threadpool_limits  # pyright: ignore[reportUnknownVariableType]

    started = time.monotonic()
    if table.target_type != "class" or table.y is None:
        raise LabelsError(
            f"the target has {_KINDS[table.target_type]}, and this protocol needs one class an image: "
            "put images into one sub-folder a class, give a manifest with a label column, or name one by label_column"
        )
    if not len(table):
        raise LabelsError(
            f"the target holds no image with features ({len(table.failures)} failed); see `embedkit info`"
        )
    X, y = table.X, cast(npt.NDArray[np.str_], table.y)
    if not np.isfinite(X).all():
        raise UsageError("the features hold NaN or infinity; extract them again")
    splits = make_splits(
        y, None if table.split is None else table.split.tolist(), folds=folds, random_state=random_state
    )
    right = np.zeros(len(y), dtype=bool)
    tested = np.concatenate([split.test for split in splits])
    with threadpool_limits(1 if X.size <= _ONE_CORE_SIZE else None):
        outcomes = [_run(estimator, X, y, split, right) for split in splits]
        chosen, steps = outcomes[0]
        if table.split is None:
            # What is shipped learns from every image; the cross-validated number is that of the procedure.
            rest, part = stratified_part(y, np.arange(len(y)), SELECTION_FRACTION, random_state)
            final = Split(fit=rest, select=part, test=part[:0], selected_on="", reported_on="")
            chosen, steps = _run(estimator, X, y, final, right)
    correct = int(right[tested].sum())
    first = splits[0]
    return Quick(
        result=ProbeResult(
            model=model,
            protocol="quick",
            estimator=estimator,
            metric="accuracy",
            value=correct / len(tested),
            interval=wilson_interval(correct, len(tested)),
            n_train=len(first.train),
            n_test=len(tested),
            n_classes=len(np.unique(y[first.train])),
            params=chosen.params,
            at_edge=chosen.at_edge,
            converged=all(outcome[0].converged for outcome in outcomes),
            selected_on=first.selected_on,
            reported_on=first.reported_on,
            floor=floor,
            notes=[*first.notes, *_copies(table, splits)],
            fit_seconds=time.monotonic() - started,
        ),
        steps=steps,
    )


def _copies(table: FeatureTable, splits: list[Split]) -> list[str]:
    """Say how many tested images are in the training rows of their split, byte for byte."""
    digests = [digest.tobytes() for digest in table.digests]
    copies = 0
    for split in splits:
        trained = {digests[row] for row in split.train}
        copies += sum(digests[row] in trained for row in split.test)
    if not copies:
        return []
    tested = sum(len(split.test) for split in splits)
    return [f"{copies} of {tested} tested images are byte for byte among the training images too: the number flatters"]


_KINDS = {"none": "no labels", "value": "values", "multilabel": "several labels an image"}


def _run(
    estimator: str, X: npt.NDArray[np.float32], y: npt.NDArray[np.str_], split: Split, right: npt.NDArray[np.bool_]
) -> tuple[Chosen, list[tuple[str, Any]]]:
    """Choose, refit, and mark the test rows that come out right."""
    choose = _choose_logistic if estimator in ("logistic", "pca+logistic") else _choose_from_grid
    chosen = choose(estimator, X, y, split.fit, split.select)
    steps, converged = _fit(estimator, chosen.params, X[split.train], y[split.train])
    if len(split.test):
        right[split.test] = _predict(steps, X[split.test]) == y[split.test]
    return Chosen(params=chosen.params, at_edge=chosen.at_edge, converged=chosen.converged and converged), steps


def _choose_logistic(
    estimator: str, X: npt.NDArray[np.float32], y: npt.NDArray[np.str_], fit: Rows, select: Rows
) -> Chosen:
    """Fit the whole path at once: all values of C cost little more than one."""
    from sklearn.exceptions import ConvergenceWarning

    from embedkit.estimators import LogisticRegressionPath

    steps = _transformers(estimator, len(fit), X.shape[1])
    features, converged = _fit_steps(steps, X[fit], y[fit])
    path = LogisticRegressionPath(Cs=_LOGISTIC_CS, cv=None, refit=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the record says it
        path.fit(features, y[fit], validation=(_transform(steps, X[select]), y[select]))
    return Chosen(
        params={"C": float(path.best_C_)},
        at_edge=bool(path.at_edge_),
        converged=converged and bool(np.all(path.converged_)),
    )


def _choose_from_grid(
    estimator: str, X: npt.NDArray[np.float32], y: npt.NDArray[np.str_], fit: Rows, select: Rows
) -> Chosen:
    name, grid = ("C", _SVM_CS) if estimator == "svm" else ("n_neighbors", _NEIGHBOURS)
    # A neighbour more than there are rows cannot be had; k = 1 always can.
    values = [value for value in grid if name == "C" or value <= len(fit)]
    if name == "n_neighbors":
        values = values[::-1]  # many neighbours are the more regularised choice
    accuracies: list[float] = []
    converged = True
    for value in values:
        steps, done = _fit(estimator, {name: value}, X[fit], y[fit])
        accuracies.append(float((_predict(steps, X[select]) == y[select]).mean()))
        converged &= done
    return _best(name, values, accuracies, converged)


def _best(name: str, values: Any, accuracies: list[float], converged: bool) -> Chosen:
    best = int(np.argmax(accuracies))  # the first of equals: the most regularised
    # One neighbour is the end of every grid by nature, not for want of a wider one.
    at_edge = best in (0, len(values) - 1) and values[best] != 1
    return Chosen(params={name: values[best]}, at_edge=at_edge, converged=converged)


def _transformers(estimator: str, rows: int, width: int) -> list[tuple[str, Any]]:
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import Normalizer, StandardScaler

    if estimator == "knn":
        return [("normalize", Normalizer())]
    if estimator == "pca+logistic":
        components = min(_COMPONENTS, rows, width)
        return [("scale", StandardScaler()), ("pca", PCA(components, svd_solver="full", random_state=0))]
    return [("scale", StandardScaler())]


def _fit(
    estimator: str, params: dict[str, float | int | str], X: npt.NDArray[np.float32], y: npt.NDArray[np.str_]
) -> tuple[list[tuple[str, Any]], bool]:
    """Return the fitted steps of a pipeline on features, and whether the fit converged."""
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC, LinearSVC

    from embedkit.estimators import LogisticRegression

    final: Any
    if estimator == "svm" and len(X) <= _KERNEL_ROWS:
        final = SVC(**cast(Any, params), kernel="linear", cache_size=1000)
    elif estimator == "svm":
        final = LinearSVC(**cast(Any, params), dual=cast(Any, False))
    elif estimator == "knn":
        final = KNeighborsClassifier(**cast(Any, params), metric="euclidean")
    else:
        final = LogisticRegression(**cast(Any, params))
    steps = [*_transformers(estimator, len(X), X.shape[1]), (estimator.rpartition("+")[2], final)]
    _, converged = _fit_steps(steps, X, y)
    return steps, converged


def _fit_steps(
    steps: list[tuple[str, Any]], X: npt.NDArray[np.float32], y: npt.NDArray[np.str_]
) -> tuple[npt.NDArray[np.float32], bool]:
    """Fit steps one after the other; return what the last transformer gives, and whether all fits converged."""
    from sklearn.exceptions import ConvergenceWarning

    features = X
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        for _, step in steps:
            features = step.fit_transform(features) if hasattr(step, "transform") else step.fit(features, y)
    failed = [warning for warning in caught if issubclass(warning.category, ConvergenceWarning)]
    for warning in caught:
        if warning not in failed:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return features, not failed


def _transform(steps: list[tuple[str, Any]], X: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    features = X
    for _, step in steps:
        features = step.transform(features)
    return features


def _predict(steps: list[tuple[str, Any]], X: npt.NDArray[np.float32]) -> npt.NDArray[np.str_]:
    return cast(npt.NDArray[np.str_], steps[-1][1].predict(_transform(steps[:-1], X)))
