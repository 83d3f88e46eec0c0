"""What `probe` leaves behind: numbers with everything needed to believe them, and the outcome of each row.

Layer: results; above record and rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from embedkit.results.plain import to_plain
from embedkit.results.record import Record
from embedkit.results.rows import Rows
from embedkit.results.views import EmbeddingMap, ImagePair, NearestTrained

Param = float | int | str | bool | list[Any] | None
"""The value of a hyper-parameter; what is nothing of this kind stands as its repr."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Values of hyper-parameters that were chosen from, and how they did on the rows that choose.

    Attributes
    ----------
    params : dict
    score : float
        Larger is better: accuracy of classes, R2 of values, average precision of several labels.
    """

    params: dict[str, Param]
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """One number with everything needed to believe it.

    Attributes
    ----------
    model, protocol, estimator, metric : str
    value : float
        A fraction, 0 to 1; R2 may be below 0.
    interval : (float, float) or None
        95 % interval of `value` over test images; for few-shot protocols over these and the draws of the training
        images together. None where the test images of a class are too few for one (docs/protocols.md).
    n_train, n_test, n_classes : int
        Rows the reported estimator was fitted on, rows it was judged on, classes in the training rows.
    params : dict
        The hyper-parameters that were chosen.
    at_edge : bool
        A chosen value lies at an end of its grid: a wider grid might do better.
    converged : bool
        Every fit that was chosen from, and the reported one, reached its optimum.
    selected_on, reported_on : str
        Which rows chose the hyper-parameters, and which gave `value`.
    floor : bool
        The features are a floor (raw pixels, colour histogram), not a backbone's.
    notes : list of str
        What a reader should know before quoting the number.
    fit_seconds : float
        Wall clock of selection and fitting.
    metrics : dict
        Further metrics by name, as far as the predictions allow (docs/protocols.md): ``{"value": float, "interval":
        (float, float)}``, None where they are not defined.
    leaks : dict
        What tested images share with training images: counts of ``copies``, ``near_duplicates`` (among ``compared``)
        and ``shared_groups``, of ``tested`` images. Empty where it was not looked for.
    as_published : bool
        Solved by the solver and the stop rule of the protocol's original, not to the optimum.
    data : str
        The data set.
    fingerprint : str
        Of the features.
    seed : int
    candidates : list of Candidate
        What the hyper-parameters were chosen from, first fold; empty where nothing was chosen.
    rows : Rows or None
        The outcome of each tested row; None where they were not kept.
    """

    model: str
    protocol: str
    estimator: str
    metric: str
    value: float
    interval: tuple[float, float] | None
    n_train: int
    n_test: int
    n_classes: int
    params: dict[str, Param]
    at_edge: bool
    converged: bool
    selected_on: str
    reported_on: str
    floor: bool = False
    notes: list[str] = field(default_factory=list[str])
    fit_seconds: float = 0.0
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    as_published: bool = False
    leaks: dict[str, int] = field(default_factory=dict[str, int])
    data: str = ""
    fingerprint: str = ""
    seed: int = 0
    candidates: list[Candidate] = field(default_factory=list[Candidate])
    rows: Rows | None = field(default=None, metadata={"rows": True})

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, without the rows."""
        return to_plain(self, rows=False)

    def summary(self) -> dict[str, Any]:
        """Return what a table shows of it."""
        names = ("data", "model", "protocol", "estimator", "metric", "value", "interval", "params", "n_train", "n_test")
        return {name: getattr(self, name) for name in (*names, "converged", "floor")}


def recommended_of(results: Sequence[ProbeResult]) -> int | None:
    """Choose one of several results of ``quick`` by the rows that chose their hyper-parameters, never by tested ones.

    The best of several by the tested rows flatters, since it was chosen by the rows that it is reported on; the tested
    number of this one does not.

    Parameters
    ----------
    results : sequence of ProbeResult

    Returns
    -------
    int or None
        The place of the result that is no floor and whose best candidate scored highest, the first of equals. The only
        result that is no floor, if there is one. None where several are there and none has candidates.
    """
    places = [place for place, one in enumerate(results) if one.protocol == "quick" and not one.floor]
    if len(places) == 1:
        return places[0]
    scores = {
        place: max(one.score for one in results[place].candidates) for place in places if results[place].candidates
    }
    return max(scores, key=lambda place: scores[place]) if scores else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport(Record):
    """Results, best first, and what a reader should know before quoting them.

    Attributes
    ----------
    results : list of ProbeResult
    recommended : int or None
        The place in `results` of what to fit: chosen by `recommended_of`, not by the tested rows. None where nothing
        was chosen on rows of its own.
    maps : list of EmbeddingMap
        Of the models' features, where a page was asked for.
    nearest : list of NearestTrained
        Of tested images that were named wrong, where a page was asked for.
    image_pairs : list of ImagePair
        The images that show one picture, where that was asked for.
    """

    kind: ClassVar[str] = "probe"

    results: list[ProbeResult]
    recommended: int | None = None
    maps: list[EmbeddingMap] = field(default_factory=list[EmbeddingMap], metadata={"rows": True})
    nearest: list[NearestTrained] = field(default_factory=list[NearestTrained], metadata={"rows": True})
    image_pairs: list[ImagePair] = field(default_factory=list[ImagePair], metadata={"rows": True})

    def __post_init__(self) -> None:
        if not self.results:
            raise ValueError("a report of no result")
        if self.recommended is not None and not 0 <= self.recommended < len(self.results):
            raise ValueError(f"result {self.recommended} is recommended, and there are {len(self.results)}")

    def table(self) -> list[dict[str, Any]]:
        """Return one row a result."""
        return [result.summary() for result in self.results]
