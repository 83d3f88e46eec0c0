"""``clip-benchmark``: a linear layer trained by AdamW, its weight decay found by a search that halves its steps.

    features    the model's output, L2-normalised
    training    cross-entropy; AdamW, learning rate 0.1 with a cosine to 0 and no warm-up, 10 epochs, batches of 64,
                torch's default initialisation; the same seed (0) for every training: it decides the initialisation and
                the order of the rows, and the whole protocol is run with `FURTHER_SEEDS` others, too, whose weight
                decays are among the params and whose accuracies among the metrics
    grid        weight decay: 97 values from 1e-6 to 1e2 on a logarithmic scale
    search      the best of every 16th value; then the best of it and its two neighbours 8, 4, 2 and 1 steps away
    split       the validation split; without one the weight decay is 0 and nothing is selected
    selection   best accuracy; of equals, the smallest weight decay
    refit       on training and validation rows
    metric      accuracy (top-5 accuracy and mean per-class recall among the metrics)

The training is the protocol: a weight decay decoupled from the gradient is the penalty of no objective, so there is no
optimum to go to, and both modes train as published (in float32; the original's mixed precision needs a GPU). No run has
converged in the sense of this package, and the result says so.

Source: github.com/LAION-AI/CLIP_benchmark, clip_benchmark/metrics/linear_probe.py.

Layer: probes.protocols.
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.evaluation import Labelled, Outcome, Predicted, Task, accuracy, predicted_classes
from embedkit.probes.protocols.features import CLIP_MEAN, CLIP_STD, Prescription
from embedkit.probes.protocols.search import halving_search
from embedkit.results import Param

WEIGHT_DECAYS = np.logspace(-6, 2, 97)
LEARNING_RATE = 0.1
EPOCHS = 10
BATCH_SIZE = 64
FURTHER_SEEDS = 2
PRESCRIPTION = Prescription(interpolation="bicubic", crop_mode="center", crop_pct=1.0, mean=CLIP_MEAN, std=CLIP_STD)
_NOTE = "clip-benchmark: AdamW runs a fixed schedule that aims at no optimum, so nothing is said to have converged"


def clip_benchmark(task: Task) -> Outcome:
    """Run the protocol on one task."""
    weight_decay, at_edge, predicted = _run(task, task.random_state)
    params: dict[str, Param] = {"weight_decay": weight_decay}
    decays, others = [weight_decay], dict[str, list[Predicted]]()
    for seed in range(task.random_state + 1, task.random_state + 1 + FURTHER_SEEDS):
        decay, _, again = _run(task, seed)
        decays.append(decay)
        others[f"seed {seed}"] = [again]
    if task.validation is not None:
        params |= {"weight_decay_smallest": min(decays), "weight_decay_largest": max(decays)}
    return Outcome(
        draws=[predicted],
        params=params,
        n_train=len(task.known),
        selected_on="nothing is selected: without a validation split the weight decay is 0"
        if task.validation is None
        else task.selected_on,
        at_edge=at_edge,
        converged=False,
        others=others,
        notes=[_NOTE],
    )


def _run(task: Task, seed: int) -> tuple[float, bool, Predicted]:
    """Give the chosen weight decay, whether it lies at an end of the grid, and predictions of the tested rows."""
    validation = task.validation
    if validation is None:
        return 0.0, False, _predict(_train(task.train, 0.0, task.n_classes, seed), task.test_features)

    def scores(indices: list[int]) -> list[float]:
        models = [_train(task.train, float(WEIGHT_DECAYS[i]), task.n_classes, seed) for i in indices]
        return [accuracy(validation.y, _predict(model, validation.X)) for model in models]

    best = halving_search(scores, len(WEIGHT_DECAYS), first_step=16)
    chosen = float(WEIGHT_DECAYS[best])
    final = _train(task.known, chosen, task.n_classes, seed)
    return chosen, best in (0, len(WEIGHT_DECAYS) - 1), _predict(final, task.test_features)


def _train(rows: Labelled, weight_decay: float, n_classes: int, seed: int) -> Any:
    """Return the trained layer."""
    import torch

    X = torch.nn.functional.normalize(torch.tensor(rows.X), dim=-1)
    y = torch.tensor(rows.y.astype(np.int64))
    with cast(Any, torch.random).fork_rng(devices=[]):
        cast(Any, torch).manual_seed(seed)
        model = torch.nn.Linear(X.shape[1], n_classes)
        optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=weight_decay)
        n_batches = math.ceil(len(X) / BATCH_SIZE)
        for epoch in range(EPOCHS):
            order = _shuffled(len(X))
            for i in range(n_batches):
                progress = (epoch * n_batches + i) / (EPOCHS * n_batches)
                optimizer.param_groups[0]["lr"] = 0.5 * (1 + math.cos(math.pi * progress)) * LEARNING_RATE
                batch = order[i * BATCH_SIZE : (i + 1) * BATCH_SIZE]
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(model(X[batch]), y[batch])
                loss.backward()  # pyright: ignore[reportUnknownMemberType]
                optimizer.step()  # pyright: ignore[reportUnknownMemberType]
    return model


def _shuffled(n: int) -> Any:
    """Give an epoch's order, drawing from torch's random state as a shuffling DataLoader does."""
    import torch

    torch.empty((), dtype=torch.int64).random_()  # the seed of its workers
    seed = int(torch.empty((), dtype=torch.int64).random_().item())
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


def _predict(model: Any, X: npt.NDArray[np.float32]) -> Predicted:
    import torch

    with torch.inference_mode():
        features = torch.nn.functional.normalize(torch.tensor(X), dim=-1)
        return predicted_classes(model(features).softmax(dim=1).numpy(), are_probabilities=True)
