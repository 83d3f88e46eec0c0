"""Which backbone and which layer: scores that are cheap. Scores are shown; probes decide.

Layer: above evaluation and probes. No Pillow, no h5py.
"""

from embedkit.selection.agreement import Agreement, agreement_with, score_all
from embedkit.selection.halving import MOST_ROWS, Estimate, Halving, Standing, estimate_of, halve
from embedkit.selection.held_out import held_out_rows
from embedkit.selection.label_scores import leep, n_leep, nce
from embedkit.selection.leave_one_out import knn_accuracy, ridge_accuracy
from embedkit.selection.transferability import gbc, h_score, log_me, parc, shrinkage_h_score, transrate

__all__ = [
    "Agreement",
    "Estimate",
    "Halving",
    "MOST_ROWS",
    "Standing",
    "agreement_with",
    "estimate_of",
    "gbc",
    "h_score",
    "halve",
    "held_out_rows",
    "knn_accuracy",
    "leep",
    "log_me",
    "n_leep",
    "nce",
    "parc",
    "ridge_accuracy",
    "score_all",
    "shrinkage_h_score",
    "transrate",
]
