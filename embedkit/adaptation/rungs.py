"""The rungs: from the classifier on frozen features to tuned blocks, each chosen on validation rows, judged by others.

    frozen   logistic regression on the features
    head     the same classifier, trained on by AdamW
    cached   the last blocks and the classifier, on cached maps of the blocks before
    lora     the same, but of a weight of these blocks only a product of low rank that is added to it

A rung starts from the fitted classifier. What is tried is compared on the validation rows with that start itself: where
nothing tried is better there, the rung is the start, and says so. What was chosen is then trained on all rows that are
not tested.

Layer: adaptation. Imports its room; torch is loaded with it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from embedkit.adaptation.maps import Rows
from embedkit.adaptation.memory import Peak
from embedkit.adaptation.settings import Rung, TuningSettings
from embedkit.adaptation.start import LinearHead
from embedkit.adaptation.tail import State, Tail
from embedkit.adaptation.training import Read, Schedule, logits_of, score, train
from embedkit.errors import AdaptationError

_log = logging.getLogger("embedkit")

ALPHAS = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Shares of the tuned weights in the mean with those of the start (WiSE-FT, Wortsman et al. 2022, arXiv:2109.01903)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Which rows teach, which choose.

    Attributes
    ----------
    y : ndarray of intp
        Class of each row.
    classes : int
    fit, select : ndarray of intp
        Rows that trials are trained on and compared on; together they train what is kept.
    beside : ndarray of intp
        Rows that compare trials too, and train nothing: of a validation split that lacks a class.
    """

    y: npt.NDArray[np.intp]
    classes: int
    fit: Rows
    select: Rows
    beside: Rows = field(default_factory=lambda: np.zeros(0, np.intp))

    @property
    def train(self) -> Rows:
        """Rows that train what is kept."""
        return np.sort(np.concatenate([self.fit, self.select]))

    @property
    def compared(self) -> Rows:
        """Rows that trials are compared on."""
        return np.concatenate([self.select, self.beside])


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What was tried, and what the validation rows say of it: accuracy and mean log-loss at the best share."""

    depth: int
    rate: float
    alpha: float
    accuracy: float
    loss: float

    @property
    def order(self) -> tuple[float, float]:
        """Larger is better."""
        return self.accuracy, -self.loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What a rung came to.

    Attributes
    ----------
    rung : str
    state : dict of str to float32 array
        The tensors that were trained, by their names in timm's state dict; empty where the start is kept.
    depth : int
        How many of the last blocks they belong to.
    start, trial : Trial or None
        What the validation rows say of the start, and of the best that was tried.
    trials : list of Trial
    supported : bool
        Whether the validation rows support tuning.
    seconds, cpu_seconds : float
        Of the rung alone, by the wall clock and by the processors.
    peak_bytes : int
        Largest memory of the process meanwhile.
    parameters : int
        How many numbers were trained.
    notes : list of str
    """

    rung: Rung
    state: State
    depth: int
    start: Trial
    trial: Trial | None
    trials: list[Trial]
    supported: bool
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    parameters: int
    notes: list[str] = field(default_factory=list[str])

    @property
    def validation(self) -> float:
        """Accuracy on the selection rows of what was kept."""
        return self.trial.accuracy if self.supported and self.trial is not None else self.start.accuracy


def climb(
    rung: Rung,
    tail: Tail,
    reads: Mapping[int, Read],
    heads: tuple[LinearHead, LinearHead],
    problem: Problem,
    settings: TuningSettings,
    *,
    views: int,
    of: str,
    checkpoints: Path | None = None,
    step: Callable[[], None] | None = None,
) -> Tuned:
    """Try depths and rates on the validation rows, train what is best of them on all rows that may teach.

    Parameters
    ----------
    rung : str
    tail : Tail
        With the weights of the frozen network; it is given back with what was kept.
    reads : mapping of int to callable
        What enters the tail, by depth.
    heads : (LinearHead, LinearHead)
        The classifier on frozen features, fitted on the rows of the trials and on all training rows.
    problem : Problem
    settings : TuningSettings
    views : int
    of : str
        Names what is read.
    checkpoints : Path, optional
        A folder.
    step : callable, optional
        Called after each epoch; `epochs_of` says how many there are.

    Raises
    ------
    AdaptationError
        Every trial diverged.
    """
    began, cpu_began, peak = time.monotonic(), time.process_time(), Peak()
    bf16 = in_bf16(settings)
    rank = settings.rank if rung == "lora" else 0
    notes: list[str] = []
    trials: list[Trial] = []
    start = Trial(depth=0, rate=0.0, alpha=0.0, accuracy=0.0, loss=0.0)
    depths = (0,) if rung == "head" else tuple(sorted(settings.depths))
    waiting = [(depths[0], rate) for rate in settings.rates]
    while waiting:
        depth, rate = waiting.pop(0)
        frozen = _at_start(tail, depth, rank, heads[0])
        schedule = _schedule(settings, rate, settings.trial_epochs if depth else settings.epochs, bf16)
        try:
            trained = train(
                tail,
                reads[depth],
                problem.y,
                problem.fit,
                views,
                schedule,
                checkpoint=_file(checkpoints, rung, depth, rate, "trial"),
                of=of,
                step=step,
            )
        except AdaptationError as error:
            notes.append(f"{_said(depth, rate)}: {error}")
            tail.load(frozen)
            continue
        start, best = _weigh(tail, reads[depth], problem, frozen, trained.state, (depth, rate), bf16)
        trials.append(best)
        tail.load(frozen)  # the next depth may leave these blocks as they are
        if not waiting and depth == depths[0]:
            waiting = [(deeper, max(trials, key=lambda one: one.order).rate) for deeper in depths[1:]]
    if not trials:
        raise AdaptationError(f"nothing was learned: {'; '.join(notes)}")
    chosen = max(trials, key=lambda one: one.order)
    supported = _supports(chosen, start)
    frozen = _at_start(tail, chosen.depth, rank, heads[1])
    state: State = {}
    if supported:
        trained = train(
            tail,
            reads[chosen.depth],
            problem.y,
            problem.train,
            views,
            _schedule(settings, chosen.rate, settings.epochs, bf16),
            checkpoint=_file(checkpoints, rung, chosen.depth, chosen.rate, "kept"),
            of=of,
            step=step,
        )
        state = mixed(frozen, trained.state, chosen.alpha)
        tail.load(state)
    else:
        notes.append(
            f"{rung}: nothing that was tried names more of the {len(problem.compared)} validation images than the "
            "classifier on frozen features, so nothing is tuned: stop here"
        )
    return Tuned(
        rung=rung,
        state=state,
        depth=chosen.depth,
        start=start,
        trial=chosen,
        trials=trials,
        supported=supported,
        seconds=time.monotonic() - began,
        cpu_seconds=time.process_time() - cpu_began,
        peak_bytes=peak.read(),
        parameters=sum(one.numel() for _, one in tail.trained()) if supported else 0,
        notes=notes,
    )


def epochs_of(rung: Rung, settings: TuningSettings) -> int:
    """Count the epochs of a rung: of each trial, and of what is kept."""
    trials = len(settings.rates) + (0 if rung == "head" else len(settings.depths) - 1)
    return trials * (settings.epochs if rung == "head" else settings.trial_epochs) + settings.epochs


def _supports(best: Trial, start: Trial) -> bool:
    """Whether the validation rows support what was tried: some more of them are named right."""
    return best.alpha > 0 and best.accuracy > start.accuracy


def mixed(start: State, tuned: State, alpha: float) -> State:
    """Return the weighted mean of two states."""
    return {name: ((1 - alpha) * start[name] + alpha * tuned[name]).astype(np.float32) for name in start}


def in_bf16(settings: TuningSettings) -> bool:
    """Whether products are computed in bfloat16: where that is asked for, or the processors have it."""
    if settings.precision != "auto":
        return settings.precision == "bf16"
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):
        return False


def _at_start(tail: Tail, depth: int, rank: int, head: LinearHead) -> State:
    tail.set_depth(depth, rank)
    tail.set_head(head)
    return tail.state()


def _weigh(
    tail: Tail,
    read: Read,
    problem: Problem,
    start: State,
    tuned: State,
    of: tuple[int, float],
    bf16: bool,
) -> tuple[Trial, Trial]:
    """Return what the validation rows say of the start, and of the best mean of it and what was tuned."""
    found: list[Trial] = []
    for alpha in ALPHAS:
        tail.load(mixed(start, tuned, alpha))
        accuracy, loss = score(logits_of(tail, read, problem.compared, bf16=bf16), problem.y[problem.compared])
        found.append(Trial(depth=of[0], rate=of[1], alpha=alpha, accuracy=accuracy, loss=loss))
    return found[-1], max(found, key=lambda one: one.order)


def _schedule(settings: TuningSettings, rate: float, epochs: int, bf16: bool) -> Schedule:
    return Schedule(
        rate=rate,
        epochs=epochs,
        weight_decay=settings.weight_decay,
        batch_size=settings.batch_size,
        bf16=bf16,
        seed=settings.random_state,
    )


def _file(folder: Path | None, rung: Rung, depth: int, rate: float, what: str) -> Path | None:
    of = "-lora" if rung == "lora" else ""
    return None if folder is None else folder / f"finetune{of}-{what}-{depth}-{rate:g}.pt"


def _said(depth: int, rate: float) -> str:
    return f"{depth} blocks at {rate:g}" if depth else f"the classifier at {rate:g}"
