"""A fitted probe fitted anew, so that it gives sets of classes and knows what is unlike its rows.

Layer: workflows, shared by what fits; imports everything below, never click.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.estimators import ConformalClassifier, UnknownDetector
from embedkit.evaluation import FeatureRows, ProbeRun
from embedkit.tables import FeatureTable


def template_of(steps: list[tuple[str, Any]]) -> Any:
    """Return fitted steps as an unfitted pipeline that may be fitted on fewer rows."""
    import sklearn.base
    from sklearn.decomposition import PCA
    from sklearn.pipeline import Pipeline

    template: Any = cast(Any, sklearn.base).clone(Pipeline(steps))
    for (_, step), (_, known) in zip(template.steps, steps, strict=True):
        # As many components as there were rows, of fewer rows than features: all that there are.
        if isinstance(step, PCA) and known.n_components_ == known.n_samples_:
            cast(Any, step).set_params(n_components=None)
    return template


def guarded(table: FeatureTable, fitted: ProbeRun, random_state: int) -> list[tuple[str, Any]]:
    """Fit the steps on four fifths of the rows that they were fitted on; calibrate sets and unknowns on the rest."""
    from sklearn.frozen import FrozenEstimator

    rows = np.arange(len(table)) if table.split is None else np.setdiff1d(np.arange(len(table)), fitted.tested)
    X, y = FeatureRows(table).take(rows), cast("npt.NDArray[np.str_]", table.y)[rows].astype(str)
    groups = None if table.groups is None else table.groups[rows]
    sets = ConformalClassifier(template_of(fitted.steps), random_state=random_state).fit(X, y, groups)
    detector = UnknownDetector(FrozenEstimator(sets), random_state=random_state).fit(X, y, groups)
    return [("guarded", detector)]
