"""What `select` and `layers` leave behind: what was tried, how far it got, what was chosen and what that took.

Layer: results; above record and probe.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from embedkit.results.probe import ProbeResult
from embedkit.results.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundEstimate:
    """What a round says of a candidate.

    Attributes
    ----------
    rows : int
        Images that it was judged on, each by fits that have not seen it.
    value : float
        Accuracy, a fraction.
    interval : (float, float)
        95 %, over these images.
    """

    rows: int
    value: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionCandidate:
    """A backbone with a layer and a pool.

    Attributes
    ----------
    name : str
    model, weights : str
    layer : int or None
        None is the model's own output.
    pool : str
    rows : int
        Images of the last round that it took part in.
    forward_passes : int
        That this run computed for its network; candidates of one network share them.
    seconds : float
        Of these passes, and of its own probes.
    value : float
        Accuracy in its last round.
    interval : (float, float)
    dropped : int or None
        The round that dropped it, from 1; None for those left at the end.
    reason : str
    rounds : list of RoundEstimate
    """

    name: str
    model: str
    weights: str
    layer: int | None
    pool: str
    rows: int
    forward_passes: int
    seconds: float
    value: float
    interval: tuple[float, float]
    dropped: int | None
    reason: str
    rounds: list[RoundEstimate]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreVerdict:
    """How well a score would have ranked the candidates.

    Attributes
    ----------
    tau : float or None
        Weighted Kendall's tau with the probes' ranking, -1 to 1; None where it is not defined.
    regret : float
        Points of accuracy that the candidate with the highest score is behind the best, as a fraction.
    top3 : bool
        Whether the best is among the three with the highest scores.
    values : dict of str to float
        The score of each candidate that has one.
    seconds : float
        To compute it for all of them.
    """

    tau: float | None
    regret: float
    top3: bool
    values: dict[str, float]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What to do next, or what is not worth doing, and the number that says so.

    Attributes
    ----------
    advice : str
    because : str
    command : str
        Empty where nothing is to be run.
    about : str
        ``"model"``, ``"layer"``, ``"choosing"``, ``"fusion"``, ``"labels"``, ``"domain"``, ``"tuning"``, ``"data"`` or
        ``"classes"``.
    gain : float or None
        What it has brought, or is expected to bring, in accuracy, a fraction; None where that was not measured.
    p_value : float or None
        Of the paired test behind it.
    """

    advice: str
    because: str
    command: str = ""
    about: str = ""
    gain: float | None = None
    p_value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection(Record):
    """Which backbone, which layer, and what finding it took.

    Attributes
    ----------
    candidates : list of SelectionCandidate
        Best first: those left, then those dropped last.
    chosen : str
        The name of one of them.
    tied : list of str
        Candidates of other networks that no test has dropped.
    expected_regret : float
        What choosing this network instead of another is expected to cost, a fraction of accuracy, as far as the images
        that chose tell.
    stopped : str
        Why there was no further round.
    tolerance : float
    probe : str
        What judged the candidates: ``"ridge"``, ``"knn"`` or ``"logistic"``.
    images : int
        Of the target.
    cost_share : float
        Images looked at, over those of all networks run in full; what was in the store before is not taken off.
    scores : dict of str to ScoreVerdict
        Judged on the images that all candidates have seen.
    scored_on : int
        How many these are.
    result : ProbeResult
        Of the chosen one, on the tested images, which chose nothing.
    command : str
        Goes on with the chosen one.
    advice : list of Advice
    """

    kind: ClassVar[str] = "select"

    candidates: list[SelectionCandidate]
    chosen: str
    tied: list[str] = field(default_factory=list[str])
    expected_regret: float
    stopped: str
    tolerance: float
    probe: str = "ridge"
    images: int
    cost_share: float
    scores: dict[str, ScoreVerdict]
    scored_on: int
    result: ProbeResult
    command: str
    advice: list[Advice] = field(default_factory=list[Advice])

    def table(self) -> list[dict[str, Any]]:
        """Return one row a candidate."""
        names = ("name", "value", "interval", "rows", "forward_passes", "seconds", "dropped", "reason")
        return [{name: getattr(one, name) for name in names} for one in self.candidates]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerOutput:
    """One layer with one pool.

    Attributes
    ----------
    name : str
    layer : int or None
        None is the model's own output.
    pool : str
    width : int
    value : float
        Accuracy on training images, each by fits that have not seen it.
    interval : (float, float)
        95 %, over these images.
    effective_rank : float
        exp of the entropy of the spectrum of the covariance: how many directions the features use.
    spectrum : list of float
        Shares of the variance of the first principal components, the largest first.
    separability : float
        Spread between classes over all spread, in the directions of linear discriminant analysis, shrunk: 0 to 1.
    p_value : float or None
        That it differs from the model's own output, corrected for all layers; None for that output itself.
    """

    name: str
    layer: int | None
    pool: str
    width: int
    value: float
    interval: tuple[float, float]
    effective_rank: float
    spectrum: list[float]
    separability: float
    p_value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Concatenation:
    """Layers side by side, each normalised and with a penalty of its own.

    Attributes
    ----------
    names : list of str
    value : float
    interval : (float, float)
    gain : float
        Over the recommended one alone, a fraction.
    p_value : float
    """

    names: list[str]
    value: float
    interval: tuple[float, float]
    gain: float
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersResult(Record):
    """The layers of one backbone on one data set.

    Attributes
    ----------
    model : str
    layers : list of LayerOutput
        From the first layer to the model's own output.
    recommended : str
        The name of one of them: the model's own output, unless a test says that another is better.
    reason : str
    cka : list of list of float
        Debiased linear CKA of each with each, at most 1; about 0 for what has nothing in common.
    concatenated : Concatenation or None
    judged_on : str
        Which images.
    command : str
        Goes on with the recommended one.
    """

    kind: ClassVar[str] = "layers"

    model: str
    layers: list[LayerOutput]
    recommended: str
    reason: str
    cka: list[list[float]]
    concatenated: Concatenation | None = None
    judged_on: str
    command: str

    def __post_init__(self) -> None:
        if [len(row) for row in self.cka] != [len(self.layers)] * len(self.layers):
            raise ValueError(f"{len(self.layers)} layers have {len(self.cka)} rows of CKA")

    def table(self) -> list[dict[str, Any]]:
        """Return one row a layer."""
        names = ("name", "layer", "pool", "width", "value", "interval", "effective_rank", "separability", "p_value")
        return [{name: getattr(one, name) for name in names} for one in self.layers]
