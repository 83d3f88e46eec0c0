"""The rungs: from the classifier on frozen features to tuned blocks, each chosen on validation rows, judged by others.

    frozen   logistic regression on the features
    head     the same classifier, trained on by AdamW
    cached   the last blocks and the classifier, on cached maps of the blocks before
    lora     the same, but of a weight of these blocks only a product of low rank that is added to it
    bias     the same, but only the biases of these blocks
    gradual  as cached, but block after block begins to learn, the last first, and the others at much smaller rates
    full     the whole network, from pixels

A rung starts from the fitted classifier. Short trials choose the depth and the rate. What they choose is compared on
the validation rows with the start itself, and where it is not better there after so few epochs, tuned in full and
compared again. If it is not better even then, the rung is the one below, and says so. Else it is tuned on all rows that
are not tested.

Layer: adaptation. Imports its room; torch is loaded with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedkit.adaptation.judging import Trial, is_better, judged
from embedkit.adaptation.maps import Rows
from embedkit.adaptation.memory import Peak
from embedkit.adaptation.settings import Rung, TuningSettings
from embedkit.adaptation.start import LinearHead
from embedkit.adaptation.tail import State, Tail
from embedkit.adaptation.training import Read, Trained, logits_of, train
from embedkit.adaptation.ways import WAYS, Tuning, Way, checkpoint_of, epochs_kept, in_bf16, schedule_of, tuning_of
from embedkit.errors import AdaptationError

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
class Tuned:
    """What a rung came to.

    Attributes
    ----------
    rung : str
    state : dict of str to float32 array
        The tensors that were trained, by their names in timm's state dict; empty where the start is kept.
    depth : int
        How many of the last blocks they belong to.
    head : LinearHead
        The classifier that belongs to it.
    trial : Trial or None
        What the validation rows say of the best that was tried.
    kept : Trial
        What they say of what was kept: of that, or else of the rung below.
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
    head: LinearHead
    trial: Trial | None
    kept: Trial
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
        return self.kept.accuracy


def recommended(rungs: Sequence[Tuned]) -> Tuned:
    """Return the rung that the validation rows support: each further one has to be better than the best before."""
    best = rungs[0]
    for one in rungs[1:]:
        if one.supported and is_better(one.kept, best.kept):
            best = one
    return best


def climb(
    rung: Rung,
    tail: Tail,
    reads: Mapping[int, Read],
    heads: tuple[LinearHead, LinearHead],
    problem: Problem,
    settings: TuningSettings,
    *,
    below: Tuned,
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
        What enters the tail, by depth; each depth is tried.
    heads : (LinearHead, LinearHead)
        The classifier on frozen features, fitted on the rows of the trials and on all training rows.
    problem : Problem
    settings : TuningSettings
    below : Tuned
        What is kept where nothing that is tried gains.
    views : int
    of : str
        Names what is read.
    checkpoints : Path, optional
        A folder.
    step : callable, optional
        Called after each epoch; `embedkit.adaptation.ways.epochs_of` says how many there are.

    Raises
    ------
    AdaptationError
        Every trial diverged.
    """
    began, cpu_began, peak = time.monotonic(), time.process_time(), Peak()
    bf16 = in_bf16(settings, tail.device.type)
    way = WAYS.get(rung, Way())
    notes: list[str] = []
    trials: list[Trial] = []

    def tried(way_of: Tuning, epochs: int) -> list[Trial]:
        """Train on the rows of the trials; return what was tuned, and its means with the start, which comes last."""
        read = reads[way_of.depth]
        frozen = _at_start(tail, way_of.depth, way, settings, heads[0])
        try:
            trained = train(
                tail,
                read,
                problem.y,
                problem.fit,
                views,
                schedule_of(settings, way, way_of, epochs, bf16),
                select=problem.compared,
                checkpoint=checkpoint_of(checkpoints, rung, way_of, f"trial-{epochs}"),
                of=of,
                step=step,
            )
            return _weigh(tail, read, problem, frozen, trained, (way_of, epochs), bf16)
        finally:
            tail.load(frozen)  # the next depth may leave these blocks as they are

    shorts: list[list[Trial]] = []

    def try_all(several: Sequence[Tuning]) -> None:
        for one in several:
            try:
                shorts.append(tried(one, min(settings.trial_epochs, settings.epochs)))
            except AdaptationError as error:
                notes.append(f"{one}: {error}")

    depths, decays = sorted(reads), settings.weight_decays
    try_all([Tuning(depths[0], rate, decays[0]) for rate in settings.rates])
    if shorts:
        rate = _least(shorts)[0].rate
        try_all([Tuning(depths[0], rate, decay) for decay in decays[1:]])
        decay = _least(shorts)[0].weight_decay
        try_all([Tuning(deeper, rate, decay) for deeper in depths[1:]])
    else:
        raise AdaptationError(f"nothing was learned: {'; '.join(notes)}")
    trials += [means[0] for means in shorts]
    means = _least(shorts)
    chosen, supported = _supported(means, len(shorts))
    if not supported and settings.trial_epochs < settings.epochs:
        # Too short a trial is behind the start where the whole tuning may be ahead of it.
        means = tried(tuning_of(means[0]), settings.epochs)
        chosen, supported = _supported(means, len(shorts) + 1)
    trials.append(chosen)
    frozen = _at_start(tail, chosen.depth, way, settings, heads[1])
    state: State = {}
    if supported:
        trained = train(
            tail,
            reads[chosen.depth],
            problem.y,
            problem.train,
            views,
            schedule_of(settings, way, tuning_of(chosen), settings.epochs, bf16, last=epochs_kept(chosen, settings)),
            checkpoint=checkpoint_of(checkpoints, rung, tuning_of(chosen), "kept"),
            of=of,
            step=step,
        )
        state = mixed(frozen, trained.state, chosen.alpha)
        tail.load(state)
    else:
        notes.append(
            f"{rung}: nothing that was tried has a log-loss on the {len(problem.compared)} validation images that is "
            f"significantly less than that of the classifier on frozen features, so nothing is tuned: stop at "
            f"{below.rung}"
        )
    return Tuned(
        rung=rung,
        state=state,
        depth=chosen.depth,
        head=tail.linear_head() if supported else below.head,
        trial=chosen,
        kept=chosen if supported else below.kept,
        trials=trials,
        supported=supported,
        seconds=time.monotonic() - began,
        cpu_seconds=time.process_time() - cpu_began,
        peak_bytes=peak.read(),
        parameters=sum(one.numel() for _, one in tail.trained()) if supported else 0,
        notes=notes,
    )


def _least(trials: Sequence[list[Trial]]) -> list[Trial]:
    """Return the trial whose tuned weights themselves have the least loss."""
    return min(trials, key=lambda means: means[0].loss)


def _supported(means: list[Trial], comparisons: int) -> tuple[Trial, bool]:
    """Return the best mean of tuned and frozen weights, and whether the validation rows support it."""
    best = min(means, key=lambda one: one.loss)
    return best, _supports(best, means[-1], comparisons)


def _supports(best: Trial, start: Trial, trials: int) -> bool:
    """Whether the validation rows support what was tried."""
    return best.alpha > 0 and is_better(best, start, trials)


def mixed(start: State, tuned: State, alpha: float) -> State:
    """Return the weighted mean of two states."""
    return {name: ((1 - alpha) * start[name] + alpha * tuned[name]).astype(np.float32) for name in start}


def _at_start(tail: Tail, depth: int, way: Way, settings: TuningSettings, head: LinearHead) -> State:
    tail.set_depth(
        depth, settings.rank if way.low_rank else 0, way.part, statistics=depth > 0 and settings.batch_norm == "train"
    )
    tail.set_head(head)
    return tail.state()


def _weigh(
    tail: Tail,
    read: Read,
    problem: Problem,
    start: State,
    trained: Trained,
    what: tuple[Tuning, int],
    bf16: bool,
) -> list[Trial]:
    """Return what the validation rows say of what was tuned, and of its means with the start, which comes last."""
    of, epochs = what
    found: list[Trial] = []
    for alpha in ALPHAS:
        tail.load(mixed(start, trained.state, alpha))
        logits = logits_of(tail, read, problem.compared, bf16=bf16)
        y = problem.y[problem.compared]
        found.append(
            judged(
                logits,
                y,
                depth=of.depth,
                rate=of.rate,
                weight_decay=of.weight_decay,
                epochs=epochs,
                alpha=alpha,
                stopped_at=trained.best if trained.stopped else 0,
            )
        )
    return found
