"""The outcome of a probe as a plain record.

Layer: probes; above the store and the estimators, below workflows.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """One number with everything needed to believe it.

    Attributes
    ----------
    model, protocol, estimator, metric : str
    value : float
        A fraction, 0 to 1; R2 may be below 0.
    interval : (float, float)
        95 % interval of `value` over test images; over draws of the training images for few-shot protocols.
    n_train, n_test, n_classes : int
        Rows the reported estimator was fitted on, rows it was judged on, classes in the training rows.
    params : dict
        The hyper-parameters that were chosen.
    at_edge : bool
        A chosen value lies at an end of its grid: a wider grid might do better.
    converged : bool
        Every fit that was chosen from, and the reported one, reached its optimum.
    selected_on, reported_on : str
        Which rows chose the hyper-parameters, and which gave `value`.
    floor : bool
        The features are a floor (raw pixels, colour histogram), not a backbone's.
    notes : list of str
        What a reader should know before quoting the number.
    fit_seconds : float
        Wall clock of selection and fitting.
    metrics : dict
        Further metrics by name, as far as the predictions allow (docs/protocols.md): ``{"value": float, "interval":
        (float, float)}``, None where they are not defined.
    leaks : dict
        What tested images share with training images: counts of ``copies``, ``near_duplicates`` (among ``compared``)
        and ``shared_groups``, of ``tested`` images. Empty where it was not looked for.
    as_published : bool
        Solved by the solver and the stop rule of the protocol's original, not to the optimum.
    """

    model: str
    protocol: str
    estimator: str
    metric: str
    value: float
    interval: tuple[float, float]
    n_train: int
    n_test: int
    n_classes: int
    params: dict[str, float | int | str]
    at_edge: bool
    converged: bool
    selected_on: str
    reported_on: str
    floor: bool = False
    notes: list[str] = field(default_factory=list[str])
    fit_seconds: float = 0.0
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    as_published: bool = False
    leaks: dict[str, int] = field(default_factory=dict[str, int])

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dataclasses.asdict(self)
