"""``voc-svm``: a linear SVM a class, its cost chosen by cross-validated average precision.

    features    L2-normalised (norm + 1e-5), float64; resize to a square of 224, ImageNet mean and deviation
    objective   squared hinge loss with an L2 penalty (of the bias too), examples of the class weighted by 2
    grid        C = 0.01, 0.1, 1, 2, 5, 10, 15, 20, 50, 100, 1000, for each class
    selection   mean average precision of 3 stratified folds of all rows that are not tested, in their order; of equals,
                the smallest C
    refit       on all rows that are not tested
    metric      mean over classes of the area under the interpolated precision-recall curve (the 11-point average among
                the metrics); one class a row is treated as several labels of which one is true

A class with fewer than 3 examples or counter-examples cannot be cross-validated: its C is 1, and a note says so. By
default each machine is at its optimum (of `embedkit.estimators.LinearSVC` with a constant feature in the place of the
intercept); as published liblinear's dual coordinate descent stops at tolerance 1e-4 or after 2000 iterations.

Source: P. Goyal et al., Scaling and benchmarking self-supervised visual representation learning, ICCV 2019,
github.com/facebookresearch/vissl, vissl/utils/svm_utils and the configuration eval_resnet_8gpu_transfer_voc07_svm.

Layer: probes.protocols.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.estimators import LinearSVCPath
from embedkit.evaluation import Float64, Outcome, Predicted, Task, predicted_classes
from embedkit.probes.protocols.features import IMAGENET_MEAN, IMAGENET_STD, Prescription

Marks = npt.NDArray[np.bool_]

CS = (0.01, 0.1, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 50.0, 100.0, 1000.0)
FOLDS = 3
CLASS_WEIGHT = {False: 1.0, True: 2.0}
PRESCRIPTION = Prescription(
    input_size=(224, 224),
    interpolation="bilinear",
    crop_mode="squash",
    crop_pct=1.0,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fitted:
    scores: Float64
    C: float
    at_edge: bool
    converged: bool
    cross_validated: bool


def voc_svm(task: Task) -> Outcome:
    """Run the protocol on one task."""
    known = task.known
    X, test = _normalized(known.X), _normalized(task.test_features)
    marks = known.y if task.is_multilabel else known.y[:, None] == np.arange(task.n_classes)
    fitted = [_one_class(task, X, marks[:, k], test) for k in range(task.n_classes)]
    scores = np.stack([part.scores for part in fitted], axis=1)
    predicted = Predicted(targets=scores > 0, scores=scores) if task.is_multilabel else predicted_classes(scores)
    few = sum(not part.cross_validated for part in fitted)
    Cs = [part.C for part in fitted]
    return Outcome(
        draws=[predicted],
        params={"C_smallest": min(Cs), "C_median": float(np.median(Cs)), "C_largest": max(Cs)},
        n_train=len(known),
        selected_on=f"{FOLDS}-fold cross-validation of the training rows ({len(known)} images)",
        at_edge=any(part.at_edge for part in fitted),
        converged=all(part.converged for part in fitted),
        notes=[f"voc-svm: {few} of {task.n_classes} classes have too few examples for {FOLDS} folds: their C is 1"]
        if few
        else [],
    )


def _one_class(task: Task, X: Float64, marks: Marks, test: Float64) -> _Fitted:
    from sklearn.exceptions import ConvergenceWarning

    smallest = int(min(marks.sum(), (~marks).sum()))
    if not smallest:
        scores = np.full(len(test), np.inf if marks.all() else -np.inf)
        return _Fitted(scores=scores, C=1.0, at_edge=False, converged=True, cross_validated=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        fit = _as_published if task.as_published else _at_optimum
        machine, best = fit(X, marks, FOLDS if smallest >= FOLDS else None, task.random_state)
    return _Fitted(
        scores=cast(Float64, machine.decision_function(test)),
        C=CS[best],
        at_edge=smallest >= FOLDS and best in (0, len(CS) - 1),
        converged=not any(issubclass(warning.category, ConvergenceWarning) for warning in caught),
        cross_validated=smallest >= FOLDS,
    )


def _at_optimum(X: Float64, marks: Marks, folds: int | None, random_state: int) -> tuple[Any, int]:
    """Fit the machine of the best cost, and say which it is."""
    Cs = CS if folds else (1.0,)
    path = LinearSVCPath(
        Cs,
        cv=folds,
        scoring="average_precision",
        fit_intercept=False,
        class_weight=CLASS_WEIGHT,
        tol=1e-9,
    ).fit(X, marks)
    best = path.best_C_ if folds else 1.0
    return path.model_at(best), CS.index(best)


def _as_published(X: Float64, marks: Marks, folds: int | None, random_state: int) -> tuple[Any, int]:
    import sklearn.model_selection
    from sklearn.svm import LinearSVC

    # liblinear's own intercept is such a constant feature, too.
    solver: dict[str, Any] = {"dual": True, "tol": 1e-4, "max_iter": 2000, "random_state": random_state}
    machines = [cast(Any, LinearSVC)(C=C, class_weight=CLASS_WEIGHT, fit_intercept=False, **solver) for C in CS]
    best = CS.index(1.0)
    if folds:
        cross_validate = cast(Any, sklearn.model_selection).cross_val_score
        scores = [cross_validate(machine, X, marks, cv=folds, scoring="average_precision") for machine in machines]
        best = int(np.argmax(np.mean(scores, axis=1)))
    return machines[best].fit(X, marks), best


def _normalized(X: npt.NDArray[np.float32]) -> Float64:
    """Give unit vectors and, as the last feature, the constant whose coefficient is the (penalised) bias."""
    features = X.astype(np.float64)
    features /= np.linalg.norm(features, axis=1, keepdims=True) + 1e-5
    return np.column_stack([features, np.ones(len(features))])
