"""What `gap` leaves behind: how far two domains lie apart, and what a probe of one is worth in the other.

Layer: results; above record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from embedkit.results.record import Record

_LEVEL = 0.05

_WORTH_A_WORD = 0.02
"""Loss of accuracy."""

_LESS_SURE = 0.05
"""Loss of probability. A test over tested rows does not see what other training rows would do: a point or two."""

Verdict = Literal["transfers", "some-classes", "negative", "other-backbone", "adapt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """The accuracy of one method on the tested rows of a target.

    Attributes
    ----------
    method : str
        ``"source-only"``, ``"target-only"``, ``"joint"``, ``"feature-copying"``, an adapter, ``"guessing"``, or a
        floor; a floor followed by ``", target-only"`` was fitted in the target.
    value : float
    interval : (float, float)
        95 %.
    against : str
        The method that it is held against; empty for none.
    difference : float or None
        `value` less that of `against`.
    p_value : float or None
        McNemar's exact test of the two on the same rows; of several adapters or floors corrected (Holm).
    certainty : float or None
        Of source-only and target-only: mean probability that is given to what a row is, both fitted on as many rows as
        the smaller domain has.
    certainty_difference, certainty_p : float or None
        Of source-only: mean of these probabilities less that of target-only, and the paired permutation test of them.
    """

    method: str
    value: float
    interval: tuple[float, float]
    against: str = ""
    difference: float | None = None
    p_value: float | None = None
    certainty: float | None = None
    certainty_difference: float | None = None
    certainty_p: float | None = None

    @property
    def differs(self) -> bool:
        """Whether McNemar's test tells it from what it is held against."""
        return self.p_value is not None and self.p_value < _LEVEL

    @property
    def is_less_sure(self) -> bool:
        """Whether what rows are is given clearly less probability, by a test and by five points."""
        less = (self.certainty_difference or 0.0) <= -_LESS_SURE
        return less and self.certainty_p is not None and self.certainty_p < _LEVEL

    @property
    def is_below(self) -> bool:
        """Whether it is below what it is held against: by McNemar's test, or by how sure the two are of what rows are.

        McNemar's test looks at rows that just one of the two names right, and of few rows these are few: it misses a
        third of the losses of 8 points that `benchmarks/gap_planted.py` plants in 147 rows. Every row says something by
        the probability that is given to what it is. That counts where accuracy loses two points at least: to be less
        sure and right all the same is no loss.
        """
        lost = -(self.difference or 0.0)
        return lost > 0 and (self.differs or (lost >= _WORTH_A_WORD and self.is_less_sure))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassGap:
    """One class in both domains.

    Attributes
    ----------
    name : str
    source_rows, target_rows : int
        With this label.
    distance : float or None
        Squared distance of the class's means by its variance, without bias: about 0 is no gap, 1 as far as the class is
        wide. None for fewer than two rows in a domain.
    tested : int
    source_only, target_only : float or None
        Share of its tested rows that are named right; None where none is tested.
    p_value : float or None
        Of these two, McNemar's, corrected over classes (Holm).
    named : str
        What source-only names those tested rows most often that it names wrong; empty where there are none.
    source_share, estimated_share, target_share : float
        Its share of the source, of the target as estimated without labels (BBSE), and of the target by its labels.
    """

    name: str
    source_rows: int
    target_rows: int
    distance: float | None
    tested: int
    source_only: float | None
    target_only: float | None
    p_value: float | None
    named: str
    source_share: float
    estimated_share: float
    target_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap(Record):
    """How far a source and a target lie apart, and whether what is learnt in one holds in the other.

    Attributes
    ----------
    source, target : str
    model : str
        Whose features were used.
    source_rows, target_rows : int
    classes : list of ClassGap
        That both have.
    distances : dict of str to float
        ``proxy-a``, ``mmd``, ``frechet``, ``coral``, ``label-shift`` (total variation of the estimated shares), and,
        of at least four classes, ``cka`` (of class means; 1 is alike).
    null : dict of str to float
        What the first four are where rows are shuffled between source and target.
    p_values : dict of str to float
        Of ``proxy-a`` and ``mmd``, by permutation.
    reached : list of Reached
    verdict : {"transfers", "some-classes", "negative", "other-backbone", "adapt"}
    evidence : str
        The verdict as a sentence, with its numbers.
    """

    kind: ClassVar[str] = "gap"

    source: str
    target: str
    model: str
    source_rows: int
    target_rows: int
    classes: list[ClassGap]
    distances: dict[str, float]
    null: dict[str, float]
    p_values: dict[str, float]
    reached: list[Reached]
    verdict: Verdict
    evidence: str

    def table(self) -> list[dict[str, Any]]:
        """Return one row a method."""
        return [
            {
                "method": one.method,
                "accuracy": one.value,
                "interval": one.interval,
                "against": one.against,
                "difference": one.difference,
                "p_value": one.p_value,
            }
            for one in self.reached
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """One domain named by probes of all others.

    Attributes
    ----------
    domain : str
    tested : int
    reached : list of Reached
    """

    domain: str
    tested: int
    reached: list[Reached]


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainGaps(Record):
    """Each domain of a table as a source for each other, and each left out in turn.

    Attributes
    ----------
    model : str
    domains : dict of str to int
        Rows of each.
    pairs : list of Gap
        Source by source.
    held_out : list of HeldOut
    pooled : list of Reached
        The same with the tested rows of all held-out domains together; adapters are recommended by these.
    recommended : str or None
        The adapter that improves on source-only by the corrected test; None where none does.
    evidence : str
    """

    kind: ClassVar[str] = "domain-gaps"

    model: str
    domains: dict[str, int]
    pairs: list[Gap]
    held_out: list[HeldOut]
    pooled: list[Reached] = field(default_factory=list[Reached])
    recommended: str | None
    evidence: str

    def table(self) -> list[dict[str, Any]]:
        """Return one row a pair of domains: the accuracy of each method, and the verdict."""
        methods = list(dict.fromkeys(one.method for pair in self.pairs for one in pair.reached))
        values = [{one.method: one.value for one in pair.reached} for pair in self.pairs]
        return [
            {
                "source": pair.source,
                "target": pair.target,
                **{method: value.get(method) for method in methods},
                "proxy_a": pair.distances.get("proxy-a"),
                "verdict": pair.verdict,
            }
            for pair, value in zip(self.pairs, values, strict=True)
        ]
