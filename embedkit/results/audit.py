"""What `audit` found in a data set, what each kind of finding is worth, and how well the audit finds what was planted.

Layer: results; above record.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from embedkit.results.record import Record

FindingKind = Literal[
    "duplicate",
    "near-duplicate",
    "contradiction",
    "label",
    "outlier",
    "blank",
    "dark",
    "tiny",
    "aspect",
    "truncated",
    "shortcut",
    "weak-group",
    "imbalance",
]
KINDS: tuple[FindingKind, ...] = get_args(FindingKind)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to look at.

    Attributes
    ----------
    kind : str
        Of `KINDS`.
    key : str
        The image; of ``shortcut``, ``weak-group`` and ``imbalance`` the property, the group or the class.
    other_key : str
        The image that it is like, or an example; empty where there is none.
    score : float
        Larger is worse; what it counts depends on the kind, and `evidence` says it.
    evidence : str
    """

    kind: FindingKind
    key: str
    other_key: str
    score: float
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What an accuracy would be without some images.

    Attributes
    ----------
    without : str
        Which images, in words.
    removed, tested : int
    before, after : float
        Accuracy on the same tested images, or on those that are left where tested ones were taken out.
    p_value : float or None
        McNemar's, of the same tested images; None where they are not the same.
    """

    without: str
    removed: int
    tested: int
    before: float
    after: float
    p_value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfCheck:
    """How well planted faults are found.

    Attributes
    ----------
    planted, found : int
        Of them, how many the audit finds within the budget.
    precision : float
        The share of planted ones among all that it names; others may be true as well, and count as false here.
    recall : float
        found / planted.
    """

    planted: int
    found: int
    precision: float
    recall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditResult(Record):
    """Findings in a data set, worst first within a kind.

    Attributes
    ----------
    findings : list of Finding
        Kind after kind, in the order of `KINDS`.
    effects : list of Effect
    self_check : dict of str to SelfCheck
        By kind; empty where it was not asked for.
    model : str
        Whose features were used.
    images : int
    accuracy : float or None
        Of the probes, out of fold, by the labels as they are.
    """

    kind: ClassVar[str] = "audit"

    findings: list[Finding]
    effects: list[Effect] = field(default_factory=list[Effect])
    self_check: dict[str, SelfCheck] = field(default_factory=dict[str, SelfCheck])
    model: str
    images: int
    accuracy: float | None = None

    def counts(self) -> dict[str, int]:
        """Count findings by kind."""
        found: Counter[str] = Counter(one.kind for one in self.findings)
        return {kind: found[kind] for kind in KINDS if found[kind]}

    def table(self) -> list[dict[str, Any]]:
        """Return one row a finding."""
        return [
            {
                "kind": one.kind,
                "key": one.key,
                "other_key": one.other_key,
                "score": one.score,
                "evidence": one.evidence,
            }
            for one in self.findings
        ]
