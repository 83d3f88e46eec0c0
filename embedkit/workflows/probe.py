"""probe: how good simple estimators are on the features of a target, beside what no network would reach.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from embedkit.backbones import BackboneRequest
from embedkit.errors import UsageError
from embedkit.extraction import Progress
from embedkit.probes import ESTIMATORS, ProbeResult, quick
from embedkit.workflows.targets import NamedTable, open_store, open_target

# The estimator that judges the floors: the strongest of the linear ones on raw features.
_FLOOR_ESTIMATOR = "logistic"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """Results, best first, and what a reader should know before quoting them.

    Attributes
    ----------
    results : list of ProbeResult
    skipped : list of (key, reason)
        Images that have no features and are in no number.
    notes : list of str
    unavailable : list of (name, reason)
        Floors that cannot be had.
    """

    results: list[ProbeResult]
    skipped: list[tuple[str, str]]
    notes: list[str]
    unavailable: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "results": [result.to_dict() for result in self.results],
            "skipped": [{"key": key, "reason": reason} for key, reason in self.skipped],
            "notes": self.notes,
            "unavailable": [{"model": name, "reason": reason} for name, reason in self.unavailable],
        }


def probe(
    target: Any,
    model: str | BackboneRequest | Sequence[str | BackboneRequest] = (),
    *,
    estimator: str | Sequence[str] | None = None,
    label_column: str | None = None,
    folds: int = 5,
    store: str | os.PathLike[str] | None = None,
    floors: bool = True,
    random_state: int = 0,
    progress: Progress | None = None,
) -> ProbeReport:
    """Train simple estimators on features and report their accuracy with its interval.

    Hyper-parameters are chosen on the validation split where it holds every class, else on a stratified part of the
    training rows; the number comes from the test split, or from cross-validation where there are no splits.

    Parameters
    ----------
    target : path, or sequence of images
        A feature file, or a source of images.
    model : str, BackboneRequest, or sequence of them
        Needed for a source of images, not allowed for a feature file.
    estimator : str or sequence of str, optional
        Of ``"logistic"``, ``"pca+logistic"``, ``"svm"``, ``"knn"``; by default all.
    label_column : str, optional
        The column that holds the labels.
    folds : int
        For a target without splits.
    store : path, optional
        The folder of the store; by default the user's.
    floors : bool
        Report raw pixels, colour histograms and the networks with random weights too.
    random_state : int
        Seed of every random choice.
    progress : callable, optional

    Returns
    -------
    ProbeReport

    Raises
    ------
    ProbeError
        Labels or splits do not allow an answer.
    """
    wanted = ESTIMATORS if estimator is None else (estimator,) if isinstance(estimator, str) else tuple(estimator)
    unknown = [name for name in wanted if name not in ESTIMATORS]
    if unknown or not wanted:
        raise UsageError(f"estimator {unknown[0] if unknown else '()'!r} is not known; use {', '.join(ESTIMATORS)}")
    models = [model] if isinstance(model, str | BackboneRequest) else list(model)
    requests = [BackboneRequest(name) if isinstance(name, str) else name for name in models]
    feature_store = open_store(store)
    opened = open_target(target, requests, feature_store, floors=floors, label_column=label_column, progress=progress)
    tables = opened.tables
    notes: list[str] = []
    results: list[ProbeResult] = []
    for named in tables:
        for name in (_FLOOR_ESTIMATOR,) if named.floor and len(tables) > 1 else wanted:
            results.append(_probe_one(named, name, folds, random_state))
    results.sort(key=lambda result: -result.value)
    for result in results:
        notes += [text for text in result.notes if text not in notes]
    skipped = {failure.key: failure.reason for named in tables for failure in named.table.failures}
    return ProbeReport(results=results, skipped=sorted(skipped.items()), notes=notes, unavailable=opened.unavailable)


def _probe_one(named: NamedTable, estimator: str, folds: int, random_state: int) -> ProbeResult:
    return quick(
        named.table, estimator, model=named.name, floor=named.floor, folds=folds, random_state=random_state
    ).result
