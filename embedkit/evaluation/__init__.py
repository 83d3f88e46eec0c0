"""From a fitted thing to a number that can be believed: splits, metrics, statistics, duplicates, comparisons.

Layer: above tables, estimators and results, below probes. Never imports timm or Pillow.
"""

from embedkit.evaluation.comparison import (
    Conditions,
    Entry,
    average_ranks,
    disagreements,
    disagreements_of,
    make_leaderboard,
)
from embedkit.evaluation.duplicates import DuplicatePair, Duplicates, Leaks, find_duplicates, leaks
from embedkit.evaluation.estimate import Estimate
from embedkit.evaluation.evaluating import ProbeRun, Protocol, evaluate
from embedkit.evaluation.feature_rows import FeatureRows, is_large
from embedkit.evaluation.judging import (
    estimated,
    further_metrics,
    interval_of,
    interval_of_scores,
    interval_over_draws,
    judge,
    per_image,
)
from embedkit.evaluation.labels import LabelType, PredictedLabels, TableLabels, encoded, labels_of
from embedkit.evaluation.metrics import (
    Metric,
    accuracy,
    mean_average_precision,
    mean_average_precision_11,
    mean_average_precision_11_as_published,
)
from embedkit.evaluation.nearest_images import NearestImages, labels_of_rows
from embedkit.evaluation.neighbours import nearest
from embedkit.evaluation.predictions import Float64, Predicted, Targets, joined, predicted_classes, spread
from embedkit.evaluation.rankings import roc_area
from embedkit.evaluation.splits import Labels, Rows, Split, final_split, is_test, make_splits
from embedkit.evaluation.statistics import (
    friedman_test,
    holm_correction,
    mcnemar_test,
    mean_interval,
    nemenyi_critical_difference,
    paired_permutation_test,
    rank_groups,
    share_interval,
)
from embedkit.evaluation.subjects import errors_naming
from embedkit.evaluation.task import NOTHING_SELECTED, Labelled, Outcome, Steps, Task, tasks_of, validation_rows

__all__ = [
    "share_interval",
    "Conditions",
    "DuplicatePair",
    "Duplicates",
    "Entry",
    "FeatureRows",
    "Float64",
    "LabelType",
    "Labelled",
    "Labels",
    "Leaks",
    "Metric",
    "NOTHING_SELECTED",
    "NearestImages",
    "Outcome",
    "Predicted",
    "PredictedLabels",
    "ProbeRun",
    "Protocol",
    "Rows",
    "Split",
    "Steps",
    "TableLabels",
    "Targets",
    "Task",
    "errors_naming",
    "accuracy",
    "average_ranks",
    "disagreements",
    "disagreements_of",
    "encoded",
    "evaluate",
    "final_split",
    "find_duplicates",
    "friedman_test",
    "estimated",
    "Estimate",
    "further_metrics",
    "interval_of",
    "interval_of_scores",
    "interval_over_draws",
    "holm_correction",
    "is_large",
    "is_test",
    "joined",
    "judge",
    "labels_of",
    "labels_of_rows",
    "leaks",
    "make_leaderboard",
    "make_splits",
    "mcnemar_test",
    "mean_average_precision",
    "mean_average_precision_11",
    "mean_average_precision_11_as_published",
    "mean_interval",
    "nearest",
    "nemenyi_critical_difference",
    "paired_permutation_test",
    "per_image",
    "predicted_classes",
    "rank_groups",
    "roc_area",
    "spread",
    "tasks_of",
    "validation_rows",
]
