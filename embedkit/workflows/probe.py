"""probe: how good simple estimators are on the features of a target, beside what no network would reach.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from embedkit.backbones import BackboneRequest
from embedkit.errors import UsageError
from embedkit.extraction import Progress
from embedkit.probes import ProbeResult, check_estimator, default_estimators, quick
from embedkit.workflows.targets import NamedTable, open_store, open_target


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
    estimator: Any = None,
    params: Mapping[str, Sequence[Any]] | None = None,
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
    estimator : str, estimator of scikit-learn, or sequence of them, optional
        ``"logistic"``, ``"pca+logistic"``, ``"svm"``, ``"knn"``, ``"ridge"``, ``"lda"``, a dotted path such as
        ``"sklearn.svm.SVC"``, or an object. By default the first four; for values ``"ridge"``, for several labels an
        image ``"logistic"`` and ``"ridge"``.
    params : mapping of str to sequence, optional
        Values to choose from, for one estimator that is given by path or object.
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
    asked: list[Any] = [] if estimator is None else list(estimator) if _are_several(estimator) else [estimator]
    if params and len(asked) != 1:
        raise UsageError(f"parameters are for one estimator, and {len(asked)} are named; name one by its dotted path")
    for one in asked:
        check_estimator(one, params)
    models = [model] if isinstance(model, str | BackboneRequest) else list(model)
    requests = [BackboneRequest(name) if isinstance(name, str) else name for name in models]
    feature_store = open_store(store)
    opened = open_target(target, requests, feature_store, floors=floors, label_column=label_column, progress=progress)
    tables = opened.tables
    notes: list[str] = []
    results: list[ProbeResult] = []
    for named in tables:
        suitable = default_estimators(named.table)
        # A floor is judged by the strongest of the linear estimators on raw features.
        wanted = suitable[:1] if named.floor and len(tables) > 1 else asked or suitable
        grid = None if wanted is not asked else params
        results += [_probe_one(named, one, grid, folds, random_state) for one in wanted]
        if wanted is suitable and "svm" not in suitable and named.table.target_type == "class":
            notes.append(f"{named.name}: svm is left out, its {len(named.table)} rows would have to be in memory")
    results.sort(key=lambda result: -result.value)
    for result in results:
        notes += [text for text in result.notes if text not in notes]
    skipped = {failure.key: failure.reason for named in tables for failure in named.table.failures}
    return ProbeReport(results=results, skipped=sorted(skipped.items()), notes=notes, unavailable=opened.unavailable)


def _are_several(estimator: Any) -> bool:
    return isinstance(estimator, list | tuple)


def _probe_one(
    named: NamedTable, estimator: Any, params: Mapping[str, Sequence[Any]] | None, folds: int, random_state: int
) -> ProbeResult:
    return quick(
        named.table,
        estimator,
        model=named.name,
        floor=named.floor,
        folds=folds,
        random_state=random_state,
        params=params,
    ).result
