"""How the blocks of a rung are tuned, and the points that are tried of it.

Layer: adaptation. Imports its room and torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from embedkit.adaptation.judging import Trial
from embedkit.adaptation.settings import Rung, TuningSettings
from embedkit.adaptation.tail import Part
from embedkit.adaptation.training import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How the blocks of a rung are tuned."""

    part: Part = "all"
    low_rank: bool = False
    gradual: bool = False
    layer_decay: float = 0.8


WAYS: dict[Rung, Way] = {
    "lora": Way(low_rank=True),
    "bias": Way(part="bias"),
    "gradual": Way(gradual=True, layer_decay=0.65),
}


class Tuning(NamedTuple):
    """What is tried."""

    depth: int
    rate: float
    weight_decay: float

    def __str__(self) -> str:
        what = f"{self.depth} blocks" if self.depth else "the classifier"
        return f"{what} at {self.rate:g}"


def tuning_of(trial: Trial) -> Tuning:
    """Return what a trial was of."""
    return Tuning(trial.depth, trial.rate, trial.weight_decay)


def epochs_of(depths: int, settings: TuningSettings) -> int:
    """Count the most epochs of a rung of so many depths: of short trials, of a whole one, and of what is kept."""
    tunings = len(settings.rates) + len(settings.weight_decays) - 1 + depths - 1
    return tunings * settings.trial_epochs + 2 * settings.epochs


def in_bf16(settings: TuningSettings, device: str) -> bool:
    """Whether products are computed in bfloat16: where that is asked for, or a device of this type has it."""
    if settings.precision != "auto":
        return settings.precision == "bf16"
    if device != "cpu":
        return device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):
        return False


def schedule_of(settings: TuningSettings, way: Way, of: Tuning, epochs: int, bf16: bool, *, last: int = 0) -> Schedule:
    """Return how something that is tried, or kept, is trained."""
    return Schedule(
        rate=of.rate,
        epochs=epochs,
        last=last,
        weight_decay=of.weight_decay,
        layer_decay=way.layer_decay,
        gradual=way.gradual,
        batch_size=settings.batch_size,
        mixup=settings.mixup,
        ema_decay=settings.ema_decay,
        patience=settings.patience,
        batch_norm=settings.batch_norm,
        bf16=bf16,
        seed=settings.random_state,
    )


def epochs_kept(chosen: Trial, settings: TuningSettings) -> int:
    """Return after which epoch of the schedule to stop, 0 after the last: where a trial of all epochs was best.

    Where a short trial stopped says nothing of a schedule of another length.
    """
    return chosen.stopped_at if chosen.epochs == settings.epochs else 0


def checkpoint_of(folder: Path | None, rung: Rung, of: Tuning, what: str) -> Path | None:
    """Return where a training keeps what it goes on from."""
    if folder is None:
        return None
    return folder / f"finetune-{rung}-{what}-{of.depth}-{of.rate:g}-{of.weight_decay:g}.pt"
