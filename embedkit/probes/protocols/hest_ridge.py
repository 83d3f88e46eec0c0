"""``hest-ridge``: ridge regression of values on 256 principal components, judged by correlation.

    features    standardised, then their first 256 principal components (as many as there are, if fewer)
    objective   squared error + alpha ||w||^2 without an intercept, alpha = 100 / (components x targets)
    fit         on all rows that are not tested; nothing is selected
    metric      Pearson's correlation on the test rows (R2 beside it: without an intercept it says little)

By default in float64 by a closed form; as published the components are in float32 and chosen by scikit-learn's default
solver (seed 1), and the ridge is solved by LSQR to its default tolerance, at most 1000 iterations.

Source: G. Jaume et al., HEST-1k: a dataset for spatial transcriptomics and histology image analysis, NeurIPS 2024,
github.com/mahmoodlab/HEST, src/hest/bench/benchmark.py and trainer.py. Components are the paper's, the shipped
configuration's and, as of `BenchmarkConfig`, the function's default; that of the command line before it had none.

Layer: probes.protocols.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from embedkit.evaluation import NOTHING_SELECTED, Outcome, Predicted, Task
from embedkit.probes.protocols.features import Prescription

COMPONENTS = 256
SEED = 1
PRESCRIPTION = Prescription()


def hest_ridge(task: Task) -> Outcome:
    """Run the protocol on one task."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    known, seed = task.known, SEED + task.random_state
    n_components = min(COMPONENTS, *known.X.shape)
    alpha = 100 / n_components
    pca: Any = cast(Any, PCA)(n_components, svd_solver="auto" if task.as_published else "full", random_state=seed)
    reduce: Any = Pipeline([("scale", StandardScaler()), ("pca", pca)])
    dtype = np.float32 if task.as_published else np.float64
    X = reduce.fit_transform(known.X.astype(dtype)).astype(dtype)
    test = reduce.transform(task.test_features.astype(dtype)).astype(dtype)
    ridge: Any = cast(Any, Ridge)(
        alpha=alpha,
        fit_intercept=False,
        solver="lsqr" if task.as_published else "svd",
        max_iter=1000,
        random_state=seed,
    )
    ridge.fit(X, known.y)
    notes: list[str] = []
    if n_components < COMPONENTS:
        notes.append(
            f"hest-ridge: training features of {len(known)} x {known.X.shape[1]} have {n_components} principal "
            f"components, not {COMPONENTS}; all are used"
        )
    return Outcome(
        draws=[Predicted(targets=ridge.predict(test).astype(np.float64))],
        params={"alpha": alpha, "n_components": n_components},
        n_train=len(known),
        selected_on=NOTHING_SELECTED,
        notes=notes,
    )
