"""compare: which of several backbones is better, on several data sets, by several protocols, as far as can be told.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from embedkit.backbones import FeatureRequest, as_requests
from embedkit.errors import UsageError
from embedkit.evaluation import Entry, average_ranks, disagreements, errors_naming, make_leaderboard
from embedkit.extraction import Progress
from embedkit.probes import PROTOCOLS, check_estimator, check_protocol
from embedkit.results import Comparison, Leaderboard, ProbeResult, Skipped, Unavailable
from embedkit.specs import canonical_json
from embedkit.workflows.candidates import Candidates, find_candidates
from embedkit.workflows.duplicated import image_pairs, search_for_duplicates
from embedkit.workflows.fit_ticks import FitTicks
from embedkit.workflows.leaderboard_entries import ProbeSettings, enter
from embedkit.workflows.origins import data_titles, origin_of
from embedkit.workflows.reading import dropped_notes
from embedkit.workflows.result_memo import ResultMemo
from embedkit.workflows.targets import NamedTable, is_feature_file, open_store, open_target, tables_of

AUTO = "auto"


def compare(
    targets: Any,
    models: str | FeatureRequest | Sequence[str | FeatureRequest] | None = None,
    *,
    protocols: str | Sequence[str] = "quick",
    estimator: str | None = None,
    params: Mapping[str, Sequence[Any]] | None = None,
    as_published: bool = False,
    seeds: int = 1,
    folds: int = 5,
    floors: bool = True,
    pairs: bool = False,
    label_column: str | None = None,
    drop_unlabelled: bool = False,
    store: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    finished: Callable[[str, ProbeResult], None] | None = None,
    chosen: Callable[[Candidates], None] | None = None,
) -> Comparison:
    """Compare backbones on data sets by protocols, with paired tests, and rank only what can be told apart.

    Images are read and decoded once for all backbones and floors. Features come through the store, and finished
    results are remembered beside them (in ``memo/`` of the store, by a digest of everything that decides them), so an
    interrupted comparison goes on where it was, and one more backbone costs only its own work.

    Where a precision or an engine is ``auto``, torch computes in fp32: a choice by measured speed would let the load
    of the machine decide the last digits. Everything random is seeded: a second run gives the same ordering,
    intervals and p-values, also from an empty store.

    Parameters
    ----------
    targets : path, or sequence of paths
        Feature files, or sources of images. Feature files that record the same source are one data set.
    models : str, FeatureRequest, or sequence of them, optional
        For sources of images, by default the bundled backbone; feature files have their own. ``"auto"`` stands for
        those of `shortlist` that are at hand and, where the hub answers, those that this machine runs in reasonable
        time.
    protocols : str or sequence of str
        Of `embedkit.probes.protocols.PROTOCOLS`.
    estimator : str, optional
        For the protocol ``quick``, by a name or a dotted path as `probe` takes them; by default ``"logistic"``, for
        values ``"ridge"``.
    params : mapping of str to sequence, optional
        Values to choose from, for an estimator that is given by path: numbers, words and what else JSON can write.
    as_published : bool
        Solve each protocol by its original's solver and stop rule.
    seeds : int
        Repeat with so many seeds. A seed decides which training images choose hyper-parameters, and, for data sets
        without splits, the folds. Values are means; the paired tests compare per-image means.
    folds : int
        For data sets without splits.
    floors : bool
        Compare with raw pixels, colour histograms and random weights too.
    pairs : bool
        As in `probe`.
    label_column, drop_unlabelled, store, progress
        As in `probe`.
    finished : callable, optional
        Called with the name of the data set and the first seed's result of each backbone and protocol.
    chosen : callable, optional
        Called before anything is computed with the models that ``"auto"`` stands for, and what they take.

    Returns
    -------
    Comparison

    Raises
    ------
    UsageError
        An argument that cannot be honoured, or a backbone that is named twice.
    ProbeError
        Labels or splits do not allow an answer.
    """
    wanted = (protocols,) if isinstance(protocols, str) else tuple(protocols)
    unknown = [name for name in wanted if name not in PROTOCOLS]
    if unknown or not wanted or len(set(wanted)) < len(wanted):
        got = unknown[0] if unknown else ",".join(wanted)
        raise UsageError(f"protocols are {got!r}, expected distinct ones of {', '.join(PROTOCOLS)}")
    if seeds < 1:
        raise UsageError(f"seeds={seeds}, expected at least 1")
    grid = _checked_grid(wanted, estimator, params or {})
    asked = [
        ProbeSettings(protocol, estimator=estimator, params=grid, as_published=as_published, seeds=seeds, folds=folds)
        for protocol in wanted
    ]
    listed = _listed(targets)
    are_files = [is_feature_file(target) for target in listed]
    opened = [open_target(target, label_column=label_column, drop_unlabelled=drop_unlabelled) for target in listed]
    if _is_auto(models):
        sources = [one.images for one in opened if one.images is not None]
        if not sources:
            raise UsageError("model auto is for sources of images; feature files have their models already")
        found = find_candidates(sources, device=_device_of(models), floors=floors)
        if chosen is not None:
            chosen(found)
        models = _named_by(models, [one.name for one in found.models])
    bundled = [] if all(are_files) else [FeatureRequest()]
    requests = [_pinned(request) for request in as_requests(models) or bundled]
    records = [canonical_json(request.to_dict()) for request in requests]
    for request, record in zip(requests, records, strict=True):
        if records.count(record) > 1:
            raise UsageError(f"{request.model} is compared with itself; name each backbone once")
    feature_store = open_store(store)
    memo = ResultMemo(feature_store.memo_folder / "probes")
    data_sets: dict[str, dict[str, NamedTable]] = {}
    unavailable: list[Unavailable] = []
    skipped: dict[str, str] = {}
    for target, source, is_file in zip(listed, opened, are_files, strict=True):
        with errors_naming(source.name):
            for options in asked:
                own_grid = options.params_of_quick or None
                check_protocol(options.protocol, source.target_type, options.estimator_of_quick, own_grid)
        # Beside files alone there is nothing that models apply to: then the file refuses them, as for `probe`.
        own = [] if is_file and not all(are_files) else requests
        tables = tables_of(source, own, feature_store, floors=floors, progress=progress)
        data = str(tables.named[0].table.provenance.get("source", target))
        _collect(data_sets.setdefault(data, {}), tables.named, str(target))
        unavailable += [one._replace(data=data) for one in tables.unavailable]
        skipped.update(tables.skipped)
    titles = data_titles(list(data_sets))
    searches = {
        data: search_for_duplicates(list(tables.values()), thorough=pairs) for data, tables in data_sets.items()
    }
    boards: list[Leaderboard] = []
    results: list[ProbeResult] = []
    ticks = FitTicks(len(asked) * sum(map(len, data_sets.values())), progress)
    for options in asked:
        for data, tables in data_sets.items():
            entries: list[Entry] = []
            for one in tables.values():
                with errors_naming(titles[data]):
                    entry = enter(one, titles[data], options, memo, searches[data])
                ticks.done()
                entries.append(entry)
                results += entry.results
                if finished is not None:
                    finished(titles[data], entry.results[0])
            boards.append(make_leaderboard(entries))
    ranks = [average_ranks([board for board in boards if board.protocol == protocol]) for protocol in wanted]
    return Comparison(
        leaderboards=boards,
        average_ranks=[found for found in ranks if found is not None],
        unavailable=[one._replace(data=titles[one.data]) for one in unavailable],
        skipped=[Skipped(*item) for item in sorted(skipped.items())],
        notes=dropped_notes(opened) + disagreements(boards) + _of_precisions(models, bundled),
        results=results,
        image_pairs=[
            pair
            for data, search in searches.items()
            if pairs
            for pair in image_pairs(titles[data], search.named.table, search.found)
        ],
        origin=origin_of(
            "compare",
            {
                "targets": targets,
                "model": models,
                "protocol": list(wanted),
                "estimator": estimator,
                "params": dict(params or {}) or None,
                "as_published": as_published,
                "seeds": seeds,
                "folds": folds,
                "label_column": label_column,
                "drop_unlabelled": drop_unlabelled or None,
            },
            {titles[data]: list(tables.values()) for data, tables in data_sets.items()},
            seeds=range(seeds),
        ),
    )


def _is_auto(models: Any) -> bool:
    return [one.model for one in as_requests(models)] == [AUTO]


def _device_of(models: Any) -> str:
    return as_requests(models)[0].device


def _named_by(models: Any, names: Sequence[str]) -> list[FeatureRequest]:
    """Return what was asked for of ``auto``, of each of its models."""
    [asked] = as_requests(models)
    return [dataclasses.replace(asked, model=name) for name in names]


def _listed(targets: Any) -> list[Any]:
    one = isinstance(targets, str | os.PathLike) or not isinstance(targets, Iterable)
    listed: list[Any] = [targets] if one else list(cast("Iterable[Any]", targets))
    if not listed:
        raise UsageError("no target was given; name feature files, folders or manifests")
    named = [os.path.abspath(cast(str, target)) for target in listed if isinstance(target, str | os.PathLike)]
    if len(set(named)) < len(named):
        twice = next(target for target in named if named.count(target) > 1)
        raise UsageError(f"{twice} is named twice; name each target once")
    return listed


def _checked_grid(
    protocols: Sequence[str], estimator: str | None, params: Mapping[str, Sequence[Any]]
) -> Mapping[str, Sequence[Any]]:
    """Return the parameters as plain lists, which results can be remembered by."""
    if estimator is None:
        if params:
            raise UsageError("parameters are for an estimator, and none is named; name one by its dotted path")
        return {}
    if "quick" not in protocols:
        raise UsageError(f"protocol {protocols[0]} has an estimator of its own; leave the estimator out, or use quick")
    grid = {name: values if isinstance(values, str) else list(values) for name, values in params.items()}
    try:
        canonical_json([estimator, grid])
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"estimator {estimator!r} with {dict(params)!r}: {error}; results are remembered by these, so name the "
            "estimator by its dotted path, and give numbers or words for its parameters"
        ) from error
    check_estimator(estimator, grid)
    return grid


def _pinned(request: FeatureRequest) -> FeatureRequest:
    """Settle what `auto` would decide by measuring."""
    return dataclasses.replace(
        request,
        precision="fp32" if request.precision == "auto" else request.precision,
        engine="torch" if request.engine == "auto" else request.engine,
    )


def _collect(found: dict[str, NamedTable], tables: list[NamedTable], target: str) -> None:
    """Add the tables of one target to a data set; a floor that several targets share is one floor."""
    for named in tables:
        name = named.name
        if name in found:
            if named.floor:
                continue
            name = f"{name} ({Path(target).stem})"
            if name in found:
                raise UsageError(f"{target}: {name} is compared with itself; name each backbone once")
        found[name] = dataclasses.replace(named, name=name)


def _of_precisions(models: object, bundled: list[FeatureRequest]) -> list[str]:
    """Say why `probe` may print another number for the same backbone, where `auto` was settled here."""
    unsettled = [one for one in as_requests(cast(Any, models)) or bundled if _pinned(one) != one]
    if not unsettled:
        return []
    return [
        "features are of torch fp32 where precision and engine are auto; `probe` and `extract` take what is fastest "
        "within the drift bound, so that their number for the same backbone may differ a little"
    ]
