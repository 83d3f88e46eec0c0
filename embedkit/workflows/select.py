"""select: which of several backbones, and which layer of it, by probes of few images, then of more.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.backbones import FeatureRequest, as_requests
from embedkit.errors import UsageError
from embedkit.evaluation import errors_naming
from embedkit.extraction import Progress
from embedkit.images import ImageSource
from embedkit.probes import quick
from embedkit.results import RoundEstimate, Selection, SelectionCandidate, Skipped
from embedkit.selection import (
    MOST_ROWS,
    PROBES,
    DomainTable,
    Estimate,
    Halving,
    Probe,
    estimate_of,
    halve,
    held_out_rows,
)
from embedkit.tables import FeatureTable
from embedkit.workflows.advising import advise
from embedkit.workflows.candidates import Candidates, find_candidates
from embedkit.workflows.choosing_rows import ChoosingRows, extract_command, target_words, with_split
from embedkit.workflows.contestants import Contestants
from embedkit.workflows.evidence import (
    Evidence,
    OtherOutput,
    best_other_output,
    measured_gap,
    measured_labels,
    measured_side_by_side,
    open_domain,
    tried_tuning,
)
from embedkit.workflows.judged_scores import judged_scores
from embedkit.workflows.origins import origin_of
from embedkit.workflows.reading import summary_of
from embedkit.workflows.targets import images_of, open_store, open_target

AUTO = "auto"
OWN_OUTPUT = ((None, "auto"),)
QUARTER = 0.25
"""Of the passes of running all networks in full: what choosing and the last network's pass take at most together."""


def select(
    target: Any,
    models: str | FeatureRequest | Sequence[str | FeatureRequest] | None = None,
    *,
    layers: Sequence[int] = (),
    budget: float | None = None,
    tolerance: float = 1.0,
    probe: Probe = "ridge",
    thorough: bool = False,
    advice: bool = False,
    source: Any = None,
    label_column: str | None = None,
    store: str | os.PathLike[str] | None = None,
    random_state: int = 0,
    progress: Progress | None = None,
    chosen: Callable[[Candidates], None] | None = None,
    finished: Callable[[int, int, list[str]], None] | None = None,
) -> Selection:
    """Choose a backbone and a layer by probes of few images, then of more, at a part of the cost of running all.

    All candidates begin on about two training images a class. After each round, those are dropped of which a test says
    that they cannot be the best by more than the tolerance; the networks that are left pass twice as many images. It
    ends when one network is left, or when choosing another of those left is expected to be worth less than the
    tolerance. That network passes all images, its layers are compared on all training images, and the chosen one is
    reported by a full ``quick`` on the tested images, which choose nothing.

    Probes are fitted on one half of the images and judged on the other, five times. At most a quarter of the passes of
    running all is taken, where one round and the last network's own pass leave room, unless `thorough` is asked for.
    Features come through the store, so that `extract` and `probe` go on where this leaves off.

    Parameters
    ----------
    target : path, or sequence of images
        A source of images with one class each, or a feature file, whose recorded images are taken.
    models : str, FeatureRequest, or sequence of them
        At least two candidates, counting layers. ``"auto"`` stands for those of `shortlist` that are at hand and, where
        the hub answers, those that this machine runs in reasonable time.
    layers : sequence of int
        Layers of each model, beside its own output; one pass serves all of them.
    budget : float, optional
        Seconds that all of it may take; the full pass of the chosen network is put aside first.
    tolerance : float
        Points of accuracy, above 0, that the choice may be behind the best.
    probe : {"ridge", "knn", "logistic"}
        What judges the candidates: ridge regression on the classes, the nearest images, or logistic regression. The
        chosen one is reported by nearest images where these judged, else by logistic regression.
    thorough : bool
        Go on until tests have dropped all other networks, or all training images are used.
    advice : bool
        Say what to do next, and what is not worth doing, each with the number behind it. Where a budget has room for
        it, a short trial of tuning is made.
    source : path, or sequence of images, optional
        Another domain with the same classes: the advice says whether its images or a classifier of it serve here.
    label_column, store, progress
        As in `probe`.
    random_state : int
        Seed of every random choice.
    chosen : callable, optional
        Called before anything is computed with the models that ``"auto"`` stands for.
    finished : callable, optional
        Called after each round with its number, its images, and the networks left.

    Returns
    -------
    Selection

    Raises
    ------
    UsageError
        An argument that cannot be honoured, or a budget too small for one round.
    ProbeError
        Labels or splits do not allow an answer.

    Examples
    --------
    >>> from embedkit import select
    >>> found = select("photos/", ["tf_efficientnet_lite0", "mobilenetv3_small_100.lamb_in1k"])  # doctest: +SKIP
    >>> found.chosen, found.cost_share  # doctest: +SKIP
    """
    started = time.monotonic()
    if not tolerance > 0 or not tolerance < 100:
        raise UsageError(f"tolerance={tolerance}, expected points of accuracy above 0 and below 100")
    if budget is not None and not budget > 0:
        raise UsageError(f"budget={budget}, expected seconds above 0")
    if probe not in PROBES:
        raise UsageError(f"probe is {probe!r}, expected {', '.join(PROBES)}")
    feature_store, opened = open_store(store), open_target(target, label_column=label_column)
    images = images_of(opened, feature_store)
    with errors_naming(opened.name):
        rows = ChoosingRows.of(images, random_state)
    domain = None if source is None else open_domain(source, images, label_column, feature_store)
    requests = _requests(models, layers, images, chosen)
    contestants = Contestants(images, requests, feature_store, progress)
    ending = None if budget is None else started + budget
    with errors_naming(opened.name):
        outcome = halve(
            contestants.network_of,
            rows.classes,
            lambda networks, some: contestants.features(networks, rows.choosing[some], ending),
            lambda some: contestants.together(rows.choosing[some], rows.groups[some]),
            tolerance=tolerance / 100,
            probe=probe,
            thorough=thorough,
            seed=random_state,
            affordable=lambda networks, more: contestants.affordable(
                networks, more, ending=ending, share=None if thorough else QUARTER
            ),
            finished=finished or (lambda number, size, left: None),
        )
        scores, scored_on = judged_scores(contestants, outcome, rows)
        choice = _chosen(contestants, outcome, rows, probe)
        name = choice.name
        result = quick(
            choice.table, "knn" if probe == "knn" else "logistic", model=name, random_state=random_state
        ).result
    listed = _listed(contestants, outcome, choice.estimates)
    tied = [one.name for one in outcome.standings if one.dropped is None and one.network != outcome.leader]
    found = Selection(
        candidates=sorted(listed, key=lambda one: (one.name != name, -(one.dropped or 10**6), -one.value)),
        chosen=name,
        tied=tied,
        expected_regret=outcome.regret,
        stopped=outcome.stopped,
        tolerance=tolerance / 100,
        probe=probe,
        images=len(images),
        cost_share=contestants.looked_at() / (len(images) * len(contestants.networks)),
        scores=scores,
        scored_on=scored_on,
        result=dataclasses.replace(result, data=os.path.basename(images.name.rstrip(os.sep)) or images.name),
        command=extract_command(target, contestants.requests[name]),
        skipped=[Skipped(*item) for item in sorted(contestants.failures.items())],
        read=[summary_of(opened).line()],
        notes=list(dict.fromkeys([*rows.notes, *result.notes])),
        origin=origin_of(
            "select",
            {
                "target": target,
                "model": models,
                "layers": list(layers) or None,
                "budget": budget,
                "tolerance": tolerance,
                "probe": probe,
                "thorough": thorough or None,
                "source": source,
                "label_column": label_column,
                "random_state": random_state,
            },
            seeds=[random_state],
            sources=[images.name],
            fingerprints=contestants.fingerprints,
        ),
    )
    if not advice and domain is None:
        return found
    evidence = _evidence(contestants, outcome, rows, choice, domain, ending, random_state)
    return dataclasses.replace(found, advice=advise(found, target_words(target), evidence))


def _requests(
    models: Any, layers: Sequence[int], images: ImageSource, chosen: Callable[[Candidates], None] | None
) -> list[FeatureRequest]:
    """Return a request for each candidate: each model's own output, and the layers that are asked for."""
    asked = as_requests(models) or [FeatureRequest()]
    if [one.model for one in asked] == [AUTO]:
        found = find_candidates([images], device=asked[0].device, floors=False)
        if chosen is not None:
            chosen(found)
        asked = [dataclasses.replace(asked[0], model=one.name) for one in found.models]
    requests = [
        dataclasses.replace(
            one,
            layer=layer,
            precision="fp32" if one.precision == "auto" else one.precision,
            engine="torch" if one.engine == "auto" else one.engine,
        )
        for one in asked
        for layer in ([one.layer] if one.layer is not None else [None, *layers])
    ]
    if len(requests) < 2:
        raise UsageError(
            f"{requests[0].model} is the only candidate; name several models, or --model auto, or layers by --layer"
        )
    return requests


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """The output that was chosen of the last network, and what its outputs reached on the images that may choose."""

    name: str
    table: FeatureTable
    estimates: dict[str, Estimate]
    places: npt.NDArray[np.intp]
    groups: npt.NDArray[np.intp]
    other: OtherOutput | None


def _chosen(contestants: Contestants, outcome: Halving, rows: ChoosingRows, probe: Probe) -> _Choice:
    """Compare the outputs of the network on all images that may choose: its own stays, unless a test says otherwise."""
    tables = contestants.tables(outcome.leader)
    left = [one.name for one in outcome.standings if one.network == outcome.leader and one.dropped is None]
    some = tables[left[0]]
    row_of = {key: row for row, key in enumerate(some.keys)}
    keys = contestants.images.keys
    places = [place for place, row in enumerate(rows.choosing.tolist()) if keys[row] in row_of][:MOST_ROWS]
    at = np.array([row_of[keys[row]] for row in rows.choosing[places].tolist()], np.intp)
    groups = contestants.together(rows.choosing[places], rows.groups[places])
    groups = np.unique(groups, return_inverse=True)[1].astype(np.intp)
    classes = np.unique(rows.classes[places], return_inverse=True)[1].astype(np.intp)
    estimates: dict[str, Estimate] = {}
    right: dict[str, npt.NDArray[np.float64]] = {}
    for name in left:
        started = time.monotonic()
        right[name] = held_out_rows(tables[name].X[at], classes, groups, probe=probe)
        estimates[name] = estimate_of(right[name], time.monotonic() - started)
    best = max(left, key=lambda name: estimates[name].value)
    own = next((name for name in left if contestants.requests[name].outputs == OWN_OUTPUT), None)
    other = None if own is None else best_other_output(right, own)
    if own is not None:
        best = other.name if other is not None and other.better else own
    return _Choice(
        name=best,
        table=with_split(tables[best], contestants.images, rows),
        estimates=estimates,
        places=np.array(places, np.intp),
        groups=groups,
        other=other,
    )


def _evidence(
    contestants: Contestants,
    outcome: Halving,
    rows: ChoosingRows,
    choice: _Choice,
    domain: ImageSource | None,
    ending: float | None,
    seed: int,
) -> Evidence:
    """Measure what else might be done."""
    images, request = contestants.images, contestants.requests[choice.name]
    looked = contestants.looked[outcome.leader]
    tuned, trial_seconds = tried_tuning(
        images,
        dataclasses.replace(request, layer=None, pool="auto"),
        contestants.store,
        pace=looked.seconds / looked.passes if looked.passes else None,
        ending=ending,
        seed=seed,
        progress=contestants.progress,
    )
    return Evidence(
        output=choice.other,
        fused=measured_side_by_side(contestants, outcome, rows, choice.places, choice.name, seed),
        labels=measured_labels(images, choice.table, choice.places, rows, choice.groups, seed),
        source=None
        if domain is None
        else measured_gap(
            domain,
            DomainTable(name=images.name, table=choice.table),
            choice.name,
            request,
            contestants.store,
            seed=seed,
            progress=contestants.progress,
        ),
        tuned=tuned,
        trial_seconds=trial_seconds,
    )


def _listed(contestants: Contestants, outcome: Halving, full: Mapping[str, Estimate]) -> list[SelectionCandidate]:
    listed: list[SelectionCandidate] = []
    for one in outcome.standings:
        estimates = [*one.estimates, *([full[one.name]] if one.name in full else [])]
        request, looked = contestants.requests[one.name], contestants.looked[one.network]
        last = estimates[-1]
        listed.append(
            SelectionCandidate(
                name=one.name,
                model=cast(str, request.model),
                weights=str(request.weights),
                layer=cast("int | None", request.layer),
                pool=str(request.pool),
                rows=last.rows,
                forward_passes=looked.passes,
                seconds=looked.seconds + sum(found.seconds for found in estimates),
                value=last.value,
                interval=last.interval,
                dropped=one.dropped,
                reason=one.reason,
                rounds=[
                    RoundEstimate(rows=found.rows, value=found.value, interval=found.interval) for found in estimates
                ],
            )
        )
    return listed
