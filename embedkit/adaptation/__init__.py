"""Beyond frozen features: tuning the last blocks of a network on cached maps, and whether that pays.

Layer: adaptation; above the embedder and evaluation, below workflows. Imports torch and timm only when something is
tuned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embedkit.adaptation.fusion import WAYS, Way, fusion_protocol
from embedkit.adaptation.ladder import Climbed, Ladder, climb_ladder, write_weights
from embedkit.adaptation.settings import RUNGS, Rung, TuningSettings
from embedkit.adaptation.unlabelled import USES, Use, unlabelled_protocol

if TYPE_CHECKING:
    from embedkit.adaptation.classifier import FineTunedClassifier
    from embedkit.adaptation.rungs import Problem, Tuned
else:

    def __getattr__(name: str) -> Any:
        if name == "FineTunedClassifier":
            from embedkit.adaptation import classifier

            return classifier.FineTunedClassifier
        if name in ("Problem", "Tuned"):
            from embedkit.adaptation import rungs

            return getattr(rungs, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "RUNGS",
    "USES",
    "WAYS",
    "Climbed",
    "FineTunedClassifier",
    "Ladder",
    "Problem",
    "Rung",
    "TuningSettings",
    "Tuned",
    "Use",
    "Way",
    "climb_ladder",
    "fusion_protocol",
    "unlabelled_protocol",
    "write_weights",
]
