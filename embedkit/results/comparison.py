"""What `compare` leaves behind: leaderboards, the tests in pairs, and the results that both rest on.

Layer: results; above record and probe.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from embedkit.results.probe import Param, ProbeResult
from embedkit.results.record import Record
from embedkit.results.views import ImagePair


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A row of a leaderboard.

    Attributes
    ----------
    model : str
    floor : bool
    value : float or None
        The protocol's metric, mean over seeds; None where it is not defined.
    interval : (float, float) or None
        95 % interval over test images; of several seeds, for accuracy that of the mean score of each image, else with
        ends averaged over seeds.
    seed_interval : (float, float) or None
        95 % interval of the mean over seeds, these test images given; None for a single one, or where all are equal.
    rank : int or None
        Group of backbones that cannot be told apart, 1 for the best; None where nothing is ranked.
    tied : bool
        Whether others share the rank.
    n_train, n_test : int
    params : dict
        Chosen with the first seed.
    at_edge, converged : bool
        Whether any choice lay at an end of its grid; whether all fits reached their optimum.
    fit_seconds : float
        Wall clock of selection and fits, mean over seeds.
    parameters : int or None
        Of the network, classifier left out.
    images_per_second : float or None
        Of the network, where it was measured.
    feature_bytes : int
        Of one image, as stored.
    """

    model: str
    floor: bool
    value: float | None
    interval: tuple[float, float] | None
    seed_interval: tuple[float, float] | None
    rank: int | None
    tied: bool
    n_train: int
    n_test: int
    params: dict[str, Param]
    at_edge: bool
    converged: bool
    fit_seconds: float
    parameters: int | None
    images_per_second: float | None
    feature_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two backbones on the same images.

    Attributes
    ----------
    better, worse : str
        By the metric of the board.
    test : {"mcnemar", "permutation"}
    difference : float
        Mean per-image score of the first less that of the second.
    p_value, corrected : float
        Two-sided; corrected for all pairs of the board by Holm's method.
    differ : bool
        Whether `corrected` is at most 0.05.
    """

    better: str
    worse: str
    test: Literal["mcnemar", "permutation"]
    difference: float
    p_value: float
    corrected: float
    differ: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaderboard:
    """Backbones on one data set by one protocol, best first.

    Attributes
    ----------
    data, protocol, estimator, metric : str
    seeds : int
    selected_on, reported_on : str
    rows : list of Standing
    pairs : list of Pair
        Empty where nothing is ranked.
    not_ranked : list of str
        Why these numbers must not be ranked; empty where they are.
    notes : list of str
    """

    data: str
    protocol: str
    estimator: str
    metric: str
    seeds: int
    selected_on: str
    reported_on: str
    rows: list[Standing]
    pairs: list[Pair]
    not_ranked: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True, kw_only=True)
class AverageRanks:
    """The same backbones over several data sets by one protocol.

    Attributes
    ----------
    protocol, estimator : str
    data : list of str
    models : list of str
        Best first.
    average_ranks : list of float
        1 is best; ties share the mean of their ranks.
    statistic, p_value : float
        Of the Friedman test.
    critical_difference : float
        Of average ranks, by Nemenyi; it separates backbones only where the Friedman test is significant.
    groups : list of int
        As `Standing.rank`.
    """

    protocol: str
    estimator: str
    data: list[str]
    models: list[str]
    average_ranks: list[float]
    statistic: float
    p_value: float
    critical_difference: float
    groups: list[int]

    def __post_init__(self) -> None:
        if not len(self.models) == len(self.average_ranks) == len(self.groups):
            raise ValueError(f"{len(self.models)} models, {len(self.average_ranks)} ranks, {len(self.groups)} groups")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(Record):
    """Leaderboards, one for each data set and protocol, and what holds over all data sets.

    Attributes
    ----------
    leaderboards : list of Leaderboard
    average_ranks : list of AverageRanks
        One a protocol, from three data sets on.
    results : list of ProbeResult
        One for each row of a leaderboard and seed, with the outcome of each tested row.
    image_pairs : list of ImagePair
        The images that show one picture, where that was asked for.
    """

    kind: ClassVar[str] = "comparison"

    leaderboards: list[Leaderboard]
    average_ranks: list[AverageRanks]
    results: list[ProbeResult] = field(default_factory=list[ProbeResult])
    image_pairs: list[ImagePair] = field(default_factory=list[ImagePair], metadata={"rows": True})

    @property
    def ranked(self) -> bool:
        """Whether every leaderboard could be ranked."""
        return not any(board.not_ranked for board in self.leaderboards)

    def table(self) -> list[dict[str, Any]]:
        """Return one row for each backbone on each leaderboard."""
        return [
            {"data": board.data, "protocol": board.protocol, "metric": board.metric, **dataclasses.asdict(row)}
            for board in self.leaderboards
            for row in board.rows
        ]
