"""What a model says of rows: a class, value or labels each, scores, and where it can, sets of classes and unknowns.

Layer: workflows, shared by what predicts; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from sklearn.base import is_regressor  # pyright: ignore[reportUnknownVariableType]
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from embedkit.errors import UsageError
from embedkit.estimators import ConformalClassifier, LabelSetClassifier, UnknownDetector
from embedkit.results import Guess, Prediction

UNKNOWN_ERROR = 0.05
"""The share of known images that may be marked as unknown, where nobody says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What an estimator says of rows: one class, value or list of labels a row, and the scores of the classes."""

    predicted: list[str | float | list[str]]
    classes: list[str] = dataclasses.field(default_factory=list[str])
    scores: npt.NDArray[np.float64] | None = None
    kind: str | None = None
    unknown: npt.NDArray[np.bool_] | None = None
    sets: list[list[str]] | None = None

    def predictions(self, keys: list[str], top: int) -> list[Prediction]:
        """Give a prediction for each row, with the likeliest classes."""
        unknown = [None] * len(keys) if self.unknown is None else self.unknown.tolist()
        sets = [None] * len(keys) if self.sets is None else self.sets
        return [
            dataclasses.replace(one, unknown=strange, set=among)
            for one, strange, among in zip(self._scored(keys, top), unknown, sets, strict=True)
        ]

    def _scored(self, keys: list[str], top: int) -> list[Prediction]:
        if self.scores is None:
            return [Prediction(key, one) for key, one in zip(keys, self.predicted, strict=True)]
        places = {name: place for place, name in enumerate(self.classes)}
        order = np.argsort(-self.scores, axis=1, kind="stable")[:, :top]
        return [
            Prediction(
                key,
                one,
                None if isinstance(one, list) else float(scores[places[str(one)]]),
                self.kind,
                [Guess(self.classes[place], float(scores[place])) for place in cast(list[int], best.tolist())],
            )
            for key, one, scores, best in zip(keys, self.predicted, self.scores, order, strict=True)
        ]


def classify(
    pipeline: Any, taken: Any, rows: int, *, coverage: float | None = None, error: float | None = None
) -> Said:
    """Return what a model says of each row, and how sure it is.

    Parameters
    ----------
    pipeline : fitted estimator
    taken : what it takes
    rows : int
    coverage : float, optional
        Give sets of classes that hold the right one so often.
    error : float, optional
        Say which rows are unknown, at this share of false alarms; by default 0.05 where the model can tell.
    """
    detector, conformal = guards_of(pipeline)
    if coverage is not None and conformal is None:
        raise UsageError(
            "the model gives no sets of classes; fit one that does: embedkit fit --conformal, or with "
            "embedkit.estimators.ConformalClassifier"
        )
    if error is not None and detector is None:
        raise UsageError(
            "the model cannot tell what is unknown; fit one that can: embedkit fit --conformal, or with "
            "embedkit.estimators.UnknownDetector"
        )
    if not rows:
        return Said(predicted=[])
    if not hasattr(pipeline, "predict"):
        raise UsageError("the model ends without a classifier or regressor and predicts nothing; fit one behind it")
    estimator: Any = pipeline
    if isinstance(pipeline, Pipeline) and len(pipeline) > 1:  # the features are looked up and reduced once
        steps, estimator = cast(tuple[Any, Any], (pipeline[:-1], pipeline[-1]))
        taken = steps.transform(taken)
    said = _said(estimator, taken, rows)
    if detector is not None:
        strange = np.asarray(detector.is_unknown(taken, UNKNOWN_ERROR if error is None else error), np.bool_)
        said = dataclasses.replace(said, unknown=strange)
    if coverage is not None and conformal is not None:
        names = [str(one) for one in conformal.classes_.tolist()]
        among = np.asarray(conformal.predict_set(taken, coverage), np.bool_)
        if among.shape != (rows, len(names)):
            raise RuntimeError(f"it gives sets {among.shape} for {rows} rows of {len(names)} classes")
        said = dataclasses.replace(said, sets=[[names[place] for place in np.flatnonzero(row)] for row in among])
    return said


def guards_of(pipeline: Any) -> tuple[UnknownDetector | None, ConformalClassifier | None]:
    """Return what tells unknown rows, and what gives sets, where a model's last step is such, or is around such."""
    detector: UnknownDetector | None = None
    conformal: ConformalClassifier | None = None
    one: Any = cast(Any, pipeline)[-1] if isinstance(pipeline, Pipeline) else pipeline
    while isinstance(one, UnknownDetector | ConformalClassifier | FrozenEstimator):
        if isinstance(one, UnknownDetector):
            detector = detector or one
        elif isinstance(one, ConformalClassifier):
            conformal = conformal or one
        one = cast(Any, one).estimator if isinstance(one, FrozenEstimator) else cast(Any, one).estimator_
    return detector, conformal


def _said(estimator: Any, taken: Any, rows: int) -> Said:
    outcome = np.asarray(estimator.predict(taken))
    if outcome.shape[:1] != (rows,):
        raise RuntimeError(f"it predicts {outcome.shape} for {rows} rows")
    if isinstance(estimator, LabelSetClassifier):
        return _label_sets(estimator, taken)
    if outcome.ndim != 1:  # several outputs
        return Said(predicted=[str(one) for one in outcome.tolist()])
    if is_regressor(estimator):
        return Said(predicted=[float(one) for one in outcome.tolist()])
    predicted: list[str | float | list[str]] = [str(one) for one in outcome.tolist()]
    if hasattr(estimator, "predict_proba"):
        scores, kind = np.asarray(estimator.predict_proba(taken)), "probability"
    elif hasattr(estimator, "decision_function"):
        scores, kind = np.asarray(estimator.decision_function(taken)), "decision value"
        if scores.ndim == 1:  # of the second of two classes
            scores = np.stack([-scores, scores], axis=1)
    else:
        return Said(predicted=predicted)
    classes = [str(one) for one in np.asarray(estimator.classes_).tolist()]
    if len(set(classes)) != len(classes) or not set(predicted) <= set(classes):
        raise RuntimeError("it predicts others than its classes, or has one twice")
    if scores.shape != (rows, len(classes)):  # of pairs of classes: decision_function_shape="ovo"
        return Said(predicted=predicted)
    return Said(predicted=predicted, classes=classes, scores=scores, kind=kind)


def _label_sets(estimator: LabelSetClassifier, taken: Any) -> Said:
    """Return the labels that each row has, by name."""
    classes, scores = [str(one) for one in estimator.classes_.tolist()], estimator.decision_function(taken)
    if scores.ndim != 2 or scores.shape[1] != len(classes):
        raise RuntimeError(f"it scores {scores.shape} for {len(classes)} labels")
    predicted: list[str | float | list[str]] = [
        [name for name, score in zip(classes, row, strict=True) if score > 0] for row in scores
    ]
    return Said(predicted=predicted, classes=classes, scores=scores, kind="decision value")
