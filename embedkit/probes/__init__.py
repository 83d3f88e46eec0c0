"""Probes: what is fitted, what is chosen, on which rows, by `quick` and by the published protocols; and curves.

Layer: above evaluation and the estimators, below workflows. Never imports timm or Pillow.
"""

from embedkit.probes.curves import CLASS_MEAN, few_shot_curve, learning_curve
from embedkit.probes.imported import import_estimator, is_path
from embedkit.probes.one_class import detect, normal_split, one_class_detector
from embedkit.probes.protocols import PROTOCOLS, check_protocol, run_protocol
from embedkit.probes.protocols.quick import ESTIMATORS, check_estimator, default_estimators, quick

__all__ = [
    "CLASS_MEAN",
    "ESTIMATORS",
    "PROTOCOLS",
    "check_estimator",
    "check_protocol",
    "default_estimators",
    "detect",
    "few_shot_curve",
    "import_estimator",
    "is_path",
    "learning_curve",
    "normal_split",
    "one_class_detector",
    "quick",
    "run_protocol",
]
