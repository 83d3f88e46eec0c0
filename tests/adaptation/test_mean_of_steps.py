"""What is kept of the steps, and images that are mixed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from embedkit.adaptation import TuningSettings
from embedkit.adaptation.tail import State
from embedkit.adaptation.training import Schedule, train
from embedkit.errors import UsageError
from tests.adaptation.scenes import CLASSES, Scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("store"))


@pytest.mark.parametrize("rank", [0, 2])
def test_the_mean_of_the_weights_over_the_steps(scene: Scene, rank: int) -> None:
    """One step an epoch: the states after the epochs are those after the steps, and their mean is made by hand."""
    states: list[State] = []
    kept = {}
    for decay in (0.0, 0.6):
        tail = scene.tail(1)
        tail.set_depth(1, rank)
        states.clear()
        schedule = Schedule(rate=1e-2, epochs=5, batch_size=18, ema_decay=decay)
        step = (lambda tail=tail: states.append(tail.state())) if not rank else None
        kept[decay] = train(tail, scene.read(1), scene.y, scene.problem.fit, 2, schedule, step=step).state
        assert all(np.array_equal(one, tail.state()[name]) for name, one in kept[decay].items())
    moved = max(np.abs(kept[0.6][name] - one).max() for name, one in kept[0.0].items())
    assert moved > 1e-4
    if not rank:
        expected = dict(states[0])
        for number, state in enumerate(states[1:], 1):
            decay = min(0.6, 1 - (1 + max(number - 1, 0)) ** (-2 / 3))
            expected = {name: decay * one + (1 - decay) * state[name] for name, one in expected.items()}
        for name, one in expected.items():
            np.testing.assert_allclose(kept[0.6][name], one, atol=1e-6)


def test_mixed_images_teach_mixed_classes(scene: Scene) -> None:
    rows = scene.problem.fit
    schedule = Schedule(rate=1e-9, epochs=1, batch_size=len(rows), mixup=0.4, smoothing=0.0, seed=1)
    loss = train(scene.tail(1), scene.read(1), scene.y, rows, 0, schedule).losses[0]
    draws = np.random.default_rng([1, 0])
    order = draws.permutation(rows)
    draws.integers(0, 1, len(order))
    share = draws.beta(0.4, 0.4)
    maps = scene.read(1)(order, 0).astype(np.float64)
    marks = np.eye(CLASSES)[scene.y[order]]
    maps, marks = (share * one + (1 - share) * one[::-1] for one in (maps, marks))
    with torch.inference_mode():
        logits = scene.tail(1)(torch.from_numpy(maps.astype(np.float32))).double()
    expected = -(torch.from_numpy(marks) * logits.log_softmax(1)).sum(1).mean()
    assert 0.1 < share < 0.9
    assert loss == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mixup": -0.1}, "mixup is -0.1, expected a number of at least 0"),
        ({"mixup": float("nan")}, "mixup is nan"),
        ({"ema_decay": 1.0}, "ema_decay is 1.0, expected a number from 0 to below 1"),
    ],
)
def test_settings_out_of_range(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        TuningSettings(**given)
