"""What `fit`, `predict` and `demo` leave behind.

Layer: results; above probe and extraction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from embedkit.results.curve import CurveReport
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
class Guess:
    """A class that an image may be of, and its score."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says of one image.

    Attributes
    ----------
    path : str
        The image's key in its source; of a table, what its first column of images says.
    predicted : str, float, or list of str
        The class; the value; or the names of several labels.
    score : float or None
        Probability of the class, or the value of the decision function for it; None where the estimator has neither.
    kind : {"probability", "decision value"} or None
        What the score is.
    top : list of Guess
        The likeliest classes, best first, as many as were asked for.
    unknown : bool or None
        Whether the image is unlike everything that the model was fitted on; None where the model cannot tell.
    set : list of str or None
        The classes that it may be of, where sets were asked for.
    """

    path: str
    predicted: str | float | list[str]
    score: float | None = None
    kind: str | None = None
    top: list[Guess] = field(default_factory=list[Guess])
    unknown: bool | None = None
    set: list[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Images by true class (row) and predicted class (column).

    Attributes
    ----------
    classes : list of str
        Sorted: those of the labels and those that were predicted.
    counts : list of list of int
    """

    classes: list[str]
    counts: list[list[int]]

    def __post_init__(self) -> None:
        if [len(row) for row in self.counts] != [len(self.classes)] * len(self.classes):
            raise ValueError(f"{len(self.classes)} classes have a confusion matrix of {len(self.counts)} rows")


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions(Record):
    """What a model says of a source's images, and how often it is right where these have labels.

    Attributes
    ----------
    predictions : list of Prediction
    score : {"probability", "decision value", "score"}
        What the scores are; "score" where there are none.
    accuracy : float or None
        The share of labelled images that are named right, of several labels an image that have just theirs; None where
        the source has no classes.
    interval : (float, float) or None
        Wilson's 95 % interval of `accuracy`.
    confusion : Confusion or None
    coverage : float or None
        How often sets are to hold the right class, where they were asked for.
    covered : float or None
        How often they do, of labelled images.
    covered_interval : (float, float) or None
        Wilson's 95 % interval of `covered`.
    unknown_error : float or None
        The share of known images that may be marked as unknown, where the model marks.
    output : str or None
        The file that was written.
    """

    kind: ClassVar[str] = "predictions"

    predictions: list[Prediction]
    score: str
    accuracy: float | None = None
    interval: tuple[float, float] | None = None
    confusion: Confusion | None = None
    coverage: float | None = None
    covered: float | None = None
    covered_interval: tuple[float, float] | None = None
    unknown_error: float | None = None
    output: str | None = None

    def table(self) -> list[dict[str, Any]]:
        """Return one row an image: path, predicted, the score by its name, what may be, and the likeliest classes."""
        scored = any(one.score is not None for one in self.predictions)
        guessed = any(one.top for one in self.predictions)
        marked = any(one.unknown is not None for one in self.predictions)
        among = any(one.set is not None for one in self.predictions)
        return [
            {
                "path": one.path,
                "predicted": ", ".join(one.predicted) if isinstance(one.predicted, list) else one.predicted,
                **({self.score: one.score} if scored else {}),
                **({"unknown": "unknown" if one.unknown else ""} if marked else {}),
                **({"set": ", ".join(one.set or [])} if among else {}),
                **({"top": ", ".join(f"{guess.label} {guess.score:.4f}" for guess in one.top)} if guessed else {}),
            }
            for one in self.predictions
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult(Record):
    """What the demonstration wrote and measured.

    Attributes
    ----------
    manifest, feature_file, store, patterns, page : str
        Paths: of the digits' manifest and features, the store, the patterns' manifest, the HTML page.
    extraction : ExtractResult
        Of the digits.
    report : ProbeReport
        Of the digits.
    labels : CurveReport or None
        How accuracy grows with labels on the patterns.
    """

    kind: ClassVar[str] = "demo"

    manifest: str
    feature_file: str
    store: str
    extraction: ExtractResult
    report: ProbeReport
    patterns: str = ""
    page: str = ""
    labels: CurveReport | None = None

    def table(self) -> list[dict[str, Any]]:
        """Return the rows of the report."""
        return self.report.table()
