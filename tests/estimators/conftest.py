from __future__ import annotations

import pytest


@pytest.fixture(params=["cpu", "cpu:0", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request):
    """NumPy, torch, and torch on a GPU where there is one."""
    if request.param != "cpu":
        torch = pytest.importorskip("torch")
        if request.param == "cuda" and not torch.cuda.is_available():
            pytest.skip("no NVIDIA GPU")
    return request.param
