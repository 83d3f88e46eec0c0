"""``dinov2-logreg``: logistic regression over 45 values of C, chosen on a random tenth, fitted again on all rows.

    features    the model's output, not normalised; resize 224 bicubic, crop 224, ImageNet mean and deviation
    objective   scikit-learn's LogisticRegression in float64
    grid        C = 10 ** (45 values from -6 to 5)
    split       the validation split, else a random 10 % of the training rows, not stratified (torch's permutation for
                seed 0)
    selection   best accuracy; of equals, the smallest C
    refit       on training and validation rows
    metric      accuracy (the original's mean_accuracy; mean per-class accuracy on demand: among the metrics)

As published the solver is cuML's quasi-Newton method (1000 iterations, tolerance 1e-12, 50 steps of line search), which
runs on NVIDIA GPUs only; scikit-learn's lbfgs with the same limits, which `dinov3-logreg` publishes, stands in.

Source: M. Oquab et al., DINOv2: learning robust visual features without supervision, 2023,
github.com/facebookresearch/dinov2, dinov2/eval/log_regression.py.

Layer: probes.protocols.
"""

from __future__ import annotations

import numpy as np

from embedkit.errors import SplitError
from embedkit.evaluation import Labelled, Metric, Outcome, Rows, Task, accuracy
from embedkit.probes.protocols.features import IMAGENET_MEAN, IMAGENET_STD, Prescription
from embedkit.probes.protocols.logistic import Published, fit_regressions

CS = 10.0 ** np.linspace(-6, 5, 45)
PUBLISHED = Published(max_iter=1000, tol=1e-12)
PRESCRIPTION = Prescription(
    input_size=(224, 224),
    interpolation="bicubic",
    crop_mode="center",
    crop_pct=1.0,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
)
_STAND_IN = "dinov2-logreg: the published solver is cuML's; scikit-learn's lbfgs with its limits stands in"


def dinov2_logreg(task: Task) -> Outcome:
    """Run the protocol on one task."""
    notes = [_STAND_IN] if task.as_published else []
    if task.validation is not None:
        return sweep(task, task.train, task.validation, task.selected_on, accuracy, notes)
    order = torch_permutation(len(task.train), task.random_state)
    cut = len(order) // 10
    if not cut:
        raise SplitError(f"{len(order)} training images: a random 10 % of them to choose on is none; add images")
    selected_on = f"a random 10 % of train ({cut} images)"
    return sweep(task, task.train.take(order[cut:]), task.train.take(order[:cut]), selected_on, accuracy, notes)


def sweep(task: Task, fit: Labelled, select: Labelled, selected_on: str, metric: Metric, notes: list[str]) -> Outcome:
    """Choose C on the selection rows and fit again on all, as DINOv2 and DINOv3 do."""
    published = PUBLISHED if task.as_published else None
    path = fit_regressions(fit, CS.tolist(), task.n_classes, published)
    scores = [metric(select.y, path.predict(i, select.X)) for i in range(len(CS))]
    best = int(np.argmax(scores))
    C = float(CS[best])
    final = fit_regressions(fit.with_rows(select), [C], task.n_classes, published)
    return Outcome(
        draws=[final.predict(0, task.test_features)],
        params={"C": C},
        n_train=len(fit) + len(select),
        selected_on=selected_on,
        at_edge=best in (0, len(CS) - 1),
        converged=bool(path.converged.all() and final.converged.all()),
        notes=notes,
    )


def torch_permutation(n: int, seed: int) -> Rows:
    """Give torch's random permutation on the CPU for a seed."""
    import torch

    return np.asarray(torch.randperm(n, generator=torch.Generator().manual_seed(seed)).numpy(), dtype=np.intp)
