"""distill: a small network that has learnt what a large one says of images, and a card that says what it is worth.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedkit.backbones import FeatureRequest, as_request
from embedkit.errors import OutputExistsError, UsageError
from embedkit.extraction import Progress, Resolution, resolve
from embedkit.render import card_of
from embedkit.results import DistillResult
from embedkit.workflows.lesson_images import as_targets, open_lesson
from embedkit.workflows.origins import origin_of
from embedkit.workflows.student_judging import judge_student, licence, open_judged, pace, tested_digests
from embedkit.workflows.student_lesson import ask_teacher, check_start, lesson_of, teach_student
from embedkit.workflows.student_task import agreed_on, open_classifier, write_model
from embedkit.workflows.targets import open_store

if TYPE_CHECKING:
    from embedkit.adaptation import DistillSettings

_log = logging.getLogger("embedkit")


def distill(
    images: Any,
    student: str | FeatureRequest,
    teacher: str | FeatureRequest | None = None,
    *,
    output: str | os.PathLike[str],
    labels: bool = False,
    student_task: str | os.PathLike[str] | None = None,
    model_output: str | os.PathLike[str] | None = None,
    wider: str | FeatureRequest | None = None,
    evaluate: Any = (),
    settings: DistillSettings | None = None,
    label_column: str | None = None,
    store: str | os.PathLike[str] | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> DistillResult:
    """Teach a small network what a large one says of images.

    The teacher's features of each image and of its random views come through the store: a second student of the same
    teacher makes no pass through it. No label is needed. What was interrupted goes on after the last epoch.

    Parameters
    ----------
    images : path, or sequence of paths
        Folders, manifests or archives of images; each may have labels or not. Rows of a test split are left out.
    student : str or FeatureRequest
        A small model of timm's. By its name alone it starts from random weights; a request may name others, and an
        input size of its own.
    teacher : str or FeatureRequest, optional
        The model whose features are taught; left out beside `student_task`, whose model has its own.
    output : path
        Where the student's weights are written, ``.safetensors``: an ordinary file for ``extract --weights FILE``.
    labels : bool
        Teach the labels of the images, too; images without any teach features alone.
    student_task : path, optional
        A model file of `fit`, whose classes are taught too: its probabilities for each image and view.
    model_output : path, optional
        Beside `student_task`: where the student with its classifier is written as a model file, ``.skops``, which
        `predict` and `export_model` take.
    wider : str or FeatureRequest, optional
        A wider network of the student's family with trained weights: the student starts as a part of it.
    evaluate : path, or sequence of paths
        Labelled data on which pixels, teacher, student and the student with random weights are compared.
    settings : DistillSettings, optional
    label_column, store, progress
        As in `probe`.
    force : bool
        Replace the outputs.

    Returns
    -------
    DistillResult

    Raises
    ------
    EmptySourceError
        There is no image to train on.
    LabelsError
        Labels are to be learnt and missing, or of one class only.
    UsageError
        Student and teacher are one network, or arguments do not go together.
    AdaptationError
        Distillation diverges, or memory does not suffice.

    Examples
    --------
    >>> result = distill("photos/", "mobilenetv3_small_050", "resnet50.a1_in1k", output="small.safetensors",
    ...                  evaluate="labelled/")  # doctest: +SKIP
    >>> result.retained  # doctest: +SKIP
    {'labelled': 0.83}
    """
    from embedkit.adaptation import DistillSettings

    chosen = settings or DistillSettings()
    _check_outputs(output, model_output, student_task, force)
    classifier = None if student_task is None else open_classifier(student_task)
    if (teacher is None) == (classifier is None):
        raise UsageError(
            "name one teacher: a model by --teacher (teacher=...), or a model file by --student-task (student_task=...)"
        )
    if labels and classifier is not None:
        raise UsageError("the classes are those of the model file: leave --labels (labels=True) out")
    taught_by = classifier.request if classifier is not None else as_request(teacher)
    start = None if wider is None else as_request(wider)
    pupil = as_request(student) if isinstance(student, FeatureRequest) else FeatureRequest(student, "random")
    _check_pair(pupil, taught_by)
    if start is not None and pupil.weights != "random":
        raise UsageError("the student starts from its own weights, or as a part of a wider network: leave one out")
    trained = start is not None or pupil.weights != "random"
    chosen = dataclasses.replace(chosen, rate=chosen.peak_rate(trained=trained))
    feature_store = open_store(store)
    judged = open_judged(as_targets(evaluate), classifier)
    lesson_images = open_lesson(
        as_targets(images),
        tested_digests(judged, feature_store),
        feature_store,
        label_column=label_column,
        labels=labels,
    )
    own = _own_request(pupil)
    learner, _ = resolve(dataclasses.replace(own, weights="random"), feature_store)
    check_start(own, learner.spec, start)
    began = time.monotonic()
    lesson_images, taught = ask_teacher(lesson_images, taught_by, classifier, chosen, feature_store, progress)
    teacher_seconds = time.monotonic() - began
    for said in _of_sizes(learner, taught.resolution, str(pupil.model), str(taught_by.model)):
        _log.warning("%s", said)
    lesson = lesson_of(lesson_images, taught, classifier, chosen, labels=labels)
    made = teach_student(lesson_images, taught, lesson, own, learner.spec, start, chosen, feature_store, progress)
    from embedkit.adaptation import write_student

    write_student(made.student, output)
    weighed = dataclasses.replace(own, weights=os.fspath(output))
    agreed = []
    if classifier is not None:
        fitted = write_model(made.student, weighed, classifier, lesson_images.source, model_output, feature_store)
        agreed = agreed_on(judged, classifier, fitted, weighed, lesson_images.source, feature_store)
    results = judge_student(
        judged,
        taught_by,
        weighed,
        lesson_images.digests,
        feature_store,
        start=None if made.start is None else dataclasses.replace(own, weights=os.fspath(made.start)),
        seed=chosen.random_state,
        progress=progress,
    )
    result = DistillResult(
        teacher=str(taught_by.model),
        student=str(pupil.model),
        output=str(output),
        model_output=None if model_output is None else str(model_output),
        task="labels" if labels else "" if student_task is None else str(student_task),
        start=_start(pupil, start),
        use=_use(pupil, str(output)),
        data=lesson_images.names,
        images=len(lesson_images.source),
        labelled=sum(map(bool, lesson_images.labels)) if labels else 0,
        views=chosen.views,
        epochs=made.epochs,
        batch_size=made.batch_size,
        losses=made.losses,
        teacher_passes=taught.passes,
        student_passes=made.passes,
        teacher_seconds=teacher_seconds,
        seconds=made.seconds,
        cpu_seconds=made.cpu_seconds,
        peak_bytes=made.peak_bytes,
        parameters=made.student.parameters_of_network(),
        teacher_parameters=_parameters(taught.resolution),
        width=made.student.width,
        teacher_width=taught.resolution.spec.backbone.width,
        input_size=learner.spec.preprocess.input_size,
        teacher_input_size=taught.resolution.spec.preprocess.input_size,
        images_per_second=pace(weighed),
        teacher_images_per_second=pace(taught_by),
        licences={
            str(one.model): licence(one) for one in (taught_by, pupil, start) if one is not None and _has_weights(one)
        },
        judged=results,
        agreed=agreed,
        retained={one.data: one.retained for one in results},
        skipped=lesson_images.skipped,
        notes=lesson_images.notes,
        origin=origin_of(
            "distill",
            {
                "images": images,
                "teacher": teacher,
                "student": student,
                "labels": labels or None,
                "student_task": student_task,
                "wider": wider,
                "evaluate": evaluate or None,
                **{name: getattr(chosen, name) for name in DistillSettings.__slots__},
                "output": output,
                "model_output": model_output,
                "label_column": label_column,
            },
            seeds=[chosen.random_state],
            sources=[lesson_images.source.name],
            fingerprints={str(taught_by.model): taught.resolution.spec.fingerprint},
        ),
    )
    made.checkpoint.unlink(missing_ok=True)  # so far, a run that is killed while it judges goes on there
    if made.start is not None:
        made.start.unlink(missing_ok=True)
    return dataclasses.replace(result, card=card_of(result))


def _own_request(student: FeatureRequest) -> FeatureRequest:
    """Return the request of a student as it is trained: by torch, in fp32, its own output."""
    if student.outputs != ((None, "auto"),):
        raise UsageError("a student is taught its own output: leave its layer and pool out")
    return dataclasses.replace(student, precision="fp32", engine="torch", dtype="float32")


def _check_pair(student: FeatureRequest, teacher: FeatureRequest) -> None:
    if student.model == teacher.model:
        raise UsageError(
            f"student and teacher are both {student.model}: name another, smaller network as the student "
            "(`embedkit models` lists them with their sizes)"
        )
    if teacher.weights == "random":
        raise UsageError(f"the teacher {teacher.model} has random weights, and nothing to teach")


def _check_outputs(
    output: str | os.PathLike[str],
    model_output: str | os.PathLike[str] | None,
    student_task: str | os.PathLike[str] | None,
    force: bool,
) -> None:
    if model_output is not None and student_task is None:
        raise UsageError(
            "a model file is of a classifier: name one by --student-task (student_task=...), or leave it out"
        )
    if student_task is not None and model_output is None:
        raise UsageError("name the model file to write, .skops, by --model-output (model_output=...)")
    for named, suffix in ((output, ".safetensors"), (model_output, ".skops")):
        if named is None:
            continue
        path = Path(named)
        if path.suffix != suffix:
            raise UsageError(f"{path} ends in {path.suffix!r}, expected {suffix}")
        if path.exists() and not force:
            raise OutputExistsError(f"{path} exists; name another file, or use --force (force=True) to replace it")
        if not path.absolute().parent.is_dir():
            raise UsageError(f"the folder {path.absolute().parent} does not exist; create it first")


def _of_sizes(student: Resolution, teacher: Resolution, name: str, teacher_name: str) -> list[str]:
    """Say where a student is no smaller than its teacher."""
    notes: list[str] = []
    width, given = student.spec.backbone.width, teacher.spec.backbone.width
    if width > given:
        notes.append(
            f"the student is wider than the teacher: {width} features an image of {name}, {given} of {teacher_name}; "
            "its features take more room, not less"
        )
    if 0 < _parameters(teacher) <= _parameters(student):
        notes.append(
            f"the student is not smaller: {_parameters(student):,} parameters, the teacher {_parameters(teacher):,}"
        )
    return notes


def _parameters(resolution: Resolution) -> int:
    found = resolution.provenance.get("parameters")
    return found if isinstance(found, int) else 0


def _has_weights(request: FeatureRequest) -> bool:
    """Whether what is written holds something of somebody's weights, or learnt from them."""
    return request.weights != "random"


def _start(student: FeatureRequest, wider: FeatureRequest | None) -> str:
    if wider is not None:
        return f"a part of {wider.model}"
    return "random weights" if student.weights == "random" else str(student.weights)


def _use(student: FeatureRequest, output: str) -> str:
    size = student.overrides.input_size
    sized = "" if size is None else f" --input-size {size[0]}x{size[1]}"
    return f"embedkit extract PHOTOS --model {student.model} --weights {output}{sized} -o features.h5"
