"""Tuning on an NVIDIA GPU; skipped where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embedkit.adaptation.training import Schedule, logits_of, train
from tests.adaptation.scenes import Scene

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU"),
]


@pytest.mark.parametrize("rank", [0, 2])
def test_a_gpu_learns_what_a_cpu_learns(tmp_path, rank: int) -> None:
    scene = Scene(tmp_path)
    schedule = Schedule(rate=1e-3, epochs=3, batch_size=6, mixup=0.2, ema_decay=0.9)
    found = []
    for device in ("cpu", "cuda"):
        tail = scene.tail(2).to(device)
        tail.set_depth(2, rank)
        trained = train(tail, scene.read(2), scene.y, scene.problem.fit, 2, schedule)
        found.append((trained.losses, logits_of(tail, scene.read(2), scene.judged)))
        assert tail.device.type == device
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-3)
    np.testing.assert_allclose(found[1][1], found[0][1], atol=1e-2 * np.abs(found[0][1]).max())


def test_bf16_stays_close(tmp_path) -> None:
    scene = Scene(tmp_path)
    tail = scene.tail(2).to("cuda")
    one = logits_of(tail, scene.read(2), scene.judged)
    other = logits_of(tail, scene.read(2), scene.judged, bf16=True)
    np.testing.assert_allclose(other, one, atol=3e-2 * np.abs(one).max())
