"""One run of training on cached maps: AdamW, warm-up and cosine, resumable after a kill to the same bits on a CPU.

What an epoch sees (order of rows, the view of each) depends on the seed and its number alone, so a checkpoint is the
trained tensors and the optimizer's.

Layer: adaptation. Imports torch and timm; loaded when something is tuned.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from timm.optim import create_optimizer_v2  # pyright: ignore[reportPrivateImportUsage]
from timm.scheduler import create_scheduler_v2  # pyright: ignore[reportPrivateImportUsage]
from timm.utils import ModelEmaV3  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor

from embedkit.adaptation.checkpoints import held_in, keep
from embedkit.adaptation.judging import calibrated_losses
from embedkit.adaptation.maps import Rows
from embedkit.adaptation.memory import memory_ended
from embedkit.adaptation.tail import State, Tail
from embedkit.errors import AdaptationError
from embedkit.specs import canonical_json

_log = logging.getLogger("embedkit")

Read = Callable[[Rows, npt.NDArray[np.intp] | int], npt.NDArray[Any]]
"""(rows, view of each) -> what enters the tail, (n, width)."""

Computed = TypeVar("Computed")

_PREDICTED_AT_ONCE = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How a tail is trained.

    Attributes
    ----------
    rate : float
        Of the classifier, at its peak; a block further from it has `layer_decay` times the rate of the next.
    epochs : int
    weight_decay, layer_decay, smoothing : float
    batch_size : int
    gradual : bool
        One block after the other begins to learn, the last first, over the first half of the epochs (Howard, Ruder
        2018, arXiv:1801.06146).
    mixup : float
        Two images of a batch become one, with shares drawn from Beta(mixup, mixup), and so do their classes: of pixels
        as in Zhang et al. 2018 (arXiv:1710.09412), of maps as in Verma et al. 2019 (arXiv:1806.05236). 0: none do.
    ema_decay : float
        What is kept is the mean of the weights over the steps, each step weighing 1 - ema_decay; at first more, as
        timm's ModelEmaV3 warms up. 0: the last weights.
    patience : int
        Epochs without a smaller loss of the selection rows after which training stops, and the best epoch counts; 0: it
        does not stop.
    last : int
        Stop after this epoch of the schedule; 0: after all.
    batch_norm : {"eval", "train"}
        Whether batch norms of the tuned blocks keep their statistics.
    warm_up : float
        Share of the steps.
    clip : float
        Largest norm of a gradient.
    bf16 : bool
        Multiply in bfloat16; the tensors that are trained stay fp32.
    seed : int
    """

    rate: float
    epochs: int
    weight_decay: float = 0.05
    layer_decay: float = 0.8
    gradual: bool = False
    smoothing: float = 0.1
    batch_size: int = 64
    mixup: float = 0.0
    ema_decay: float = 0.0
    patience: int = 0
    last: int = 0
    batch_norm: Literal["eval", "train"] = "eval"
    warm_up: float = 0.1
    clip: float = 1.0
    bf16: bool = False
    seed: int = 0


@dataclass(slots=True, kw_only=True)
class Trained:
    """What a run came to.

    Attributes
    ----------
    state : dict of str to float32 array
    epochs : int
        Done.
    losses : list of float
        Mean of each epoch.
    scores : list of (float, float)
        After each epoch: accuracy on the selection rows, and mean log-loss after temperature; empty where there are
        none.
    best : int
        The epoch of the least log-loss; 0 where there are no selection rows.
    stopped : bool
        Whether training stopped there.
    """

    state: State
    epochs: int = 0
    losses: list[float] = field(default_factory=list[float])
    scores: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    best: int = 0
    stopped: bool = False


def train(
    tail: Tail,
    read: Read,
    y: npt.NDArray[np.intp],
    rows: Rows,
    views: int,
    schedule: Schedule,
    *,
    select: Rows | None = None,
    checkpoint: Path | None = None,
    of: str = "",
    step: Callable[[], None] | None = None,
) -> Trained:
    """Train a tail on rows, in place.

    Parameters
    ----------
    tail : Tail
        At its start.
    read : callable
    y : ndarray of intp
        Class of each row.
    rows : ndarray of intp
        What is trained on. In an epoch each comes once, as the image itself or as one of its `views`, drawn.
    views : int
    schedule : Schedule
    select : ndarray of intp, optional
        Rows to look at after each epoch; by them training stops where the schedule has a patience.
    checkpoint : Path, optional
        Where to keep what a resumed run goes on from.
    of : str
        What is trained, beside what is seen here: a checkpoint of something else is not taken up.
    step : callable, optional
        Called after each epoch.

    Raises
    ------
    AdaptationError
        The loss is not finite any more.
    """
    groups: dict[str, Any] = {"layer_decay": schedule.layer_decay} if tail.depth else {}
    optimizer = create_optimizer_v2(
        tail.model, opt="adamw", lr=schedule.rate, weight_decay=schedule.weight_decay, **groups
    )
    updates = math.ceil(len(rows) / schedule.batch_size)
    scheduler = cast(Any, create_scheduler_v2)(
        optimizer,
        sched="cosine",
        num_epochs=schedule.epochs,
        warmup_epochs=max(1, round(schedule.warm_up * schedule.epochs)) if schedule.epochs > 1 else 0,
        warmup_lr=schedule.rate / 100,
        min_lr=0.0,
        step_on_epochs=False,
        updates_per_epoch=updates,
    )[0]
    key = _key(tail, y, rows, views, schedule, select, of)
    mean: Any = ModelEmaV3(tail.model, schedule.ema_decay, use_warmup=True) if schedule.ema_decay else None
    trained, best = _resume(tail, optimizer, mean, checkpoint, key)
    parameters = [one for _, one in tail.trained()]
    room = _Room(schedule.batch_size)
    for epoch in range(trained.epochs, schedule.last or schedule.epochs):
        if trained.stopped:
            break
        tail.learn_statistics(schedule.batch_norm == "train")
        draws = np.random.default_rng([schedule.seed, epoch])
        order = draws.permutation(rows)
        drawn = draws.integers(0, views + 1, len(order))
        total = 0.0
        if schedule.gradual:
            tail.thaw(min(tail.depth, math.ceil(2 * tail.depth * (epoch + 1) / schedule.epochs)))
        for number in range(updates):
            scheduler.step_update(epoch * updates + number)
            span = slice(number * schedule.batch_size, (number + 1) * schedule.batch_size)
            maps = _on(tail, read(order[span], drawn[span])).float()
            targets = _on(tail, y[order[span]])
            if schedule.mixup:
                share = float(draws.beta(schedule.mixup, schedule.mixup))
                targets = torch.nn.functional.one_hot(targets, tail.head.out_features).float()
                maps, targets = (share * one + (1 - share) * one.flip(0) for one in (maps, targets))
            optimizer.zero_grad(set_to_none=True)
            value = room.of(lambda most, maps=maps, targets=targets: _gradient(tail, maps, targets, schedule, most))
            if not math.isfinite(value):
                raise AdaptationError(
                    f"the loss is {value} in step {epoch * updates + number + 1} at a rate of {schedule.rate:g}: "
                    "tuning diverges, take a smaller rate"
                )
            torch.nn.utils.clip_grad_norm_(parameters, schedule.clip)
            optimizer.step()
            if mean is not None:
                mean.update(tail.model, step=epoch * updates + number)
            total += value * len(maps)
        trained.epochs = epoch + 1
        trained.losses.append(total / len(rows))
        tail.learn_statistics(False)
        if select is not None:
            with _averaged(tail, mean):
                trained.scores.append(score(logits_of(tail, read, select, bf16=schedule.bf16), y[select]))
                if trained.scores[-1][1] == min(loss for _, loss in trained.scores):
                    trained.best, best = epoch + 1, _held(tail)
            trained.stopped = trained.best > 0 and 0 < schedule.patience <= epoch + 1 - trained.best
        if checkpoint is not None:
            _keep(trained, tail, optimizer, mean, best, checkpoint, key)
        if step is not None:
            step()
    if trained.stopped:
        tail.take(best)
    elif mean is not None:
        tail.take(_held(tail, mean.module))
    trained.state = tail.state()
    return trained


def logits_of(tail: Tail, read: Read, rows: Rows, *, bf16: bool = False) -> npt.NDArray[np.float32]:
    """Return the logits of rows, of the images themselves, (n, classes)."""
    found: list[npt.NDArray[np.float32]] = []
    room = _Room(_PREDICTED_AT_ONCE)
    with torch.inference_mode(), _precision(tail, bf16):
        start = 0
        while start < len(rows):
            found.append(room.of(lambda most, start=start: _forward(tail, read, rows[start : start + most])))
            start += len(found[-1])
    return np.concatenate(found) if found else np.zeros((0, tail.head.out_features), np.float32)


def _forward(tail: Tail, read: Read, rows: Rows) -> npt.NDArray[np.float32]:
    return tail(_on(tail, read(rows, 0)).float()).float().cpu().numpy()


def _on(tail: Tail, values: npt.NDArray[Any]) -> Tensor:
    """Bring rows to where a tail computes, in the width that they are kept in."""
    return torch.from_numpy(values).to(tail.device)  # pyright: ignore[reportUnknownMemberType]


def _gradient(tail: Tail, maps: Tensor, targets: Tensor, schedule: Schedule, most: int) -> float:
    """Add the gradient of a batch, `most` of its images at once; return its loss."""
    tail.zero_grad(set_to_none=True)  # of what memory ended in
    total = 0.0
    for start in range(0, len(maps), most):
        some, wanted = maps[start : start + most], targets[start : start + most]
        with _precision(tail, schedule.bf16):
            logits = tail(some)
        loss = torch.nn.functional.cross_entropy(logits.float(), wanted, label_smoothing=schedule.smoothing)
        loss = loss * (len(some) / len(maps))
        loss.backward()  # pyright: ignore[reportUnknownMemberType]
        total += float(loss.item())
    return total


class _Room:
    """How many images memory holds at once: half as many whenever it ends."""

    def __init__(self, most: int) -> None:
        self.most = most

    def of(self, compute: Callable[[int], Computed]) -> Computed:
        """Compute something of at most so many images at once.

        Raises
        ------
        AdaptationError
            Memory does not hold one image.
        """
        while True:
            try:
                return compute(self.most)
            except (RuntimeError, MemoryError) as error:
                if not memory_ended(error):
                    raise
                said = str(error).partition("\n")[0]
            if self.most == 1:
                raise AdaptationError(f"memory does not hold the tuning of one image ({said}): take fewer blocks")
            self.most = (self.most + 1) // 2
            _log.warning("memory ended: going on with %d images at once, to the same gradients", self.most)


def score(logits: npt.NDArray[np.float32], y: npt.NDArray[np.intp]) -> tuple[float, float]:
    """Return the accuracy of logits and their mean log-loss after temperature, as `judged` takes it.

    Without it smoothed labels and changed views alone would make the loss grow in the first epochs, however much is
    learnt.
    """
    return float((logits.argmax(axis=1) == y).mean()), float(calibrated_losses(logits, y).mean())


def _precision(tail: Tail, bf16: bool) -> Any:
    return torch.autocast(tail.device.type, torch.bfloat16) if bf16 else nullcontext()


def _key(
    tail: Tail,
    y: npt.NDArray[np.intp],
    rows: Rows,
    views: int,
    schedule: Schedule,
    select: Rows | None,
    of: str,
) -> str:
    """Name all that decides the outcome, the start of the trained tensors among it."""
    digest = hashlib.sha256()
    said = {name: getattr(schedule, name) for name in Schedule.__slots__}
    digest.update(canonical_json({"schedule": said, "views": views, "depth": tail.depth, "of": of}).encode())
    for values in (y, rows, np.zeros(0, np.intp) if select is None else select):
        digest.update(np.ascontiguousarray(values, np.int64).tobytes() + b";")
    for name, value in sorted(tail.state().items()):
        digest.update(name.encode() + value.tobytes())
    digest.update(f"{torch.__version__} {tail.device.type}".encode())
    return digest.hexdigest()


@contextmanager
def _averaged(tail: Tail, mean: Any) -> Generator[None]:
    """Give a tail the mean of the weights over the steps for a while, where there is one."""
    if mean is None:
        yield
        return
    live = _held(tail)
    tail.take(_held(tail, mean.module))
    try:
        yield
    finally:
        tail.take(live)


def _held(tail: Tail, model: Any = None) -> dict[str, Tensor]:
    """Return copies of what training changes, of a tail's own network or of another copy of it."""
    return {name: one.detach().clone() for name, one in tail.learnt(model)}


def _keep(
    trained: Trained,
    tail: Tail,
    optimizer: torch.optim.Optimizer,
    mean: Any,
    best: dict[str, Tensor],
    path: Path,
    key: str,
) -> None:
    held = {
        "epochs": trained.epochs,
        "losses": trained.losses,
        "scores": [list(pair) for pair in trained.scores],
        "best": trained.best,
        "stopped": trained.stopped,
        "state": _held(tail),
        "state of the best": best,
        "mean": {} if mean is None else _held(tail, mean.module),
        "optimizer": optimizer.state_dict(),
    }
    keep(path, key, held)


def _resume(
    tail: Tail, optimizer: torch.optim.Optimizer, mean: Any, path: Path | None, key: str
) -> tuple[Trained, dict[str, Tensor]]:
    """Take up what a run of the same kept, and the state of its best epoch; whatever else is there is not looked at."""
    held = held_in(path, key)
    if held is None:
        return Trained(state={}), {}
    optimizer.load_state_dict(held["optimizer"])
    tail.take(held["state"])
    if mean is not None:
        tail.take(held["mean"], mean.module)
    trained = Trained(state={}, epochs=int(held["epochs"]), losses=[*held["losses"]])
    trained.scores = [(float(a), float(b)) for a, b in held["scores"]]
    trained.best, trained.stopped = int(held["best"]), bool(held["stopped"])
    return trained, held["state of the best"]
