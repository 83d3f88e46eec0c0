"""layers: what each layer of a backbone is worth on a data set, and whether one beats the model's own output.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.backbones import FeatureRequest, as_request, count_layers
from embedkit.errors import UsageError
from embedkit.evaluation import errors_naming, holm_correction, paired_permutation_test
from embedkit.extraction import Progress
from embedkit.results import Concatenation, LayerOutput, LayersResult, Skipped
from embedkit.selection import (
    debiased_cka,
    effective_rank,
    estimate_of,
    held_out_blocks,
    held_out_rows,
    separability,
    variance_shares,
)
from embedkit.specs import Pool
from embedkit.workflows.choosing_rows import ChoosingRows, extract_command
from embedkit.workflows.contestants import Contestants
from embedkit.workflows.floors import PSEUDO
from embedkit.workflows.origins import origin_of
from embedkit.workflows.reading import read_line
from embedkit.workflows.targets import images_of, open_store, open_target

_LEVEL = 0.05

_MOST_IMAGES = 2000
"""That layers are judged on: twice as many would narrow an interval by less than a third."""

_LAYERS_SIDE_BY_SIDE = 3
_SHARES_KEPT = 20


def layers(
    target: Any,
    model: str | FeatureRequest | None = None,
    *,
    pools: Sequence[Pool] = ("auto",),
    concatenate: bool = True,
    label_column: str | None = None,
    drop_unlabelled: bool = False,
    store: str | os.PathLike[str] | None = None,
    random_state: int = 0,
    progress: Progress | None = None,
) -> LayersResult:
    """Judge every layer of a backbone on the training images of a data set; one pass an image serves all of them.

    The model's own output is recommended, unless another layer is better by a paired test, corrected for all layers.
    Tested images are left alone.

    Parameters
    ----------
    target : path, or sequence of images
        A source of images with one class each, or a feature file, whose recorded images are taken.
    model : str or FeatureRequest, optional
        By default the bundled backbone.
    pools : sequence of str
        How each layer becomes one vector; each is tried.
    concatenate : bool
        Also judge the best layers side by side.
    label_column, drop_unlabelled, store, progress
        As in `probe`.
    random_state : int
        Seed of every random choice.

    Returns
    -------
    LayersResult

    Raises
    ------
    UsageError
        The model has no layers, or the request names one.
    ProbeError
        Labels or splits do not allow an answer.
    """
    request = as_request(model)
    if request.layer is not None or request.pool != "auto":
        raise UsageError("layers looks at all of them; leave the layer and the pool of the model out")
    if request.model in PSEUDO:
        raise UsageError(f"{request.model} is no network and has no layers; name a model of timm's")
    if not pools or len(set(pools)) < len(pools):
        raise UsageError(f"pools are {list(pools)}, expected distinct ones, at least one")
    feature_store, opened = (
        open_store(store),
        open_target(target, label_column=label_column, drop_unlabelled=drop_unlabelled),
    )
    images = images_of(opened, feature_store)
    with errors_naming(opened.name):
        rows = ChoosingRows.of(images, random_state)
    settled = dataclasses.replace(
        request,
        precision="fp32" if request.precision == "auto" else request.precision,
        engine="torch" if request.engine == "auto" else request.engine,
    )
    each = [
        dataclasses.replace(settled, layer=layer, pool=pool) for layer in range(count_layers(settled)) for pool in pools
    ]
    contestants = Contestants(images, [*each, settled], feature_store, progress)
    some = _drawn(rows.choosing, random_state)
    features = contestants.features(contestants.networks, rows.choosing[some])
    there = np.logical_and.reduce([np.isfinite(X).all(axis=1) for X in features.values()])
    some = some[there]
    features = {name: X[there] for name, X in features.items()}
    if len(some) and not any(np.ptp(X, axis=0).any() for X in features.values()):
        raise UsageError(
            f"the features of all layers are the same for each of {len(some)} images of {opened.name}, so that nothing "
            "can be chosen by them; look at the images with `embedkit audit`"
        )
    _, classes = np.unique(rows.classes[some], return_inverse=True)
    groups = np.unique(contestants.together(rows.choosing[some], rows.groups[some]), return_inverse=True)[1]
    judged = _Judged(classes.astype(np.intp), groups.astype(np.intp), random_state)
    right = {name: held_out_rows(X, judged.classes, judged.groups, seed=random_state) for name, X in features.items()}
    own = list(features)[-1]
    p_values = _against(right, own)
    best = max(right, key=lambda name: float(right[name].mean()))
    better = best != own and p_values[best] <= _LEVEL
    recommended = best if better else own
    return LayersResult(
        model=cast(str, request.model),
        layers=[
            _output(name, features[name], contestants, judged, right[name], p_values.get(name)) for name in features
        ],
        recommended=recommended,
        reason=_reason(right, own, best, p_values),
        cka=[[debiased_cka(one, other) for other in features.values()] for one in features.values()],
        concatenated=_side_by_side(features, right, recommended, judged) if concatenate else None,
        judged_on=f"{len(some)} training images",
        command=extract_command(target, contestants.requests[recommended]),
        skipped=[Skipped(*item) for item in sorted(contestants.failures.items())],
        read=[read_line(opened)],
        notes=rows.notes,
        origin=origin_of(
            "layers",
            {
                "target": target,
                "model": model,
                "pools": list(pools),
                "label_column": label_column,
                "drop_unlabelled": drop_unlabelled or None,
                "random_state": random_state,
            },
            seeds=[random_state],
            sources=[images.name],
            fingerprints=contestants.fingerprints,
        ),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Judged:
    classes: npt.NDArray[np.intp]
    groups: npt.NDArray[np.intp]
    seed: int


def _drawn(choosing: npt.NDArray[np.intp], random_state: int) -> npt.NDArray[np.intp]:
    if len(choosing) <= _MOST_IMAGES:
        return np.arange(len(choosing))
    return np.sort(np.random.default_rng(random_state).choice(len(choosing), _MOST_IMAGES, replace=False))


def _against(right: dict[str, npt.NDArray[np.float64]], own: str) -> dict[str, float]:
    """Return the p-value of each other layer against the model's own output, corrected for all of them."""
    others = [name for name in right if name != own]
    found = [paired_permutation_test(right[name], right[own]).p_value for name in others]
    return dict(zip(others, holm_correction(found).tolist(), strict=True))


def _reason(right: dict[str, npt.NDArray[np.float64]], own: str, best: str, p_values: dict[str, float]) -> str:
    if best == own:
        return "no layer is better than the model's own output"
    ahead = 100 * float(right[best].mean() - right[own].mean())
    said = f"{best} is {ahead:.1f} points better than the model's own output (p = {p_values[best]:.2g}, corrected)"
    return said if p_values[best] <= _LEVEL else f"{said}, which a test cannot tell from none"


def _output(
    name: str,
    X: npt.NDArray[np.float32],
    contestants: Contestants,
    judged: _Judged,
    right: npt.NDArray[np.float64],
    p_value: float | None,
) -> LayerOutput:
    request, estimate, shares = contestants.requests[name], estimate_of(right, 0.0), variance_shares(X)
    return LayerOutput(
        name=name,
        layer=cast("int | None", request.layer),
        pool=str(request.pool),
        width=X.shape[1],
        value=estimate.value,
        interval=estimate.interval,
        effective_rank=effective_rank(shares),
        spectrum=shares[:_SHARES_KEPT].tolist(),
        separability=separability(X, judged.classes),
        p_value=p_value,
    )


def _side_by_side(
    features: dict[str, npt.NDArray[np.float32]],
    right: dict[str, npt.NDArray[np.float64]],
    recommended: str,
    judged: _Judged,
) -> Concatenation | None:
    """Judge the recommended layer beside those that are best after it."""
    others = sorted((name for name in right if name != recommended), key=lambda name: -float(right[name].mean()))
    names = [recommended, *others[: _LAYERS_SIDE_BY_SIDE - 1]]
    if len(names) < 2:
        return None
    together = held_out_blocks([features[name] for name in names], judged.classes, judged.groups, seed=judged.seed)
    estimate = estimate_of(together, 0.0)
    test = paired_permutation_test(together, right[recommended])
    return Concatenation(
        names=names,
        value=estimate.value,
        interval=estimate.interval,
        gain=float(together.mean() - right[recommended].mean()),
        p_value=test.p_value,
    )
