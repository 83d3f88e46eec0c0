"""What a teacher says of images and their views, and a student that is taught it.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embedkit.backbones import FeatureRequest
from embedkit.errors import AdaptationError
from embedkit.extraction import PixelRows, Progress, Resolution, run
from embedkit.specs import FeatureSpec, canonical_json
from embedkit.store import FeatureStore
from embedkit.workflows.fit_ticks import FitTicks
from embedkit.workflows.lesson_images import LessonImages
from embedkit.workflows.student_task import Classifier

if TYPE_CHECKING:
    from embedkit.adaptation import DistillSettings, Lesson

_SHOWN_PIXELS = 1 << 23
"""Of images and views by which a start in a wider network is chosen: what that needs of memory grows with them."""


@dataclasses.dataclass(slots=True, kw_only=True)
class TaughtFeatures:
    """What the teacher says: features of the images, then of each view; and what that took."""

    features: list[Any]
    resolution: Resolution
    fingerprints: list[str]
    passes: int


@dataclasses.dataclass(slots=True, kw_only=True)
class MadeStudent:
    """A student, and what making it took, as `DistillResult` says it."""

    student: Any
    epochs: int
    batch_size: int
    losses: list[float]
    passes: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    checkpoint: Path
    start: Path | None


def ask_teacher(
    images: LessonImages,
    teacher: FeatureRequest,
    classifier: Classifier | None,
    settings: DistillSettings,
    store: FeatureStore,
    progress: Progress | None,
) -> tuple[LessonImages, TaughtFeatures]:
    """Ask the teacher, or the store, about each image and view."""
    found = run(images.source, teacher, store, progress=progress)
    if classifier is not None:
        classifier.check(found.resolution.spec)
    images = images.without(found.failures)
    extractions = [found]
    for view in range(1, settings.views + 1):
        parts = teacher.overrides.given() | {"view": view, "view_seed": settings.random_state}
        viewed = run(images.source, dataclasses.replace(teacher, preprocess=parts), store, progress=progress)
        if viewed.failures:
            row, reason = next(iter(viewed.failures.items()))
            raise AdaptationError(f"{images.source.keys[row]} gives no features in view {view}: {reason}")
        extractions.append(viewed)
    return images, TaughtFeatures(
        features=[one.features.get(images.digests).astype(np.float32) for one in extractions],
        resolution=found.resolution,
        fingerprints=[one.features.fingerprint for one in extractions],
        passes=sum(one.forward_passes for one in extractions),
    )


def lesson_of(
    images: LessonImages,
    taught: TaughtFeatures,
    classifier: Classifier | None,
    settings: DistillSettings,
    *,
    labels: bool,
) -> Lesson:
    """Return what is taught: features, and the probabilities of a classifier or the labels."""
    from embedkit.adaptation import Lesson, normalised, one_hot

    targets = normalised(taught.features)
    if classifier is not None:
        chances = np.stack([classifier.chances(one) for one in taught.features])
        return Lesson(targets=targets, classes=chances.shape[-1], chances=chances)
    if not labels:
        return Lesson(targets=targets)
    names = sorted(set(images.labels) - {""})
    places = {name: code for code, name in enumerate(names)}
    codes = np.array([places.get(label, -1) for label in images.labels], np.intp)
    return Lesson(targets=targets, classes=len(names), chances=one_hot(codes, len(names), settings.views))


def teach_student(
    images: LessonImages,
    taught: TaughtFeatures,
    lesson: Lesson,
    student: FeatureRequest,
    spec: FeatureSpec,
    wider: FeatureRequest | None,
    settings: DistillSettings,
    store: FeatureStore,
    progress: Progress | None,
) -> MadeStudent:
    """Teach a student, from where an interrupted run left off.

    Parameters
    ----------
    images : LessonImages
    taught : TaughtFeatures
    lesson : Lesson
    student : FeatureRequest
        With the weights that it starts from.
    spec : FeatureSpec
        How the student takes images.
    wider : FeatureRequest or None
    settings : DistillSettings
    store : FeatureStore
        In whose memo folder the checkpoint lies.
    progress : callable or None
    """
    from embedkit.adaptation import Peak, Student, build_student, teach, write_student

    views = [
        dataclasses.replace(spec.preprocess, view=view, view_seed=settings.random_state if view else 0)
        for view in range(settings.views + 1)
    ]
    peak = Peak()
    pixels = PixelRows(images.source, spec.decode, views)
    shown = None if wider is None else _shown(pixels, len(images.source), spec, settings)
    of = canonical_json(
        {
            "teacher": taught.fingerprints,
            "images": hashlib.sha256(images.digests.tobytes()).hexdigest(),
            "pixels": dataclasses.asdict(spec.preprocess),
            "decode": dataclasses.asdict(spec.decode),
        }
    )
    name = hashlib.sha256(canonical_json([of, str(student.model), dataclasses.asdict(settings)]).encode()).hexdigest()
    checkpoint = store.memo_folder / f"distill-{name[:16]}.pt"
    start = checkpoint.with_suffix(".safetensors")

    def make() -> Student:
        made = build_student(
            student,
            spec.preprocess.mean,
            spec.preprocess.std,
            spec.preprocess.input_size,
            outputs=lesson.targets.shape[-1],
            classes=lesson.classes,
            seed=settings.random_state,
            wider=wider,
            pixels=shown,
        )
        if made.trained:
            write_student(made, start)
        return made

    began, cpu_began = time.monotonic(), time.process_time()
    step = FitTicks(settings.epochs, progress, "epochs").done
    made, run_of = teach(make, pixels.read, lesson, settings, checkpoint=checkpoint, of=of, step=step)
    return MadeStudent(
        student=made,
        epochs=run_of.epochs,
        batch_size=run_of.batch_size,
        losses=run_of.losses,
        passes=run_of.passes,
        seconds=time.monotonic() - began,
        cpu_seconds=time.process_time() - cpu_began,
        peak_bytes=peak.read(),
        checkpoint=checkpoint,
        start=start if made.trained else None,
    )


def _shown(pixels: PixelRows, images: int, spec: FeatureSpec, settings: DistillSettings) -> Any:
    """Return some images, each as itself or as one of its views, as sharp as the student will see them."""
    from embedkit.adaptation import coarsened

    draws = np.random.default_rng(settings.random_state)
    height, width = spec.preprocess.input_size
    many = min(max(1, _SHOWN_PIXELS // (height * width)), images * (settings.views + 1))
    taken = draws.permutation(images * (settings.views + 1))[:many]
    return coarsened(pixels.read(taken % images, taken // images), settings.coarse, draws)


def check_start(student: FeatureRequest, spec: FeatureSpec, wider: FeatureRequest | None) -> None:
    """Build a student and throw it away: what it cannot be is said before the teacher is asked.

    Raises
    ------
    AdaptationError
        It gives no vector an image, or the wider network is of another family.
    """
    from embedkit.adaptation import build_student

    known = spec.preprocess
    build_student(student, known.mean, known.std, known.input_size, outputs=1, wider=wider)
