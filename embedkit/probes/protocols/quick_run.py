"""The ``quick`` protocol as a run that can be compared with others: further metrics, and a score of each image.

Layer: probes.protocols; above probes.quick.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.probes.predictions import Predicted, Targets
from embedkit.probes.protocols.judge import further_metrics, per_image
from embedkit.probes.protocols.rows import encoded
from embedkit.probes.protocols.run import ProbeRun
from embedkit.probes.quick import default_estimators, quick
from embedkit.store import FeatureTable


def quick_run(
    table: FeatureTable,
    estimator: Any,
    params: Mapping[str, Sequence[Any]] | None,
    *,
    model: str,
    floor: bool,
    random_state: int,
    folds: int,
    device: str,
) -> ProbeRun:
    """Run ``quick`` on a table with one estimator, by default the first that suits its labels."""
    chosen = default_estimators(table)[0] if estimator is None else estimator
    run = quick(
        table,
        chosen,
        model=model,
        floor=floor,
        folds=folds,
        random_state=random_state,
        params=params,
        device=device,
    )
    y, classes = encoded(table)
    predicted = _predicted(run.predictions, classes)
    known = {run.result.metric, *run.result.metrics}
    further = {
        name: judged for name, judged in further_metrics(y[run.tested], [predicted]).items() if name not in known
    }
    return ProbeRun(
        result=dataclasses.replace(run.result, metrics={**run.result.metrics, **further}),
        tested=run.tested,
        predictions=predicted.targets if table.target_type == "multilabel" else run.predictions,
        per_image=per_image(y[run.tested], [predicted]),
    )


def _predicted(said: npt.NDArray[Any], classes: npt.NDArray[np.str_]) -> Predicted:
    if said.ndim == 2:
        scores = said.astype(np.float64)
        return Predicted(targets=scores > 0, scores=scores)
    targets: Targets = said if said.dtype.kind == "f" else np.searchsorted(classes, said).astype(np.intp)
    return Predicted(targets=targets)
