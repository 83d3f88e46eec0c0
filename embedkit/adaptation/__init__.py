"""Beyond frozen features: tuning the last blocks of a network on cached maps, and whether that pays.

Layer: adaptation; above the embedder and evaluation, below workflows. Imports torch and timm only when something is
tuned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embedkit.adaptation.fusion import WAYS, Way, fusion_protocol
from embedkit.adaptation.ladder import Climbed, Ladder, climb_ladder, write_weights
from embedkit.adaptation.lessons import DistillSettings, Lesson, normalised, one_hot
from embedkit.adaptation.memory import Peak
from embedkit.adaptation.settings import RUNGS, Rung, TuningSettings

if TYPE_CHECKING:
    from embedkit.adaptation.classifier import FineTunedClassifier
    from embedkit.adaptation.rungs import Problem, Tuned
    from embedkit.adaptation.student import Student, build_student, write_student
    from embedkit.adaptation.teaching import Taught, teach
else:

    def __getattr__(name: str) -> Any:
        if name == "FineTunedClassifier":
            from embedkit.adaptation import classifier

            return classifier.FineTunedClassifier
        if name in ("Problem", "Tuned"):
            from embedkit.adaptation import rungs

            return getattr(rungs, name)
        if name in ("Student", "build_student", "write_student"):
            from embedkit.adaptation import student

            return getattr(student, name)
        if name in ("Taught", "teach"):
            from embedkit.adaptation import teaching

            return getattr(teaching, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "RUNGS",
    "WAYS",
    "Climbed",
    "DistillSettings",
    "FineTunedClassifier",
    "Ladder",
    "Lesson",
    "Peak",
    "Problem",
    "Rung",
    "Student",
    "Taught",
    "TuningSettings",
    "Tuned",
    "Way",
    "build_student",
    "climb_ladder",
    "fusion_protocol",
    "normalised",
    "one_hot",
    "teach",
    "write_student",
    "write_weights",
]
