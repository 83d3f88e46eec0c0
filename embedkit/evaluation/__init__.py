"""From a fitted thing to a number that can be believed: splits, metrics, statistics, duplicates.

Layer: above tables and estimators, below probes. Never imports timm or Pillow.
"""

from embedkit.evaluation.duplicates import Leaks, leaks
from embedkit.evaluation.feature_rows import FeatureRows, is_large
from embedkit.evaluation.judging import further_metrics, judge, per_image
from embedkit.evaluation.metrics import Metric, accuracy, mean_average_precision, mean_average_precision_11
from embedkit.evaluation.neighbours import nearest
from embedkit.evaluation.predictions import Float64, Predicted, Targets, joined, predicted_classes, spread
from embedkit.evaluation.splits import Labels, Rows, Split, final_split, make_splits
from embedkit.evaluation.statistics import (
    friedman_test,
    holm_correction,
    mcnemar_test,
    mean_interval,
    nemenyi_critical_difference,
    paired_permutation_test,
    rank_groups,
)
from embedkit.evaluation.task import Kind, Predictions, TargetType, Task, encoded, task_of

__all__ = [
    "FeatureRows",
    "Float64",
    "Kind",
    "Labels",
    "Leaks",
    "Metric",
    "Predicted",
    "Predictions",
    "Rows",
    "Split",
    "TargetType",
    "Targets",
    "Task",
    "accuracy",
    "encoded",
    "final_split",
    "friedman_test",
    "further_metrics",
    "holm_correction",
    "is_large",
    "joined",
    "judge",
    "leaks",
    "make_splits",
    "mcnemar_test",
    "mean_average_precision",
    "mean_average_precision_11",
    "mean_interval",
    "nearest",
    "nemenyi_critical_difference",
    "paired_permutation_test",
    "per_image",
    "predicted_classes",
    "rank_groups",
    "spread",
    "task_of",
]
