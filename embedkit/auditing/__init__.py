"""Findings in the data: copies, doubtful labels, odd images, shortcuts, weak groups; and what each is worth.

Layer: above evaluation and the estimators, below workflows. Never imports click, never prints.
"""

from embedkit.auditing.appearance import unreadable
from embedkit.auditing.copies import listed_pairs
from embedkit.auditing.examination import Examination
from embedkit.auditing.labels import RANKINGS, OutOfFold, Ranking, out_of_fold, reduced
from embedkit.auditing.planting import COPIES, check_copies, check_labels, planted_labels

__all__ = [
    "COPIES",
    "Examination",
    "OutOfFold",
    "RANKINGS",
    "Ranking",
    "check_copies",
    "check_labels",
    "listed_pairs",
    "out_of_fold",
    "planted_labels",
    "reduced",
    "unreadable",
]
