"""Which backbone, which layer, and does it transfer: scores and distances are shown; probes decide.

Layer: above evaluation and probes. No Pillow, no h5py.
"""

from embedkit.selection.agreement import Agreement, agreement_with, score_all
from embedkit.selection.distances import (
    coral_distance,
    debiased_cka,
    frechet_distance,
    mmd,
    of_halves,
    proxy_a_distance,
    shifted_shares,
)
from embedkit.selection.gaps import DomainTable, measure_domains, measure_gap
from embedkit.selection.halving import MOST_ROWS, Estimate, Halving, Standing, estimate_of, halve
from embedkit.selection.held_out import PROBES, Probe, held_out_rows
from embedkit.selection.label_gain import LabelGain, gain_of_labels
from embedkit.selection.label_scores import leep, n_leep, nce
from embedkit.selection.layer_geometry import effective_rank, separability, variance_shares
from embedkit.selection.leave_one_out import knn_accuracy, ridge_accuracy
from embedkit.selection.side_by_side import held_out_blocks
from embedkit.selection.transfer import default_adapters
from embedkit.selection.transferability import gbc, h_score, log_me, parc, shrinkage_h_score, transrate

__all__ = [
    "Agreement",
    "DomainTable",
    "Estimate",
    "Halving",
    "LabelGain",
    "MOST_ROWS",
    "PROBES",
    "Probe",
    "Standing",
    "agreement_with",
    "coral_distance",
    "debiased_cka",
    "default_adapters",
    "effective_rank",
    "estimate_of",
    "frechet_distance",
    "gain_of_labels",
    "gbc",
    "h_score",
    "halve",
    "held_out_blocks",
    "held_out_rows",
    "knn_accuracy",
    "leep",
    "log_me",
    "measure_domains",
    "measure_gap",
    "mmd",
    "n_leep",
    "nce",
    "of_halves",
    "parc",
    "proxy_a_distance",
    "ridge_accuracy",
    "score_all",
    "separability",
    "shifted_shares",
    "shrinkage_h_score",
    "transrate",
    "variance_shares",
]
