"""probe: how good simple estimators are on the features of a target, beside what no network would reach.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from embedkit.backbones import FeatureRequest, as_requests
from embedkit.errors import UsageError
from embedkit.evaluation import Duplicates, disagreements_of, errors_naming
from embedkit.extraction import Progress
from embedkit.probes import (
    PROTOCOLS,
    check_estimator,
    check_protocol,
    default_estimators,
    run_protocol,
)
from embedkit.results import ProbeReport, ProbeResult, recommended_of
from embedkit.workflows.attributed_notes import attributed, precision_notes
from embedkit.workflows.duplicated import image_pairs, search_for_duplicates
from embedkit.workflows.fit_ticks import FitTicks
from embedkit.workflows.origins import data_name, origin_of
from embedkit.workflows.reading import read_line
from embedkit.workflows.targets import NamedTable, open_store, open_target, tables_of
from embedkit.workflows.views import map_of, nearest_trained


def probe(
    target: Any,
    model: str | FeatureRequest | Sequence[str | FeatureRequest] | None = None,
    *,
    protocol: str | Sequence[str] = "quick",
    as_published: bool = False,
    estimator: Any = None,
    params: Mapping[str, Sequence[Any]] | None = None,
    label_column: str | None = None,
    drop_unlabelled: bool = False,
    folds: int = 5,
    store: str | os.PathLike[str] | None = None,
    floors: bool = True,
    random_state: int = 0,
    device: str = "auto",
    views: bool = False,
    pairs: bool = False,
    progress: Progress | None = None,
) -> ProbeReport:
    """Train simple estimators on features and report their accuracy with its interval.

    By the protocol ``"quick"``, hyper-parameters are chosen on the validation split where it holds every class, else on
    a stratified part of the training rows; the number comes from the test split, or from cross-validation where there
    are no splits.

    Parameters
    ----------
    target : path, or sequence of images
        A feature file, or a source of images.
    model : str, FeatureRequest, or sequence of them, optional
        For a source of images, by default the bundled backbone; not allowed for a feature file.
    protocol : str or sequence of str
        Of `embedkit.probes.PROTOCOLS`. A note says where several disagree on the best model.
    as_published : bool
        Solve each protocol by its original's solver and stop rule, not to the optimum of its objective.
    estimator : str, estimator of scikit-learn, or sequence of them, optional
        Of ``"quick"`` alone: ``"logistic"``, ``"pca+logistic"``, ``"svm"``, ``"knn"``, ``"ridge"``, ``"lda"``, a dotted
        path such as ``"sklearn.svm.SVC"``, or an object. By default the first four; for values ``"ridge"``, for several
        labels an image ``"logistic"`` and ``"ridge"``.
    params : mapping of str to sequence, optional
        Values to choose from, for one estimator that is given by path or object.
    label_column : str, optional
        The column that holds the labels.
    drop_unlabelled : bool
        Leave rows without a label out, and say how many; else they are an error.
    folds : int
        For a target without splits.
    store : path, optional
        The folder of the store; by default the user's.
    floors : bool
        Report raw pixels, colour histograms and the networks with random weights too.
    random_state : int
        Seed of every random choice.
    device : str
        Where an estimator given by path or object is fitted, if scikit-learn can fit it on tensors: ``"auto"`` (a GPU
        where there is one, else NumPy), ``"cpu"`` (NumPy), ``"cuda"``, ``"cuda:0"``, ``"torch:cpu"``. A device that is
        named needs ``SCIPY_ARRAY_API=1`` in the environment.
    views : bool
        Keep what a page shows beside the numbers: a map of each model's features, and the training image nearest to
        each tested one that was named wrong.
    pairs : bool
        List all pairs of images that show one picture, however long the search takes. Notes count them anyway.
    progress : callable, optional

    Returns
    -------
    ProbeReport
        Best first, protocol after protocol.

    Raises
    ------
    ProbeError
        Labels or splits do not allow an answer.
    """
    protocols = _checked_protocols(protocol, as_published)
    asked: list[Any] = [] if estimator is None else list(estimator) if _are_several(estimator) else [estimator]
    if asked and "quick" not in protocols:
        raise UsageError(f"protocol {protocols[0]} has an estimator of its own; leave the estimator out, or use quick")
    if params and len(asked) != 1:
        raise UsageError(f"parameters are for one estimator, and {len(asked)} are named; name one by its dotted path")
    for one in asked:
        check_estimator(one, params)
    requests = as_requests(model)
    feature_store = open_store(store)
    opened = open_target(target, label_column=label_column, drop_unlabelled=drop_unlabelled)
    with errors_naming(opened.name):
        for name in protocols:
            for one in (asked or [None]) if name == "quick" else [None]:
                check_protocol(name, opened.target_type, one, params if one is not None else None)
    tables = tables_of(opened, requests, feature_store, floors=floors, progress=progress)
    duplicates = search_for_duplicates(tables.named, thorough=pairs, random_state=random_state).found
    notes: list[str] = []
    runs: dict[str, list[tuple[NamedTable, Any, Any]]] = {name: [] for name in protocols}
    for name in protocols:
        for named in tables.named:
            if name != "quick":
                runs[name].append((named, None, None))
                continue
            suitable = default_estimators(named.table)
            # A floor is judged by the strongest of the linear estimators on raw features.
            wanted = suitable[:1] if named.floor and len(tables.named) > 1 else asked or suitable
            runs[name] += [(named, one, params if wanted is asked else None) for one in wanted]
            if wanted is suitable and "svm" not in suitable and named.table.target_type == "class":
                notes.append(
                    f"{named.name}: svm is left out, on {len(named.table)} rows it takes several times as long as "
                    "logistic regression; --estimator svm runs it"
                )
    ticks = FitTicks(sum(map(len, runs.values())), progress)
    results: list[ProbeResult] = []
    for name, listed in runs.items():
        found: list[ProbeResult] = []
        for named, one, grid in listed:
            published = as_published and name != "quick"
            found.append(_run(name, named, one, grid, published, folds, random_state, device, duplicates))
            ticks.done()
        results += sorted(found, key=lambda result: -result.value)
    if opened.table is None:  # of a feature file both take the features that are in it
        notes += precision_notes(tables.named)
    notes += attributed((result.model, text) for result in results for text in result.notes or [""])
    notes += disagreements_of(results)
    data = data_name(tables.named[0])
    models = [named for named in tables.named if not named.floor]
    best = next((result for result in results if not result.floor), None)
    return ProbeReport(
        recommended=recommended_of(results),
        maps=[map_of(named.name, named.table, random_state=random_state) for named in models] if views else [],
        nearest=[
            near
            for named in models
            if views and best is not None and named.name == best.model
            for near in nearest_trained(named.table, best)
        ],
        image_pairs=image_pairs(data, tables.named[0].table, duplicates) if pairs else [],
        results=[dataclasses.replace(result, data=data) for result in results],
        skipped=tables.skipped,
        read=[read_line(opened)],
        notes=notes,
        unavailable=tables.unavailable,
        origin=origin_of(
            "probe",
            {
                "target": target,
                "model": model or None,
                "protocol": protocols,
                "as_published": as_published,
                "estimator": estimator,
                "params": None if params is None else dict(params),
                "label_column": label_column,
                "drop_unlabelled": drop_unlabelled or None,
                "folds": folds,
                "random_state": random_state,
            },
            {data: tables.named},
            seeds=[random_state],
        ),
    )


def _are_several(estimator: Any) -> bool:
    return isinstance(estimator, list | tuple)


def _checked_protocols(protocol: str | Sequence[str], as_published: bool) -> list[str]:
    protocols = [protocol] if isinstance(protocol, str) else list(dict.fromkeys(protocol))
    unknown = [name for name in protocols if name not in PROTOCOLS]
    if unknown or not protocols:
        raise UsageError(f"protocol {unknown[0] if unknown else '()'!r} is not known; use {', '.join(PROTOCOLS)}")
    if as_published and protocols == ["quick"]:
        raise UsageError("the protocol quick is embedkit's own and has no original to solve as; name a published one")
    return protocols


def _run(
    protocol: str,
    named: NamedTable,
    estimator: Any,
    params: Mapping[str, Sequence[Any]] | None,
    as_published: bool,
    folds: int,
    random_state: int,
    device: str,
    duplicates: Duplicates,
) -> ProbeResult:
    return run_protocol(
        protocol,
        named.table,
        model=named.name,
        estimator=estimator,
        params=params,
        floor=named.floor,
        as_published=as_published,
        folds=folds,
        random_state=random_state,
        device=device,
        duplicates=duplicates,
    ).result
