"""What might be done beside taking what `select` has chosen, each measured, as far as that is cheap.

No image passes a network for it, but those of a source domain, and those of a trial of tuning, for which a budget has
to have room.

Layer: workflows; used by select.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.adaptation import TuningSettings, check_tunable
from embedkit.backbones import FeatureRequest
from embedkit.errors import AdaptationError, LabelsError
from embedkit.evaluation import holm_correction, mcnemar_test, paired_permutation_test
from embedkit.extraction import Progress
from embedkit.images import ImageSource
from embedkit.results import Gap
from embedkit.selection import (
    DomainTable,
    Halving,
    LabelGain,
    default_adapters,
    gain_of_labels,
    held_out_blocks,
    held_out_rows,
    measure_gap,
)
from embedkit.store import FeatureStore
from embedkit.tables import FeatureTable
from embedkit.workflows.choosing_rows import ChoosingRows
from embedkit.workflows.contestants import Contestants
from embedkit.workflows.finetune import finetune
from embedkit.workflows.floors import PSEUDO
from embedkit.workflows.pace import seconds_an_image
from embedkit.workflows.targets import images_of, open_target

LEVEL = 0.05
"""Of a test that advice stands on."""

MOST_FUSED = 1024
"""Images that several backbones are judged side by side on: each emphasis is a fit of all columns."""

_BESIDE = 2
TRIAL: dict[str, Any] = {"rates": (1e-3,), "views": 1, "epochs": 5, "trial_epochs": 5}
_TRIAL_PASSES = 30
"""What such a trial takes at most, in passes of each image: two depths and the one that is kept, five epochs each, of
half the blocks there and back; and two passes for their maps."""

_TRIED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Fused:
    """The chosen backbone side by side with others, on training images that all have seen.

    Attributes
    ----------
    names : list of str
        The chosen one first.
    value, gain : float
        Accuracy, and what it is more than the chosen one's alone on the same images.
    interval : (float, float)
        95 %, of the gain, over images.
    p_value : float
    rows : int
    """

    names: list[str]
    value: float
    gain: float
    interval: tuple[float, float]
    p_value: float
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherOutput:
    """The best of the other outputs of a network beside its own, on the same training images.

    Attributes
    ----------
    name : str
    gain : float
        Of accuracy, a fraction.
    p_value : float
        Corrected for all other outputs (Holm).
    rows : int
    """

    name: str
    gain: float
    p_value: float
    rows: int

    @property
    def better(self) -> bool:
        """Whether a test says so."""
        return self.gain > 0 and self.p_value <= LEVEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """A short trial of tuning, on the tested images.

    Attributes
    ----------
    depth : int
        How many of the last blocks were tuned; 0 where the validation images supported none.
    frozen, tuned : float
        Accuracy.
    p_value : float
        McNemar's.
    tested : int
    """

    depth: int
    frozen: float
    tuned: float
    p_value: float
    tested: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was measured for advice.

    Attributes
    ----------
    output : OtherOutput or None
    fused : Fused or None
    labels : LabelGain or None
    source : Gap or None
        From a source domain to the target.
    tuned : Tuned or None
    trial_seconds : float or None
        What the trial would take, where there was no budget for it, or too small a one.
    budgeted : bool
        Whether there was a budget at all.
    all_used : bool
        Whether the last round took all images that may choose.
    thorough : bool
        Whether choosing was to go on as far as it can.
    """

    output: OtherOutput | None = None
    fused: Fused | None = None
    labels: LabelGain | None = None
    source: Gap | None = None
    tuned: Tuned | None = None
    trial_seconds: float | None = None
    budgeted: bool = False
    all_used: bool = False
    thorough: bool = False


def best_other_output(right: dict[str, npt.NDArray[np.float64]], own: str) -> OtherOutput | None:
    """Test the outputs of a network against its own; None where there is no other.

    Parameters
    ----------
    right : dict of str to ndarray of shape (n,)
        Of each output, how often each row is named right.
    own : str
    """
    others = [name for name in right if name != own]
    if not others:
        return None
    tests = [paired_permutation_test(right[name], right[own]) for name in others]
    p_values = holm_correction([test.p_value for test in tests])
    best = max(range(len(others)), key=lambda place: tests[place].difference)
    return OtherOutput(
        name=others[best], gain=tests[best].difference, p_value=float(p_values[best]), rows=len(right[own])
    )


def labels_of_images(images: ImageSource) -> npt.NDArray[np.str_]:
    """Return the class of each image, as a name."""
    return np.asarray(cast("list[str]", images.labels), dtype=np.str_)


def measured_labels(
    images: ImageSource, table: FeatureTable, places: npt.NDArray[np.intp], rows: ChoosingRows, groups: Any, seed: int
) -> LabelGain | None:
    """Measure what half the labels lack, on the tested images; None where none of these has features.

    Parameters
    ----------
    places : ndarray of intp
        Of the rows that choose, those that have features.
    groups : ndarray of intp
        Of these.
    """
    y, row_of = labels_of_images(images), {key: row for row, key in enumerate(table.keys)}
    train = rows.choosing[places]
    test = np.array([row for row in rows.tested.tolist() if images.keys[row] in row_of], np.intp)
    if not len(test):
        return None
    names, classes = np.unique(y[train], return_inverse=True)
    number = {name: place for place, name in enumerate(cast("list[str]", names.tolist()))}
    at, tested = (
        np.array([row_of[images.keys[row]] for row in cast("list[int]", some.tolist())]) for some in (train, test)
    )
    tested_classes = np.array([number.get(name, -1) for name in cast("list[str]", y[test].tolist())], np.intp)
    X = table.X
    return gain_of_labels(X[at], classes.astype(np.intp), groups, X[tested], tested_classes, seed=seed)


def measured_side_by_side(
    contestants: Contestants, outcome: Halving, rows: ChoosingRows, places: npt.NDArray[np.intp], chosen: str, seed: int
) -> Fused | None:
    """Judge the chosen backbone beside the best others; None of one network.

    Parameters
    ----------
    places : ndarray of intp
        Of the rows that choose, those that have features of the chosen one; of these count those that all have seen.
    """
    best: dict[str, tuple[int, float, str]] = {}
    for one in outcome.standings:
        if one.network != contestants.network_of[chosen]:
            last = one.estimates[-1]
            best[one.network] = max(best.get(one.network, (0, 0.0, "")), (last.rows, last.value, one.name))
    if not best:
        return None
    names = [chosen, *(name for _, _, name in sorted(best.values(), reverse=True)[:_BESIDE])]
    seen = contestants.in_store(names, rows.choosing[places])
    if len(seen) > MOST_FUSED:
        seen = np.random.default_rng(seed).permutation(seen)[:MOST_FUSED]
    features = contestants.features([contestants.network_of[name] for name in names], seen)
    some = np.flatnonzero(np.isin(rows.choosing, seen))
    order = np.argsort(seen)
    classes = np.unique(rows.classes[some], return_inverse=True)[1].astype(np.intp)
    groups = contestants.together(rows.choosing[some], rows.groups[some])
    groups = np.unique(groups, return_inverse=True)[1].astype(np.intp)
    blocks = [features[name][order] for name in names]
    alone = held_out_rows(blocks[0], classes, groups, seed=seed)
    together = held_out_blocks(blocks, classes, groups, seed=seed)
    gains = together - alone
    margin = 1.96 * float(gains.std()) / np.sqrt(len(gains))
    return Fused(
        names=names,
        value=float(together.mean()),
        gain=float(gains.mean()),
        interval=(float(gains.mean()) - margin, float(gains.mean()) + margin),
        p_value=paired_permutation_test(together, alone, random_state=seed).p_value,
        rows=len(some),
    )


def open_domain(source: Any, target: ImageSource, label_column: str | None, store: FeatureStore) -> ImageSource:
    """Open the images of a source domain, before anything is computed.

    Raises
    ------
    LabelsError
        It has no classes, or fewer than two of the target's.
    """
    images = images_of(open_target(source, label_column=label_column), store)
    if images.target_type != "class":
        raise LabelsError(
            f"the source {images.name} has labels of the kind {images.target_type!r}; whether it helps is measured on "
            "classes: name their column with --label-column"
        )
    common = {*labels_of_images(images).tolist()} & {*labels_of_images(target).tolist()} - {""}
    if len(common) < 2:
        raise LabelsError(
            f"the source {images.name} and {target.name} have {len(common) or 'no'} "
            f"class{'es' if len(common) != 1 else ''} in common; give the same things the same labels in both"
        )
    return images


def measured_gap(
    source: ImageSource,
    target: DomainTable,
    name: str,
    request: FeatureRequest,
    store: FeatureStore,
    *,
    seed: int,
    progress: Progress | None,
) -> Gap:
    """Measure the way from a source domain to the target, in the features that were chosen."""
    contestants = Contestants(source, [request], store, progress)
    [table] = contestants.tables(contestants.networks[0]).values()
    return measure_gap(
        DomainTable(name=source.name, table=table), target, model=name, adapters=default_adapters(), random_state=seed
    )


def tried_tuning(
    images: ImageSource,
    request: FeatureRequest,
    store: FeatureStore,
    *,
    pace: float | None,
    ending: float | None,
    seed: int,
    progress: Progress | None,
) -> tuple[Tuned | None, float | None]:
    """Tune the last blocks for a few epochs where a budget has room for it.

    Parameters
    ----------
    pace : float or None
        Seconds that a pass of an image takes; measured where it is not known.
    ending : float or None
        Until when there is budget; without one nothing is tuned.

    Returns
    -------
    (Tuned or None, float or None)
        The trial; or the seconds that it would take. Neither where the network cannot be tuned.
    """
    settings = TuningSettings(**TRIAL, random_state=seed)
    if request.model in PSEUDO or request.weights == "random":
        return None, None
    try:
        check_tunable(request, "cached", settings)
    except AdaptationError:
        return None, None
    if pace is None:
        pace = seconds_an_image(images, request, None, range(min(_TRIED, len(images))))
    needed = _TRIAL_PASSES * pace * len(images)
    if ending is None or time.monotonic() + needed > ending:
        return None, needed
    try:
        report = finetune(images, request, settings=settings, store=store.path, progress=progress)
    except AdaptationError:
        return None, None
    frozen, tuned = report.rungs[0], report.rungs[-1]
    if frozen.rows is None or tuned.rows is None:
        return None, None
    right, before = (one.y_true == one.y_pred for one in (tuned.rows, frozen.rows))
    p_value = mcnemar_test(right, before).p_value
    depth = tuned.depth if tuned.supported else 0
    return Tuned(depth=depth, frozen=frozen.value, tuned=tuned.value, p_value=p_value, tested=len(right)), None
