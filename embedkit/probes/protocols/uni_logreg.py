"""``uni-logreg``: logistic regression with an unsquared penalty of fixed strength.

    features    as the model gives them
    objective   mean cross-entropy of a softmax with a column for each class + ||W|| / (2 C), the Frobenius norm itself
                and not its square (so it is not scikit-learn's objective); C = features x classes / 100
    fit         on all rows that are not tested; nothing is selected
    metric      balanced accuracy (among the metrics: accuracy, Cohen's kappa with quadratic weights, F1 weighted by
                rows, and ROC-AUC one class against one, averaged over pairs)

By default at the optimum. Where W is not 0, the unsquared penalty has the gradient of a squared one, so the optimum is
that of scikit-learn's objective for the one C' with C' = 2 C ||W|| / n (two classes: 2 sqrt(2) C ||v|| / n, with v the
difference of the two columns). It is found by a root search: ||W|| / C' falls as C' rises. Where it is too small for
every C', W = 0 is the optimum, and the most frequent class is predicted. As published: torch's L-BFGS with strong Wolfe
conditions in float32, from zero, at most 1000 iterations.

Source: R. J. Chen et al., Towards a general-purpose foundation model for computational pathology, Nature Medicine 2024,
github.com/mahmoodlab/UNI, uni/downstream/eval_patch_features.

Layer: probes.protocols.
"""

from __future__ import annotations

import warnings
from typing import Any, cast

import numpy as np

from embedkit.errors import SplitError
from embedkit.evaluation import NOTHING_SELECTED, Float64, Labelled, Outcome, Task, predicted_classes, spread
from embedkit.probes.protocols.features import Prescription

MAX_ITER = 1000
METRICS = ("roc_auc_ovo", "quadratic_kappa", "weighted_f1")
PRESCRIPTION = Prescription()

_TOLERANCE = 1e-10
"""Relative, of the objective: the root is sought on norms, which are known to its square root."""

_BRACKET = float(np.log(10.0))


def uni_logreg(task: Task) -> Outcome:
    """Run the protocol on one task."""
    classes = np.unique(task.train.y)
    if len(classes) < 2:
        raise SplitError(f"the {len(task.train)} training images are of one class; give images of another")
    known = task.known
    cost = known.X.shape[1] * len(classes) / 100
    numbers = np.unique(known.y)
    fitted = Labelled(X=known.X, y=np.searchsorted(numbers, known.y))
    solve = _as_published if task.as_published else _at_optimum
    probabilities, converged = solve(fitted, cost, task)
    return Outcome(
        draws=[predicted_classes(spread(probabilities, numbers, task.n_classes, 0.0), are_probabilities=True)],
        params={"C": cost},
        n_train=len(known),
        selected_on=NOTHING_SELECTED,
        converged=converged,
    )


def _at_optimum(rows: Labelled, cost: float, task: Task) -> tuple[Float64, bool]:
    import scipy.optimize

    X, n = rows.X.astype(np.float64), len(rows)
    frequencies = np.bincount(rows.y) / n
    # At W = 0 the penalty's slope is 1 / (2 C) in every direction: a loss that is less steep stays there.
    errors = frequencies - (rows.y[:, None] == np.arange(len(frequencies)))
    if np.linalg.norm(X.T @ errors / n) <= 0.5 / cost:
        return np.tile(frequencies, (len(task.test_features), 1)), True
    scale = 2 * cost / n * (np.sqrt(2) if len(frequencies) == 2 else 1)

    def excess(log_C: float) -> float:
        norm = float(np.linalg.norm(_regression(float(np.exp(log_C)), X, rows.y).coef_))
        return np.log(max(scale * norm, np.finfo(np.float64).tiny)) - log_C

    low = high = 0.0
    while excess(high) > 0:
        high += _BRACKET
    while excess(low) < 0:
        low -= _BRACKET
    root = cast(Any, scipy.optimize).brentq(excess, low, high, xtol=1e-9)
    final = _regression(float(np.exp(root)), X, rows.y)
    return final.predict_proba(task.test_features.astype(np.float64)), bool(final.converged_)


def _regression(C: float, X: Float64, y: Any) -> Any:
    from sklearn.exceptions import ConvergenceWarning

    from embedkit.estimators import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the record says it
        return LogisticRegression(C, tol=_TOLERANCE).fit(X, y)


def _as_published(rows: Labelled, cost: float, task: Task) -> tuple[Float64, bool]:
    import torch

    X, y = torch.tensor(rows.X), torch.tensor(rows.y.astype(np.int64))
    layer = torch.nn.Linear(X.shape[1], len(np.unique(rows.y)))
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(layer.parameters(), line_search_fn="strong_wolfe", max_iter=MAX_ITER)

    def closure() -> Any:
        optimizer.zero_grad()
        norm: Any = cast(Any, layer.weight).norm(p=2)
        loss: Any = torch.nn.functional.cross_entropy(layer(X), y) + 0.5 / cost * norm
        loss.backward()
        return loss

    optimizer.step(closure)  # pyright: ignore[reportUnknownMemberType]
    iterations = int(cast(Any, optimizer).state_dict()["state"][0]["n_iter"])
    with torch.inference_mode():
        probabilities = layer(torch.tensor(task.test_features)).softmax(dim=1)
    return probabilities.numpy().astype(np.float64), iterations < MAX_ITER
