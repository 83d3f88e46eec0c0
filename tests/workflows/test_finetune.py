"""What a ladder says where tested rows and validation rows disagree."""

from __future__ import annotations

from typing import Any

from embedkit.results import RungResult
from embedkit.workflows.finetune import _losses


def rung(name: Any, value: float, p: float | None) -> RungResult:
    return RungResult(
        rung=name,
        value=value,
        interval=(0.0, 1.0),
        p=p,
        validation=0.9,
        validation_loss=0.1,
        depth=1,
        supported=True,
        seconds=1.0,
        cpu_seconds=1.0,
        peak_bytes=1,
        trained_parameters=1,
        chosen=None,
        attempts=[],
        rows=None,
    )


def test_a_rung_that_loses_by_more_than_noise_is_named() -> None:
    climbed = [rung("frozen", 0.8, None), rung("cached", 0.7, 0.01), rung("lora", 0.69, 0.4), rung("bias", 0.9, 0.001)]
    assert _losses(climbed) == [
        "cached is worse than frozen on the tested images: -10.0 points, p = 0.01; validation rows did not foresee it"
    ]
