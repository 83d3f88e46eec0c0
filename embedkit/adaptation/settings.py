"""What a user decides of tuning, with defaults for small data on a machine without a GPU.

Layer: adaptation. Standard library and errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from embedkit.errors import UsageError

Rung = Literal["frozen", "head", "cached", "lora", "bias", "gradual", "full"]
RUNGS: tuple[Rung, ...] = ("frozen", "head", "cached", "lora", "bias", "gradual", "full")
"""Each starts from the classifier on frozen features."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningSettings:
    """How much is tried.

    Parameters
    ----------
    depths : tuple of int, optional
        How many of the last blocks are tuned: each is tried on the validation rows. By default 2 and half of them, or
        the next more of those that the network can be taken apart at.
    rates : tuple of float
        Peak learning rates of the classifier that are tried, at the smallest depth; the other depths are tried at the
        best of them. Blocks get less, the further from the classifier the less.
    skip : tuple of str
        Rungs that are left out.
    weight_decays : tuple of float
        The first goes with the rates; the others are tried at the best of these.
    epochs : int
        Of the tuning whose result is kept.
    trial_epochs : int
        Of each trial.
    patience : int
        After so many epochs without a smaller loss of the validation rows a trial stops, and its best epoch counts; 0:
        none stops. Where a trial of all epochs stopped, what is kept is trained for as many as were best.
    batch_norm : {"eval", "train"}
        Whether batch norms of the tuned blocks keep their statistics, or normalise each batch by its own and learn
        these.
    views : int
        Random views beside each training image, kept in the store.
    batch_size : int
    mixup : float
        Two images of a batch become one, with shares drawn from Beta(mixup, mixup); 0: none do.
    ema_decay : float
        At least 0, below 1: the mean of the weights over the steps is kept, of which each step weighs 1 - ema_decay; 0:
        the last weights.
    rank : int
        Of what ``"lora"`` adds to each weight of the tuned blocks.
    precision : {"auto", "fp32", "bf16"}
        What products are computed in; ``"auto"`` is bf16 on a CPU that has it.
    random_state : int

    Raises
    ------
    UsageError
        A value out of its range.
    """

    depths: tuple[int, ...] | None = None
    skip: tuple[Rung, ...] = ()
    rates: tuple[float, ...] = (3e-4, 1e-3)
    weight_decays: tuple[float, ...] = (0.05, 0.3)
    epochs: int = 15
    trial_epochs: int = 5
    patience: int = 5
    batch_norm: Literal["eval", "train"] = "eval"
    views: int = 4
    batch_size: int = 64
    mixup: float = 0.0
    ema_decay: float = 0.0
    rank: int = 8
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    random_state: int = 0

    def __post_init__(self) -> None:
        several = (("depths", self.depths), ("rates", self.rates), ("weight_decays", self.weight_decays))
        for name, values in several:
            if values is not None and not values:
                raise UsageError(f"{name} is empty, expected at least one to try")
            if values is not None and len(set(values)) < len(values):
                raise UsageError(f"{name} are {values}, expected each once")
        for rung in self.skip:
            if rung not in RUNGS[1:]:
                raise UsageError(f"{rung!r} cannot be left out, expected of {', '.join(RUNGS[1:])}")
        for name in ("epochs", "trial_epochs", "batch_size", "rank"):
            check_count(name, getattr(self, name), 1)
        for name in ("views", "random_state", "patience"):
            check_count(name, getattr(self, name), 0)
        for depth in self.depths or ():
            check_count("depths", depth, 1)
        for name, values, least in (
            ("rates", self.rates, "above 0"),
            ("weight_decays", self.weight_decays, "from 0 on"),
        ):
            if not all(math.isfinite(value) and value >= 0 for value in values) or (name == "rates" and 0 in values):
                raise UsageError(f"{name} are {values}, expected numbers {least}")
        if self.batch_norm not in ("eval", "train"):
            raise UsageError(f"batch_norm is {self.batch_norm!r}, expected eval or train")
        if not (math.isfinite(self.mixup) and self.mixup >= 0):
            raise UsageError(f"mixup is {self.mixup!r}, expected a number of at least 0, such as 0.2")
        if not 0 <= self.ema_decay < 1:
            raise UsageError(f"ema_decay is {self.ema_decay!r}, expected a number from 0 to below 1, such as 0.99")
        if self.precision not in ("auto", "fp32", "bf16"):
            raise UsageError(f"precision is {self.precision!r}, expected auto, fp32 or bf16")


def check_count(name: str, value: object, least: int) -> None:
    """Raise UsageError unless a value is a whole number of at least so many."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(f"{name} is {value!r}, expected a whole number of at least {least}")
