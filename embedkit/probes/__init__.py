"""Probes: from a table of features to numbers that can be believed.

Layer: above the store's tables and the estimators, below workflows. Never imports timm or Pillow.
"""

from embedkit.probes.protocols import PROTOCOLS, ProbeRun, check_protocol, run_protocol
from embedkit.probes.quick import ESTIMATORS, Quick, check_estimator, default_estimators, quick

__all__ = [
    "ESTIMATORS",
    "PROTOCOLS",
    "ProbeRun",
    "Quick",
    "check_estimator",
    "check_protocol",
    "default_estimators",
    "quick",
    "run_protocol",
]
