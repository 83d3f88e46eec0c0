"""``kornblith``: logistic regression over 45 penalties, fitted again on training and validation rows.

    features    the network's penultimate ones; resize 224 bicubic, crop 224, ImageNet mean and deviation; no scaling
    objective   multinomial cross-entropy summed over rows + wd / 2 ||W||^2
    grid        wd = 45 values from 1e-6 to 1e5 on a logarithmic scale, ascending; C = 1 / wd
    split       the validation split, else a random 20 % of the training rows (seed 0)
    selection   best validation metric; of equals, the smallest wd
    refit       on training and validation rows
    metric      accuracy (mean per-class accuracy for Aircraft, Caltech-101, Flowers and Pets: among the metrics);
                several labels a row: one regression a class, mean of the 11-point average precisions

As published, scikit-learn's lbfgs stops after 100 iterations or at its default tolerance, in float32; each value starts
from the one before, and the refit from the last. Where a solver stops so early, the last digit of a feature decides
which C is best: the protocol is run `REPEATS` times more with features moved by one unit in the last place; the spread
of C is among the params, the metric of each of these runs among the metrics. Its 11-point average precision compares
recalls with 0, 0.1, ..., 1 in floating point, as the original does.

For two classes the original's multinomial objective has a column of coefficients for each, of opposite signs: it is the
binary objective with twice the C, which is how it is solved here.

Source: S. Kornblith, J. Shlens, Q. V. Le, Do better ImageNet models transfer better?, CVPR 2019, in the executable form
of L. Ericsson, H. Gouk, T. M. Hospedales, How well do self-supervised models transfer?, CVPR 2021
(github.com/linusericsson/ssl-transfer, linear.py).

Layer: probes.protocols.
"""

from __future__ import annotations

import numpy as np

from embedkit.errors import SplitError
from embedkit.evaluation import (
    Labelled,
    Outcome,
    Predicted,
    Task,
    accuracy,
    mean_average_precision_11,
    mean_average_precision_11_as_published,
)
from embedkit.probes.protocols.features import IMAGENET_MEAN, IMAGENET_STD, Prescription
from embedkit.probes.protocols.logistic import Published, fit_regressions
from embedkit.results import Param

REPEATS = 3
PENALTIES = np.logspace(-6, 5, 45)
PUBLISHED = Published(max_iter=100, warm_start=True, dtype=np.float32)
PRESCRIPTION = Prescription(
    input_size=(224, 224),
    interpolation="bicubic",
    crop_mode="center",
    crop_pct=1.0,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
)


def kornblith(task: Task) -> Outcome:
    """Run the protocol on one task."""
    fit, select, selected_on = _split(task)
    best, predicted, converged = _chosen(fit, select, task)
    params: dict[str, Param] = {"C": 1.0 / float(PENALTIES[best]), "weight_decay": float(PENALTIES[best])}
    others: dict[str, list[Predicted]] = {}
    if task.as_published:
        random = np.random.RandomState(task.random_state)
        indices = [best]
        for repeat in range(REPEATS):
            index, again, _ = _chosen(_moved(fit, random), _moved(select, random), task)
            indices.append(index)
            others[f"last digit moved, {repeat + 1}"] = [again]
        params |= {
            "C_smallest": 1.0 / float(PENALTIES[max(indices)]),
            "C_largest": 1.0 / float(PENALTIES[min(indices)]),
        }
    return Outcome(
        draws=[predicted],
        params=params,
        n_train=len(fit) + len(select),
        selected_on=selected_on,
        at_edge=best in (0, len(PENALTIES) - 1),
        converged=converged,
        others=others,
    )


def _chosen(fit: Labelled, select: Labelled, task: Task) -> tuple[int, Predicted, bool]:
    """Give the index of the chosen penalty, what the refit predicts, and whether all fits converged."""
    Cs = _column_factor(fit) / PENALTIES
    published = PUBLISHED if task.as_published else None
    path = fit_regressions(fit, Cs.tolist(), task.n_classes, published)
    of_marks = mean_average_precision_11_as_published if task.as_published else mean_average_precision_11
    metric = of_marks if task.is_multilabel else accuracy
    best = int(np.argmax([metric(select.y, path.predict(i, select.X)) for i in range(len(Cs))]))
    rows = fit.with_rows(select)
    final = fit_regressions(
        rows,
        [_column_factor(rows) / float(PENALTIES[best])],
        task.n_classes,
        published,
        start=path if task.as_published else None,
    )
    return best, final.predict(0, task.test_features), bool(path.converged.all() and final.converged.all())


def _moved(rows: Labelled, random: np.random.RandomState) -> Labelled:
    """Move each feature to one of its neighbours in float32."""
    towards = np.where(random.random_sample(rows.X.shape) < 0.5, -np.inf, np.inf).astype(np.float32)
    return Labelled(X=np.nextafter(rows.X, towards), y=rows.y)


def _column_factor(rows: Labelled) -> float:
    """Turn the C of two columns of coefficients into that of one, where there are two classes."""
    return 2.0 if rows.y.ndim == 2 or len(np.unique(rows.y)) == 2 else 1.0


def _split(task: Task) -> tuple[Labelled, Labelled, str]:
    if task.validation is not None:
        return task.train, task.validation, task.selected_on
    rows = np.arange(len(task.train))
    np.random.RandomState(task.random_state).shuffle(rows)
    cut = len(rows) // 5
    if not cut:
        raise SplitError(f"{len(rows)} training images: a random 20 % of them to choose on is none; add images")
    return task.train.take(rows[cut:]), task.train.take(rows[:cut]), f"a random 20 % of train ({cut} images)"
