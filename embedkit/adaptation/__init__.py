"""Beyond frozen features: tuning the last blocks of a network on cached maps, and whether that pays.

Layer: adaptation; above the embedder and evaluation, below workflows. Imports torch and timm only when something is
tuned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embedkit.adaptation.fusion import WAYS, Way, fusion_protocol
from embedkit.adaptation.ladder import Climbed, Ladder, check_tunable, climb_ladder, write_weights
from embedkit.adaptation.lessons import DistillSettings, Lesson, normalised, one_hot
from embedkit.adaptation.memory import Peak
from embedkit.adaptation.settings import RUNGS, Rung, TuningSettings
from embedkit.adaptation.unlabelled import USES, Use, unlabelled_protocol
from embedkit.adaptation.view_training import VIEW_WAYS, ViewWay, view_protocol

if TYPE_CHECKING:
    from embedkit.adaptation.classifier import FineTunedClassifier
    from embedkit.adaptation.coarsening import coarsened
    from embedkit.adaptation.judging import Trial
    from embedkit.adaptation.rungs import Problem, Tuned, recommended
    from embedkit.adaptation.student import Student, build_student, write_student
    from embedkit.adaptation.teaching import Taught, teach
else:

    def __getattr__(name: str) -> Any:
        if name == "FineTunedClassifier":
            from embedkit.adaptation import classifier

            return classifier.FineTunedClassifier
        if name == "coarsened":
            from embedkit.adaptation import coarsening

            return coarsening.coarsened
        if name == "Trial":
            from embedkit.adaptation import judging

            return judging.Trial
        if name in ("Problem", "Tuned", "recommended"):
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
    "USES",
    "VIEW_WAYS",
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
    "Trial",
    "Tuned",
    "TuningSettings",
    "Use",
    "ViewWay",
    "Way",
    "build_student",
    "check_tunable",
    "climb_ladder",
    "coarsened",
    "fusion_protocol",
    "normalised",
    "one_hot",
    "recommended",
    "teach",
    "unlabelled_protocol",
    "view_protocol",
    "write_student",
    "write_weights",
]
