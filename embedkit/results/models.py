"""What `fit`, `predict` and `demo` leave behind.

Layer: results; above probe and extraction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from embedkit.results.extraction import ExtractResult
from embedkit.results.probe import ProbeReport, ProbeResult
from embedkit.results.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult(Record):
    """A model file, and how good the model in it is.

    Attributes
    ----------
    output : str
        The model file.
    steps : list of str
        The types of the pipeline's steps.
    classes : list of str
    result : ProbeResult
        The accuracy on rows that the pipeline was not fitted on.
    pipeline : sklearn.pipeline.Pipeline or None
        What was saved: an `ImageEmbedder` and the fitted steps. No part of the record: a saved one comes back without.
    """

    kind: ClassVar[str] = "fit"

    output: str
    steps: list[str]
    classes: list[str]
    result: ProbeResult
    pipeline: Any = field(default=None, metadata={"plain": False}, compare=False, repr=False)

    def table(self) -> list[dict[str, Any]]:
        """Return one row."""
        return [self.result.summary()]


@dataclass(frozen=True, slots=True)
class Prediction:
    """One image's class.

    Attributes
    ----------
    path : str
        The image's key in its source; of a table, what its first column of images says.
    predicted : str
    score : float or None
        Probability of the class, or the value of the decision function for it; None where the estimator has neither.
    """

    path: str
    predicted: str
    score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions(Record):
    """The classes of a source's images.

    Attributes
    ----------
    predictions : list of Prediction
    score : {"probability", "decision value", "score"}
        What the scores are.
    output : str or None
        The file that was written.
    """

    kind: ClassVar[str] = "predictions"

    predictions: list[Prediction]
    score: str
    output: str | None = None

    def table(self) -> list[dict[str, Any]]:
        """Return one row an image: path, predicted, and the score by its name."""
        return [{"path": one.path, "predicted": one.predicted, self.score: one.score} for one in self.predictions]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult(Record):
    """What the demonstration wrote and measured.

    Attributes
    ----------
    manifest, feature_file, store : str
        Paths.
    extraction : ExtractResult
    report : ProbeReport
    """

    kind: ClassVar[str] = "demo"

    manifest: str
    feature_file: str
    store: str
    extraction: ExtractResult
    report: ProbeReport

    def table(self) -> list[dict[str, Any]]:
        """Return the rows of the report."""
        return self.report.table()
