"""Which backbone and which layer: scores that are cheap. Scores are shown; probes decide.

Layer: above evaluation and probes. No Pillow, no h5py.
"""

from embedkit.selection.label_scores import leep, n_leep, nce
from embedkit.selection.leave_one_out import knn_accuracy, ridge_accuracy
from embedkit.selection.transferability import gbc, h_score, log_me, parc, shrinkage_h_score, transrate

__all__ = [
    "gbc",
    "h_score",
    "knn_accuracy",
    "leep",
    "log_me",
    "n_leep",
    "nce",
    "parc",
    "ridge_accuracy",
    "shrinkage_h_score",
    "transrate",
]
