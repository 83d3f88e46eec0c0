"""Published protocols of probing frozen features, each in a module of its own with its source in the docstring.

By default a protocol's objective is solved to its optimum; as published, it is solved by the original's solver with the
original's stop rule. Grid, split, selection, refit and metric are those of the original either way. What a protocol
prescribes of the features themselves is compared with the table's spec, and departures are noted in the result.

Layer: probes; above the store and the estimators, below workflows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from embedkit.errors import LabelsError, UsageError
from embedkit.evaluation import Duplicates, Outcome, ProbeRun, Protocol, Task, evaluate
from embedkit.probes.protocols import (
    clip,
    clip_benchmark,
    coop_fewshot,
    dinov2_knn,
    dinov2_logreg,
    dinov3_logreg,
    hest_ridge,
    kornblith,
    mteb_fewshot,
    ridge_lsr,
    simpleshot,
    uni_logreg,
    voc_svm,
)
from embedkit.probes.protocols.features import Prescription
from embedkit.probes.protocols.quick import check_estimator, default_estimators, quick
from embedkit.specs import TargetType
from embedkit.tables import FeatureTable

__all__ = ["PROTOCOLS", "ProbeRun", "check_protocol", "run_protocol"]


@dataclass(frozen=True, slots=True)
class _Published:
    """What runs, what its estimator is called, what features it is meant for, and its metric by type of target.

    Further metrics that it reports beside, and metrics that its original computes in another way.
    """

    run: Callable[[Task], Outcome]
    estimator: str
    features: Prescription
    metrics: dict[str, str]
    beside: tuple[str, ...] = ()
    as_published: Mapping[str, str] = field(default_factory=dict[str, str])


_ACCURACY = {"class": "accuracy"}
_ACCURACY_OR_11_POINTS = {"class": "accuracy", "multilabel": "map_11_point"}
_ACCURACY_OR_PRECISION = {"class": "accuracy", "multilabel": "average_precision"}
_AREA = {"class": "map_area", "multilabel": "map_area"}
_PER_CLASS = {"class": "mean_per_class_accuracy"}
_PEARSON = {"value": "pearson"}

_PUBLISHED = {
    "clip": _Published(clip.clip, "logistic", clip.PRESCRIPTION, _ACCURACY_OR_11_POINTS),
    "kornblith": _Published(
        kornblith.kornblith,
        "logistic",
        kornblith.PRESCRIPTION,
        _ACCURACY_OR_11_POINTS,
        as_published={"map_11_point": "map_11_point_as_published"},
    ),
    "dinov2-logreg": _Published(dinov2_logreg.dinov2_logreg, "logistic", dinov2_logreg.PRESCRIPTION, _ACCURACY),
    "dinov3-logreg": _Published(
        dinov3_logreg.dinov3_logreg, "logistic", dinov3_logreg.PRESCRIPTION, _ACCURACY_OR_PRECISION
    ),
    "dinov2-knn": _Published(dinov2_knn.dinov2_knn, "knn", dinov2_knn.PRESCRIPTION, _ACCURACY),
    "coop-fewshot": _Published(coop_fewshot.coop_fewshot, "logistic", coop_fewshot.PRESCRIPTION, _ACCURACY),
    "clip-benchmark": _Published(clip_benchmark.clip_benchmark, "linear", clip_benchmark.PRESCRIPTION, _ACCURACY),
    "ridge-lsr": _Published(ridge_lsr.ridge_lsr, "ridge", ridge_lsr.PRESCRIPTION, _ACCURACY),
    "simpleshot": _Published(simpleshot.simpleshot, "nearest-class-mean", simpleshot.PRESCRIPTION, _ACCURACY),
    "voc-svm": _Published(voc_svm.voc_svm, "svm", voc_svm.PRESCRIPTION, _AREA),
    "mteb-fewshot": _Published(mteb_fewshot.mteb_fewshot, "logistic", mteb_fewshot.PRESCRIPTION, _ACCURACY),
    "hest-ridge": _Published(hest_ridge.hest_ridge, "pca+ridge", hest_ridge.PRESCRIPTION, _PEARSON),
    "uni-logreg": _Published(
        uni_logreg.uni_logreg, "logistic", uni_logreg.PRESCRIPTION, _PER_CLASS, uni_logreg.METRICS
    ),
}

_LABELS: dict[str, str] = {
    "class": "one class an image",
    "value": "values",
    "multilabel": "several labels an image",
}

# Protocols that prescribe how training rows are cut in two.
_CUT_WITHOUT_GROUPS = ("kornblith", "dinov2-logreg", "dinov3-logreg", "voc-svm")

PROTOCOLS: tuple[str, ...] = ("quick", *_PUBLISHED)
"""The names that `run_protocol` knows."""


def run_protocol(
    name: str,
    table: FeatureTable,
    *,
    model: str,
    estimator: Any = None,
    params: Mapping[str, Sequence[Any]] | None = None,
    floor: bool = False,
    as_published: bool = False,
    random_state: int = 0,
    folds: int = 5,
    device: str = "auto",
    duplicates: Duplicates | None = None,
) -> ProbeRun:
    """Run a protocol on a table.

    Parameters
    ----------
    name : str
        One of `PROTOCOLS`.
    table : FeatureTable
        Its splits are used where it has any; else every row is tested once, by cross-validation.
    model : str
        What the result calls the features.
    estimator : str or estimator of scikit-learn, optional
        For ``"quick"`` any that `embedkit.probes.quick` takes, by default ``"logistic"`` (for values ``"ridge"``); a
        published protocol has its own.
    params : mapping of str to sequence, optional
        For ``"quick"`` with an estimator by path or object: values to choose from.
    floor : bool
        The features are a floor.
    as_published : bool
        Use the original's solver and stop rule.
    random_state : int
        Seed of every random choice; 0 is the original's own where it has one.
    folds : int
        For a table without splits.
    device : str
        For ``"quick"`` with an estimator by path or object, as in `embedkit.probes.quick`.
    duplicates : Duplicates, optional
        As in `embedkit.evaluation.evaluate`.

    Returns
    -------
    ProbeRun

    Raises
    ------
    UsageError
        There is no such protocol, or it does not take this estimator.
    LabelsError
        The labels are of another kind than the protocol needs, missing, or of one class.
    SplitError
        Splits or classes are too small for the protocol.
    """
    check_protocol(name, table.target_type, estimator, params)
    if name == "quick":
        return quick(
            table,
            default_estimators(table)[0] if estimator is None else estimator,
            model=model,
            floor=floor,
            folds=folds,
            random_state=random_state,
            params=params,
            device=device,
            duplicates=duplicates,
        )
    published = _PUBLISHED[name]
    metric = published.metrics[table.target_type]
    protocol = Protocol(
        name=name,
        estimator=published.estimator,
        metric=published.as_published.get(metric, metric) if as_published else metric,
        beside=published.beside,
        run=published.run,
        notes=(*published.features.departures(table.spec, name), *_groups_cut(table, name)),
    )
    return evaluate(
        protocol,
        table,
        model=model,
        floor=floor,
        folds=folds,
        random_state=random_state,
        as_published=as_published,
        duplicates=duplicates,
    )


def check_protocol(
    name: str, target_type: TargetType, estimator: Any = None, params: Mapping[str, Sequence[Any]] | None = None
) -> None:
    """Raise unless there is such a protocol, it takes the estimator, and both suit the type of the labels.

    What this refuses needs no run to be refused; `run_protocol` lists the errors and the parameters.
    """
    if name not in PROTOCOLS:
        raise UsageError(f"protocol {name!r} is not known; use {', '.join(PROTOCOLS)}")
    kinds = _LABELS if name == "quick" else {kind: _LABELS[kind] for kind in _PUBLISHED[name].metrics}
    if target_type == "none":
        raise LabelsError(
            f"the target has no labels, and {name} needs {' or '.join(kinds.values())}: put images into one sub-folder "
            "a class, give a manifest with a label column, or name one by --label-column (label_column=...)"
        )
    if target_type not in kinds:
        raise LabelsError(
            f"the labels are {_LABELS[target_type]}, and {name} needs {' or '.join(kinds.values())}: leave out {name}, "
            "or name a column of such labels by --label-column (label_column=...)"
        )
    if name != "quick":
        own = _PUBLISHED[name].estimator
        if params or not (estimator is None or estimator == own):
            raise UsageError(f"protocol {name} has its own estimator ({own}), got {estimator!r}; leave it out")
    elif estimator is not None:
        check_estimator(estimator, params, target_type)


def _groups_cut(table: FeatureTable, name: str) -> list[str]:
    """Say which protocols choose on rows of the same groups that they fit on."""
    if table.groups is None or name not in _CUT_WITHOUT_GROUPS:
        return []
    return [f"{name}: where the protocol cuts training rows to choose on, it pays no heed to groups; the tests do"]
