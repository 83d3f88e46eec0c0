"""What extractions leave behind.

Layer: workflows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from embedkit.extraction import Stages
from embedkit.tables import Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractResult:
    """What an extraction did.

    Each image is a forward pass, a cache hit, a copy or a failure, and only one of these.

    Attributes
    ----------
    images : int
        Rows and failures together.
    forward_passes : int
        Distinct images that went through the network in this run and became features.
    cache_hits : int
        Rows that the store held before the run, or by the time that another run had computed them.
    copies : int
        Rows with the same bytes as another image of this run.
    failures : list of Failure
        Images without features, with their reasons.
    fingerprint : str
        Of the features.
    store : str
        The folder of the store.
    output : str or None
        The feature file, where one was asked for.
    model, engine, precision, choice : str
        What computed the features, and why that.
    drift : float or None
        Worst centred cosine to fp32 torch; None where fp32 torch computed.
    notes : list of str
    width : int
        Number of features of one image.
    seconds : float
        Wall clock, the writing of the feature file included.
    stages : Stages or None
        Where the time went and what held the run up; None where this process computed nothing.
    """

    images: int
    forward_passes: int
    cache_hits: int
    failures: list[Failure]
    fingerprint: str
    store: str
    output: str | None
    model: str
    engine: str
    precision: str
    choice: str
    drift: float | None
    width: int
    seconds: float
    stages: Stages | None = None
    copies: int = 0
    notes: list[str] = field(default_factory=list[str])

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; ``failed`` counts the failures and ``failures`` lists them."""
        record = {name: getattr(self, name) for name in self.__dataclass_fields__}
        record["stages"] = None if self.stages is None else self.stages.to_dict()
        record["failed"] = len(self.failures)
        record["failures"] = [{"key": failure.key, "reason": failure.reason} for failure in self.failures]
        record["images_per_second"] = self.images / self.seconds if self.seconds > 0 else None
        return record


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanResult:
    """What a plan asks for.

    Attributes
    ----------
    plan : str
        The file.
    images : int
    bytes : int
        Of the images whose size is known.
    units : int
        Into how many units the plan proposes to divide them.
    fingerprint, store, model, engine, precision, choice : str
        As in `ExtractResult`.
    drift : float or None
    width : int
    """

    plan: str
    images: int
    bytes: int
    units: int
    fingerprint: str
    store: str
    model: str
    engine: str
    precision: str
    choice: str
    drift: float | None
    width: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}
