"""One run of distillation: outputs drawn to the teacher's, resumable after a kill to the same bits on a CPU.

The loss of an image is 1 - cosine to the teacher's normalised features; beside it, of each two images of a batch, the
squared difference of how alike they are to the student and to the teacher (as relational distillation has it: Park et
al., CVPR 2019; Tung and Mori, ICCV 2019). Of a task comes the cross-entropy to its probabilities.

What an epoch sees depends on the seed and its number alone, so a checkpoint is the tensors and the optimizer's.

Layer: adaptation. Imports torch and timm; loaded when something is distilled.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from timm.optim import create_optimizer_v2  # pyright: ignore[reportPrivateImportUsage]
from timm.scheduler import create_scheduler_v2  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor
from torch.nn import functional

from embedkit.adaptation.checkpoints import held_in, keep
from embedkit.adaptation.coarsening import coarsened
from embedkit.adaptation.lessons import DistillSettings, Lesson, Rows
from embedkit.adaptation.student import Student
from embedkit.errors import AdaptationError
from embedkit.specs import canonical_json

_log = logging.getLogger("embedkit")
_WARM_UP = 0.05
_CLIP = 5.0
_SMALLEST_BATCH = 8
"""Batch norms of fewer images say nothing."""

ReadPixels = Callable[[Rows, Rows], npt.NDArray[np.uint8]]
"""(rows, view of each) -> uint8 (n, H, W, 3)."""


@dataclass(slots=True, kw_only=True)
class Taught:
    """What a run came to; the student itself is changed in place.

    Attributes
    ----------
    epochs : int
        Done.
    losses : list of float
        Mean of each epoch.
    batch_size : int
        As memory allowed.
    passes : int
        Images and views that went through the student in this run.
    """

    epochs: int = 0
    losses: list[float] = field(default_factory=list[float])
    batch_size: int = 0
    passes: int = 0


def teach(
    make_student: Callable[[], Student],
    read: ReadPixels,
    lesson: Lesson,
    settings: DistillSettings,
    *,
    checkpoint: Path | None = None,
    of: str = "",
    step: Callable[[], None] | None = None,
) -> tuple[Student, Taught]:
    """Teach a student, with a smaller batch where memory does not suffice.

    Parameters
    ----------
    make_student : callable
        Returns it at its start.
    read : callable
    lesson : Lesson
    settings : DistillSettings
    checkpoint : Path, optional
        Where to keep what a resumed run goes on from, after each epoch.
    of : str
        What is taught and seen, beside the settings: a checkpoint of something else is not taken up.
    step : callable, optional
        Called after each epoch, and for each that a checkpoint holds.

    Raises
    ------
    AdaptationError
        The loss is not finite any more, or memory does not suffice for the smallest batch.
    """
    while True:
        try:
            return _teach(make_student(), read, lesson, settings, checkpoint, of, step)
        except (MemoryError, RuntimeError) as error:
            if not _is_of_memory(error):
                raise
            half = settings.batch_size // 2
            if half < _SMALLEST_BATCH:
                raise AdaptationError(
                    f"there is no memory to teach with {settings.batch_size} images at once, and fewer than "
                    f"{_SMALLEST_BATCH} say nothing: take a smaller input size or student"
                ) from error
            _log.warning("out of memory: the batch size is now %d", half)
            settings = replace(settings, batch_size=half)


def _is_of_memory(error: Exception) -> bool:
    """Whether it is what torch's allocators say, that for CPUs without a type of its own."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def _teach(
    student: Student,
    read: ReadPixels,
    lesson: Lesson,
    settings: DistillSettings,
    checkpoint: Path | None,
    of: str,
    step: Callable[[], None] | None,
) -> tuple[Student, Taught]:
    count = lesson.targets.shape[1]
    size = min(settings.batch_size, count)
    updates = max(1, count // size)  # the rest of an epoch is left for another: batch norms want whole batches
    rate = settings.peak_rate(trained=student.trained)
    optimizer = create_optimizer_v2(student, opt="adamw", lr=rate, weight_decay=settings.weight_decay)
    steps = updates * settings.epochs
    scheduler = cast(Any, create_scheduler_v2)(
        optimizer,
        sched="cosine",
        num_epochs=settings.epochs,
        warmup_epochs=max(1, round(_WARM_UP * settings.epochs)) if settings.epochs > 1 else 0,
        warmup_lr=rate / 100,
        min_lr=0.0,
        step_on_epochs=False,
        updates_per_epoch=updates,
    )[0]
    key = _key(student, lesson, settings, of)
    taught = _resume(student, optimizer, checkpoint, key)
    taught.batch_size = size
    if student.trained and not taught.epochs:
        student.fit_projection(_first_look(read, lesson, size))
    parameters = list(student.parameters())
    told = step or _nothing
    for _ in range(taught.epochs):
        told()
    for epoch in range(taught.epochs, settings.epochs):
        student.train()
        draws = np.random.default_rng([settings.random_state, epoch])
        order: Rows = draws.permutation(count)
        views: Rows = cast(Any, draws).integers(0, lesson.views + 1, count)
        mirrored = draws.random(updates) < 0.5
        total = 0.0
        for number in range(updates):
            scheduler.step_update(epoch * updates + number)
            rows = order[number * size : (number + 1) * size]
            pixels = read(rows, views[rows])
            pixels = coarsened(pixels[:, :, ::-1] if mirrored[number] else pixels, settings.coarse, draws)
            loss = _loss(student, pixels, lesson, rows, views, settings)
            value = float(loss.item())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # pyright: ignore[reportUnknownMemberType]
            norm = float(torch.nn.utils.clip_grad_norm_(parameters, _CLIP))
            if not math.isfinite(value) or not math.isfinite(norm):
                raise AdaptationError(
                    f"the loss is {value:g} and its gradient {norm:g} in step {epoch * updates + number + 1} of "
                    f"{steps}, at a rate of {rate:g}: distillation diverges, take a smaller rate"
                )
            optimizer.step()
            total += value
            taught.passes += len(rows)
        taught.epochs = epoch + 1
        taught.losses.append(total / updates)
        if checkpoint is not None:
            _keep(taught, student, optimizer, checkpoint, key)
        told()
    student.eval()
    return student, taught


def _first_look(read: ReadPixels, lesson: Lesson, size: int) -> Iterator[tuple[npt.NDArray[np.uint8], Tensor]]:
    """Yield each image once, as itself or as one of its views, in turn."""
    every: Rows = np.arange(len(lesson.targets[0]), dtype=np.intp)
    views: Rows = every % (lesson.views + 1)
    for begin in range(0, len(every), size):
        rows = every[begin : begin + size]
        targets = lesson.targets[views[rows], rows]
        yield read(rows, views[rows]), torch.from_numpy(targets)  # pyright: ignore[reportUnknownMemberType]


def _nothing() -> None:
    pass


def _loss(
    student: Student,
    pixels: npt.NDArray[np.uint8],
    lesson: Lesson,
    rows: Rows,
    views: Rows,
    settings: DistillSettings,
) -> Tensor:
    targets = torch.from_numpy(lesson.targets[views[rows], rows])  # pyright: ignore[reportUnknownMemberType]
    projected, logits = student(pixels)
    said, wanted = functional.normalize(projected, dim=1), functional.normalize(targets, dim=1)
    loss = (1 - (said * wanted).sum(dim=1)).mean()
    if settings.relational:
        loss = loss + settings.relational * (said @ said.T - wanted @ wanted.T).square().mean()
    if logits is not None and lesson.chances is not None:
        chances = torch.from_numpy(lesson.chances[views[rows], rows])  # pyright: ignore[reportUnknownMemberType]
        # Images of unknown class have no probabilities, and add nothing.
        surprise = -(chances * functional.log_softmax(logits, dim=1)).sum()
        loss = loss + settings.task * surprise / chances.sum().clamp(min=1)
    return loss


def _key(student: Student, lesson: Lesson, settings: DistillSettings, of: str) -> str:
    """Name all that decides the outcome, the start of the student among it."""
    digest = hashlib.sha256()
    said = {name: getattr(settings, name) for name in DistillSettings.__slots__}
    digest.update(canonical_json({"settings": said, "of": of, "torch": torch.__version__}).encode())
    for values in (lesson.targets, np.zeros(0, np.float32) if lesson.chances is None else lesson.chances):
        digest.update(np.ascontiguousarray(values).tobytes() + b";")
    for name, value in student.changing():
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def _keep(taught: Taught, student: Student, optimizer: torch.optim.Optimizer, path: Path, key: str) -> None:
    held = {
        "epochs": taught.epochs,
        "losses": taught.losses,
        "student": dict(student.changing()),
        "optimizer": optimizer.state_dict(),
    }
    keep(path, key, held)


def _resume(student: Student, optimizer: torch.optim.Optimizer, path: Path | None, key: str) -> Taught:
    """Take up what a run of the same kept; whatever else is there is not looked at."""
    held = held_in(path, key)
    if held is None:
        return Taught()
    optimizer.load_state_dict(held["optimizer"])
    student.load_state_dict(held["student"])
    return Taught(epochs=int(held["epochs"]), losses=[*held["losses"]])
