"""What is a share, how a metric is called and rounded, what an interval looks like: the one place that says so.

What a number needs beside it stands with it: that a fit did not converge, that a choice lies at the end of its grid.

Layer: render; standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

_RAW = frozenset({"r2", "pearson", "log_loss", "quadratic_kappa", "kappa"})
"""Metrics that are no share of anything."""

_TITLES = {
    "r2": "R2",
    "pearson": "Pearson's r",
    "average_precision": "average precision",
    "map_11_point": "mAP (11-point)",
    "map_11_point_as_published": "mAP (11-point, as published)",
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


def duration(seconds: float) -> str:
    """Write a time as people say it: ``< 1 s``, ``45 s``, ``12 min``, ``3 h 20 min``, ``2 d 4 h``; ``unknown``."""
    if not math.isfinite(seconds):
        return "unknown"
    if 0 < seconds < 1:
        return "< 1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def number_text(metric: str, value: float | None) -> str:
    """Write a value of a metric."""
    if value is None:
        return "undefined"
    return percent(value) if is_share(metric) else f"{value:.3f}"


def value_text(metric: str, value: float | None, converged: bool) -> str:
    """Write a value of a metric, and whether it can be believed."""
    return number_text(metric, value) + ("" if converged else " (not converged)")


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


def chosen_text(params: Mapping[str, object], at_edge: bool) -> str:
    """Write what was chosen, and whether a wider grid might do better."""
    return params_text(params) + (" (end of grid)" if at_edge else "")


def label_text(label: object) -> str:
    """Write a label of any kind: text, a value, several names, or none."""
    if isinstance(label, list):
        return ", ".join(map(str, label))  # pyright: ignore[reportUnknownArgumentType]
    return "" if label is None else f"{label:.6g}" if isinstance(label, float) else str(label)


def features_text(model: str, floor: bool) -> str:
    """Name features."""
    return model + (" (floor)" if floor else "")


def rank_text(rank: int | None, tied: bool) -> str:
    """Write a rank; ``1=`` where others share it, a dash where nothing is ranked."""
    return "-" if rank is None else f"{rank}=" if tied else str(rank)


def p_number(p_value: float) -> str:
    """Write a p-value with two digits that say something."""
    return "< 1e-6" if p_value < 1e-6 else f"{p_value:.2g}"


def p_text(p_value: float) -> str:
    """Write ``p = 0.03``."""
    number = p_number(p_value)
    return f"p {number}" if number.startswith("<") else f"p = {number}"
