from __future__ import annotations

import numpy as np
import pytest
import torch

from embedkit.backbones.pooling import pool_tokens

PATCHES = torch.tensor([[[1.0, 2.0], [3.0, 6.0]], [[0.0, 8.0], [2.0, 0.0]]])
CLS = torch.tensor([[10.0, 20.0], [30.0, 40.0]])


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ("auto", [[2.0, 4.0], [1.0, 4.0]]),
        ("avg", [[2.0, 4.0], [1.0, 4.0]]),
        ("max", [[3.0, 6.0], [2.0, 8.0]]),
        ("cls", [[10.0, 20.0], [30.0, 40.0]]),
        ("cls+avg", [[10.0, 20.0, 2.0, 4.0], [30.0, 40.0, 1.0, 4.0]]),
        ("gem", [[14 ** (1 / 3), 112 ** (1 / 3)], [4 ** (1 / 3), 256 ** (1 / 3)]]),
    ],
)
def test_each_pool_by_hand(pool: str, expected: list[list[float]]) -> None:
    np.testing.assert_allclose(pool_tokens(PATCHES, CLS, pool).numpy(), expected, rtol=1e-6)


def test_gem_is_defined_for_negative_values() -> None:
    assert torch.isfinite(pool_tokens(-PATCHES, None, "gem")).all()
