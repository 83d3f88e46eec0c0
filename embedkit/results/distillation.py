"""What `distill` made, and what it is worth: the card of a student.

Layer: results; above record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from embedkit.results.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentJudged:
    """A student beside its teacher on one labelled data set: logistic regression on the features of each.

    Attributes
    ----------
    data : str
    trained_on : bool
        Whether images of the data set were trained on; the tested ones were not, but for a data set without splits.
    pixels, teacher, student, random : float
        Accuracy on the tested rows: of raw pixels, the teacher, the student, the student with random weights.
    interval : (float, float) or None
        95 %, of the student's.
    retained : float or None
        (student - pixels) / (teacher - pixels); None where the teacher gains nothing over pixels.
    p : float
        McNemar's, the student against itself with random weights.
    n_test : int
    reported_on : str
    start : float or None
        Accuracy of the student before it was taught; None where it started from random weights.
    start_retained : float or None
        The share of the teacher's gain over pixels that this start has already.
    start_p : float or None
        McNemar's, the student against its start.
    """

    data: str
    trained_on: bool
    pixels: float
    teacher: float
    student: float
    random: float
    interval: tuple[float, float] | None
    retained: float | None
    p: float
    n_test: int
    reported_on: str
    start: float | None = None
    start_retained: float | None = None
    start_p: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed:
    """How a student's classifier names images beside the one that it learnt from.

    Attributes
    ----------
    data : str
    n_test : int
    agreement : float
        Share of images that both name alike.
    teacher, student : float or None
        Accuracy of each, where the images have labels that the classifiers know.
    trained_on : bool
        Whether these very images were trained on.
    """

    data: str
    n_test: int
    agreement: float
    teacher: float | None = None
    student: float | None = None
    trained_on: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillResult(Record):
    """A student, with what it cost and what it keeps of the teacher.

    Attributes
    ----------
    teacher, student : str
        Models.
    output : str
        The file of weights.
    model_output : str or None
        The model file, where a classifier was distilled.
    task : str
        What was taught beside features: ``""``, ``"labels"``, or the model file of the classifier.
    start : str
        What the student's weights were before.
    use : str
        A command that takes them.
    data : list of str
        Names of what was trained on.
    images, labelled : int
        Images trained on, and those of them with a label that was used.
    views, epochs, batch_size : int
    losses : list of float
        Mean of each epoch.
    teacher_passes, student_passes : int
        Images and views that went through the teacher in this run (the store held the others), and through the student.
    teacher_seconds, seconds, cpu_seconds : float
        Of the teacher's features; of the training by the wall clock and by the processors, in this run.
    peak_bytes : int
        Largest memory of the process in the training.
    parameters, teacher_parameters : int
        Of the networks, classifiers left out.
    width, teacher_width : int
        Features of an image.
    input_size, teacher_input_size : (int, int)
        Height and width in pixels.
    images_per_second, teacher_images_per_second : float
        Of the networks alone on one core, torch in fp32.
    licences : dict of str to str
        Of the weights of the teacher, and of those that the student started from, as timm states them; ``"unknown"``
        where it does not.
    judged : list of StudentJudged
    agreed : list of Agreed
    retained : dict of str to (float or None)
        By data set: the share of the teacher's gain over pixels.
    card : dict of str to str
        All that in lines, as they are printed.
    """

    kind: ClassVar[str] = "distill"

    teacher: str
    student: str
    output: str
    model_output: str | None = None
    task: str = ""
    start: str = "random"
    use: str = ""
    data: list[str] = field(default_factory=list[str])
    images: int
    labelled: int = 0
    views: int = 0
    epochs: int = 0
    batch_size: int = 0
    losses: list[float] = field(default_factory=list[float])
    teacher_passes: int
    student_passes: int = 0
    teacher_seconds: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    parameters: int
    teacher_parameters: int
    width: int
    teacher_width: int
    input_size: tuple[int, int]
    teacher_input_size: tuple[int, int]
    images_per_second: float = 0.0
    teacher_images_per_second: float = 0.0
    licences: dict[str, str] = field(default_factory=dict[str, str])
    judged: list[StudentJudged] = field(default_factory=list[StudentJudged])
    agreed: list[Agreed] = field(default_factory=list[Agreed])
    retained: dict[str, float | None] = field(default_factory=dict[str, "float | None"])
    card: dict[str, str] = field(default_factory=dict[str, str])

    def table(self) -> list[dict[str, Any]]:
        """Return one row a data set that the student was judged on."""
        return [
            {
                "data": one.data,
                "trained_on": one.trained_on,
                "pixels": one.pixels,
                "random": one.random,
                "start": one.start,
                "student": one.student,
                "teacher": one.teacher,
                "retained": one.retained,
                "start_retained": one.start_retained,
                "p": one.p,
                "n_test": one.n_test,
            }
            for one in self.judged
        ]
