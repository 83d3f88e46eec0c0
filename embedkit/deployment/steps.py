"""What the fitted steps of a pipeline compute, as a chain of a few kinds of operations that any runtime has.

Steps that are affine are folded into one matrix; what is not affine stays an operation of its own; a step that is
neither is refused by its name.

Layer: deployment. Imports scikit-learn, embedkit's estimators, numpy and errors.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import sklearn.base
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.feature_selection import SelectorMixin
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import Normalizer, RobustScaler, StandardScaler
from sklearn.svm import SVC

from embedkit.deployment.affine import Affine
from embedkit.errors import ModelExportError
from embedkit.estimators import NearestClassMean, SignedPower, StreamingLDA, StreamingPCA, ViewAverage


@dataclass(frozen=True, slots=True)
class Normalize:
    """Each row, in `views` parts of equal width, divided by a norm of the part; a part of zeros stays."""

    norm: Literal["l1", "l2", "max"]
    views: int = 1


@dataclass(frozen=True, slots=True)
class Power:
    """sign(x) |x|**exponent."""

    exponent: float


Operation = Affine | Normalize | Power


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How the values of the last operation become a class.

    Attributes
    ----------
    kind : {"classes", "two classes", "pairs", "values"}
        One value a class, the highest wins; one value in all, positive for the second class; one value a pair of
        classes (0, 1), (0, 2), ..., positive for the first of the two, the most votes win; or no classes at all.
    classes : ndarray
        Labels as they were fitted; empty for ``"values"``.
    break_ties : bool
        For ``"pairs"``: ties of votes are broken by the values, not in favour of the first class.
    """

    kind: Literal["classes", "two classes", "pairs", "values"]
    classes: npt.NDArray[Any]
    break_ties: bool = False


_AFFINE = (
    StandardScaler,
    RobustScaler,
    PCA,
    IncrementalPCA,
    TruncatedSVD,
    LinearDiscriminantAnalysis,
    SelectorMixin,
    StreamingPCA,
    StreamingLDA,
)


def flattened(steps: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Walk steps and those of pipelines among them, leaving out what passes everything through."""
    for name, step in steps:
        if isinstance(step, Pipeline):
            yield from flattened(cast(Any, step).steps)
        elif step is not None and not (isinstance(step, str) and step == "passthrough"):
            yield name, step


def read_steps(steps: Sequence[tuple[str, Any]], width: int) -> tuple[list[Operation], Decision]:
    """Return the operations that fitted steps stand for, and how their outcome is read.

    Parameters
    ----------
    steps : sequence of (str, estimator)
        The `flattened` steps of a fitted pipeline behind its embedder; the last is a linear classifier or regressor.
    width : int
        Number of features that the first step takes.

    Raises
    ------
    ModelExportError
        A step has no such form; it is named.
    """
    if not steps:
        raise ModelExportError("the pipeline ends with the embedder; fit a linear classifier behind it")
    operations: list[Operation] = []
    for name, step in steps[:-1]:
        for operation in _transformer(name, step, width):
            operations.append(operation)
            width = len(operation.offset) if isinstance(operation, Affine) else width
    last, decision = _predictor(*steps[-1])
    return _folded([*operations, *last]), decision


def _transformer(name: str, step: Any, width: int) -> list[Operation]:
    if isinstance(step, Normalizer):
        return [Normalize(cast(Any, step).norm)]
    if isinstance(step, SignedPower):
        return [Power(step.exponent)]
    if isinstance(step, ViewAverage):
        average = Affine.linear(np.tile(np.eye(width // step.n_views), step.n_views) / step.n_views, 0.0)
        return [Normalize("l2", step.n_views), average] if step.normalize else [average]
    if isinstance(step, _AFFINE):
        centre = getattr(step, "mean_", None)
        with warnings.catch_warnings():
            # Fitted on a data frame, it would rather have one.
            warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
            return [Affine.of(cast(Any, step).transform, np.zeros(width) if centre is None else centre)]
    raise ModelExportError(
        f"step {name!r} ({type(step).__name__}) cannot be exported; what can be is scaling, PCA, LDA, normalisation, "
        "selection of features, SignedPower and ViewAverage"
    )


def _predictor(name: str, step: Any) -> tuple[list[Operation], Decision]:
    if isinstance(step, NearestClassMean):
        means = step.class_means_.astype(np.float64)
        identity = Affine(step.mean_.astype(np.float64), np.eye(len(step.mean_)), np.zeros(len(step.mean_)))
        scores = Affine.linear(means, -np.square(means).sum(axis=1) / 2)
        return [identity, *([Normalize("l2")] if step.normalize else []), scores], _one_a_class(step)
    if isinstance(step, SVC):
        return _support_vectors(name, step)
    if not hasattr(step, "coef_") or not hasattr(step, "intercept_"):
        raise ModelExportError(
            f"step {name!r} ({type(step).__name__}) is not linear and cannot be exported; fit logistic regression, a "
            "linear support vector machine, LDA or ridge"
        )
    last = Affine.linear(step.coef_, step.intercept_)
    if cast(Any, sklearn.base).is_regressor(step):
        return [last], Decision(kind="values", classes=np.empty(0, str))
    if not cast(Any, sklearn.base).is_classifier(step):
        raise ModelExportError(f"step {name!r} ({type(step).__name__}) is neither a classifier nor a regressor")
    decision = _one_a_class(step)
    if decision.classes.ndim != 1 or len(last.offset) != (1 if len(decision.classes) == 2 else len(decision.classes)):
        raise ModelExportError(f"step {name!r} ({type(step).__name__}) gives several labels an image; one is expected")
    return [last], decision if len(last.offset) > 1 else Decision(kind="two classes", classes=decision.classes)


def _one_a_class(step: Any) -> Decision:
    return Decision(kind="classes", classes=np.asarray(step.classes_))


def _support_vectors(name: str, step: Any) -> tuple[list[Operation], Decision]:
    if step.kernel != "linear" or (step.decision_function_shape != "ovr" and len(step.classes_) > 2):
        raise ModelExportError(
            f"step {name!r} (SVC) has kernel={step.kernel!r} and decision_function_shape="
            f"{step.decision_function_shape!r}; expected 'linear' and 'ovr'"
        )
    decision = Decision(
        kind="pairs" if len(step.classes_) > 2 else "two classes",
        classes=np.asarray(step.classes_),
        break_ties=bool(step.break_ties),
    )
    return [Affine.linear(step.coef_, step.intercept_)], decision


def _folded(operations: Sequence[Operation]) -> list[Operation]:
    folded: list[Operation] = []
    for operation in operations:
        before = folded[-1] if folded else None
        if isinstance(before, Affine) and isinstance(operation, Affine):
            folded[-1] = before.then(operation)
        else:
            folded.append(operation)
    return folded
