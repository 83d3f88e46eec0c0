"""What is a share, how a metric is called and rounded, what an interval looks like: the one place that says so.

Layer: render; standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping

_RAW = frozenset({"r2", "pearson", "log_loss", "kappa"})
"""Metrics that are no share of anything."""

_TITLES = {
    "r2": "R2",
    "pearson": "Pearson's r",
    "average_precision": "average precision",
    "map_11_point": "mAP (11-point)",
    "map_area": "mAP",
    "mean_per_class_accuracy": "mean per-class accuracy",
}


def is_share(metric: str) -> bool:
    """Whether a metric is shown in per cent."""
    return metric.split(" (")[0] not in _RAW


def metric_title(metric: str) -> str:
    """Call a metric as readers do."""
    return _TITLES.get(metric, metric)


def percent(value: float) -> str:
    """Write a fraction as per cent with one decimal."""
    return f"{100 * value:.1f} %"


def number_text(metric: str, value: float | None) -> str:
    """Write a value of a metric."""
    if value is None:
        return "undefined"
    return percent(value) if is_share(metric) else f"{value:.3f}"


def interval_text(metric: str, interval: tuple[float, float] | None) -> str:
    """Write a 95 % interval of a metric; a dash where there is none."""
    if interval is None:
        return "-"
    low, high = interval
    return f"{100 * low:.1f} - {percent(high)}" if is_share(metric) else f"{low:.3f} - {high:.3f}"


def params_text(params: Mapping[str, object]) -> str:
    """Write chosen parameters: ``C=0.1, kernel=rbf``."""
    return ", ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in params.items()
    )


def p_text(p_value: float) -> str:
    """Write a p-value with two digits that say something."""
    return "p < 1e-6" if p_value < 1e-6 else f"p = {p_value:.2g}"
