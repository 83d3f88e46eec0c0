"""A fitted classifier as a teacher: its probabilities for images, and the student that has learnt them as a model file.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embedkit.backbones import FeatureRequest
from embedkit.errors import SpecMismatchError, UsageError
from embedkit.evaluation import is_test
from embedkit.extraction import run
from embedkit.images import ImageSource
from embedkit.persistence import Model, at_work, save_model
from embedkit.results import Agreed
from embedkit.specs import FeatureSpec, describe_differences, differences
from embedkit.store import FeatureStore
from embedkit.workflows.reference import single_embedder
from embedkit.workflows.tables import table_in_memory

if TYPE_CHECKING:
    from embedkit.workflows.student_judging import JudgedData

Features = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """A model file as a teacher.

    Attributes
    ----------
    path : str
    model : Model
    steps : estimator
        What comes after the embedder, as one.
    classes : ndarray
    """

    path: str
    model: Model
    steps: Any
    classes: npt.NDArray[Any]

    @property
    def request(self) -> FeatureRequest:
        """The features that it was fitted on."""
        return self.model.pipeline.steps[0][1].request().pinned(self.model.spec)

    def check(self, spec: FeatureSpec) -> None:
        """Raise SpecMismatchError unless features are of the model that it was fitted on."""
        if spec.model_identity != self.model.spec.model_identity:
            found = differences(spec, self.model.spec)
            raise SpecMismatchError(
                f"the backbone at hand is not the one that {self.path} was fitted on: {describe_differences(found)}",
                found,
            )

    def chances(self, features: Features) -> Features:
        """Return probabilities, float32 (n, classes), of features (n, width)."""
        with at_work(self.path):
            if hasattr(self.steps, "predict_proba"):
                return np.asarray(self.steps.predict_proba(features), np.float32)
            scores = np.asarray(self.steps.decision_function(features), np.float64)
        scores = np.stack([-scores, scores], axis=1) / 2 if scores.ndim == 1 else scores
        shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
        return (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)


def open_classifier(path: str | os.PathLike[str]) -> Classifier:
    """Load a model file that names one class an image, by scores.

    Raises
    ------
    UsageError
        It is a regressor, names several labels an image, or gives no score for a class.
    """
    from sklearn.pipeline import Pipeline

    loaded = single_embedder(path, trust_pickle=False)
    steps: Any = Pipeline(loaded.pipeline.steps[1:])
    classes = np.asarray(loaded.classes)
    if (
        classes.ndim != 1
        or len(classes) < 2
        or not (hasattr(steps, "predict_proba") or hasattr(steps, "decision_function"))
    ):
        raise UsageError(
            f"{path} does not name one class an image by scores, which a student learns: fit a classifier, such as "
            "`embedkit fit PHOTOS --estimator logistic`"
        )
    return Classifier(path=os.fspath(path), model=loaded, steps=steps, classes=classes)


def write_model(
    student: Any,
    request: FeatureRequest,
    classifier: Classifier,
    images: ImageSource,
    output: str | os.PathLike[str] | None,
    store: FeatureStore,
) -> Any:
    """Write the student with what it learnt of the classes as a model file; return the classifier behind its embedder.

    It is logistic regression of scikit-learn whose coefficients are those of the student's last layer, so that
    everything that takes a model file takes it.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

    weight = student.task.weight.detach().numpy().astype(np.float64)
    bias = student.task.bias.detach().numpy().astype(np.float64)
    if len(weight) == 2:  # one score, of the second class over the first
        weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
    fitted: Any = LogisticRegression()
    fitted.classes_, fitted.coef_, fitted.intercept_ = classifier.classes, weight, bias
    fitted.n_features_in_, fitted.n_iter_ = weight.shape[1], np.zeros(1, np.int32)
    if output is not None:
        few = np.arange(len(images)) < 1  # an embedder is fitted by the first image that it sees
        source = images.some(few)
        table = table_in_memory(source, run(source, request, store))
        save_model(Pipeline([("embed", table.embedder()), ("logisticregression", fitted)]), output)
    return fitted


def agreed_on(
    judged: Sequence[JudgedData],
    classifier: Classifier,
    fitted: Any,
    student: FeatureRequest,
    trained: ImageSource,
    store: FeatureStore,
) -> list[Agreed]:
    """Compare what both classifiers name: tested images, or those trained on where there are none."""
    asked = [(one.name, _tested(one.source), False) for one in judged] or [("", trained, True)]
    found: list[Agreed] = []
    for name, source, trained_on in asked:
        given, own = run(source, classifier.request, store), run(source, student, store)
        rows = np.intersect1d(given.rows, own.rows)
        named = classifier.steps.predict(given.features.get(given.digests[rows]).astype(np.float32))
        said = fitted.predict(own.features.get(own.digests[rows]))
        right: list[float | None] = [None, None]
        if isinstance(source.labels, list) and set(source.labels) <= set(classifier.classes.tolist()):
            labels = np.array(source.labels)[rows]
            right = [float((named == labels).mean()), float((said == labels).mean())]
        found.append(
            Agreed(
                data=name,
                n_test=len(rows),
                agreement=float((named == said).mean()),
                teacher=right[0],
                student=right[1],
                trained_on=trained_on,
            )
        )
    return found


def _tested(source: ImageSource) -> ImageSource:
    if source.split is None or not is_test(source.split).any():
        return source
    return source.some(is_test(source.split))
