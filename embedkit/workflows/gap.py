"""gap: how far two domains lie apart, and whether what is learnt in one holds in the other.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from embedkit.backbones import FeatureRequest, as_requests
from embedkit.errors import SpecMismatchError, UsageError
from embedkit.extraction import Progress
from embedkit.probes import import_estimator, is_path
from embedkit.results import DomainGaps, Gap, Unavailable
from embedkit.selection import DomainTable, default_adapters, measure_domains, measure_gap
from embedkit.specs import FeatureSpec, differences
from embedkit.store import FeatureStore
from embedkit.workflows.fit_ticks import FitTicks
from embedkit.workflows.floors import recorded_request
from embedkit.workflows.origins import data_name, data_titles, origin_of
from embedkit.workflows.reading import read_line
from embedkit.workflows.targets import NamedTable, Tables, Target, open_store, open_target, tables_of


def gap(
    source: Any,
    target: Any = None,
    *,
    domain_column: str | None = None,
    model: str | FeatureRequest | None = None,
    adapters: Mapping[str, Any] | Sequence[str] | None = None,
    label_column: str | None = None,
    drop_unlabelled: bool = False,
    floors: bool = True,
    folds: int = 5,
    store: str | os.PathLike[str] | None = None,
    random_state: int = 0,
    progress: Progress | None = None,
) -> Gap | DomainGaps:
    """Say how far a source and a target lie apart, and whether probes transfer; or that of all domains of one target.

    Parameters
    ----------
    source : path, or sequence of images
        A feature file, or a source of images, whose features come through the store.
    target : path, or sequence of images
        The domain that the source is to serve; features of the same backbone. Left out with `domain_column`.
    domain_column : str, optional
        The column of `source` that says of each row which domain it is of: each pair is measured, and each domain left
        out in turn.
    model : str or FeatureRequest, optional
        For images, by default the bundled backbone, or that of the feature file beside them.
    adapters : mapping of str to transformer, or sequence of str, optional
        Alignments to try, transformers with `sample_domain`: ``"coral"``, ``"subspace-alignment"`` and
        ``"linear-transport"`` of `embedkit.estimators` by default, or dotted paths such as ``"skada.CORALAdapter"``.
        None are tried where it is empty.
    label_column : str, optional
        The column that holds the labels.
    drop_unlabelled : bool
        Leave out rows without a label, and say how many.
    floors : bool
        Probe raw pixels, colour histograms and random weights beside, where the images can be had.
    folds : int
        For a domain without splits; fewer where a class has fewer rows.
    store : path, optional
        The folder of the store; by default the user's.
    random_state : int
        Seed of every random choice.
    progress : callable, optional

    Returns
    -------
    Gap or DomainGaps
        The latter with `domain_column`.

    Raises
    ------
    UsageError
        There is no such column, a target is missing or one too many, or all features are constant.
    SpecMismatchError
        Source and target have features of two kinds.
    LabelsError
        A domain has fewer than two classes, or two domains have fewer than two in common.

    Examples
    --------
    >>> gap("photos.h5", "sketches.h5").evidence  # doctest: +SKIP
    """
    tried = _adapters(adapters)
    arguments = {
        "source": source,
        "target": target,
        "domain_column": domain_column,
        "model": model,
        "adapters": sorted(tried) if adapters is not None else None,
        "label_column": label_column,
        "drop_unlabelled": drop_unlabelled or None,
        "floors": None if floors else False,
        "folds": folds,
        "random_state": random_state,
    }
    feature_store = open_store(store)
    if domain_column is not None:
        if target is not None:
            raise UsageError("a domain column parts one target into domains; leave the second one, or the column, out")
        opened = open_target(source, label_column=label_column, drop_unlabelled=drop_unlabelled)
        tables = tables_of(opened, as_requests(model or ()), feature_store, floors=floors, progress=progress)
        domains = _parted(tables, domain_column, opened.name)
        ticks = FitTicks(len(domains) * (len(domains) - 1), progress)
        measured_all = measure_domains(
            domains,
            model=tables.named[0].name,
            adapters=tried,
            folds=folds,
            random_state=random_state,
            done=ticks.done,
        )
        return dataclasses.replace(
            measured_all,
            notes=[*measured_all.notes, *_in_several(domains)],
            skipped=tables.skipped,
            unavailable=tables.unavailable,
            read=[read_line(opened)],
            origin=origin_of("gap", arguments, {data_name(tables.named[0]): tables.named}, seeds=[random_state]),
        )
    if target is None:
        raise UsageError(
            "a gap is between a source and a target; name a second one, or the column of domains (--domain-column)"
        )
    opened_both = [
        open_target(one, label_column=label_column, drop_unlabelled=drop_unlabelled) for one in (source, target)
    ]
    both = _tables_of_one_kind(opened_both, model, feature_store, floors, progress)
    titles = _titles(opened_both)
    one, other = (_whole(tables, title) for tables, title in zip(both, titles, strict=True))
    measured = measure_gap(
        one, other, model=both[0].named[0].name, adapters=tried, folds=folds, random_state=random_state
    )
    return dataclasses.replace(
        measured,
        notes=[*measured.notes, *_in_several([one, other])],
        skipped=[*both[0].skipped, *both[1].skipped],
        unavailable=[
            Unavailable(lost.model, lost.reason, title)
            for tables, title in zip(both, titles, strict=True)
            for lost in tables.unavailable
        ],
        read=[f"{title}: {read_line(opened)}" for opened, title in zip(opened_both, titles, strict=True)],
        origin=origin_of(
            "gap",
            arguments,
            {title: tables.named for title, tables in zip(titles, both, strict=True)},
            seeds=[random_state],
        ),
    )


def _in_several(domains: Sequence[DomainTable]) -> list[str]:
    """Say how many images are in more than one domain: what is fitted on one has seen them in the other."""
    digests = np.concatenate([np.unique(one.table.digests, axis=0) for one in domains])
    shared = int((np.unique(digests, axis=0, return_counts=True)[1] > 1).sum())
    if not shared:
        return []
    said = "1 image is" if shared == 1 else f"{shared} images are"
    return [f"{said} in more than one domain, byte for byte: a classifier of one has seen them when it names the other"]


def _adapters(given: Mapping[str, Any] | Sequence[str] | None) -> dict[str, Any]:
    known = default_adapters()
    if given is None:
        return known
    if isinstance(given, Mapping):
        return dict(given)
    for name in given:
        if name not in known and not is_path(name):
            raise UsageError(
                f"adapter {name!r} is not known; use {', '.join(known)}, or a dotted path such as skada.CORALAdapter"
            )
    return {name: known[name] if name in known else import_estimator(name) for name in given}


def _tables_of_one_kind(
    opened: list[Target],
    model: str | FeatureRequest | None,
    store: FeatureStore,
    floors: bool,
    progress: Progress | None,
) -> list[Tables]:
    """Return the tables of source and target: what one resolves, the other is asked for."""
    asked = as_requests(model or ())
    if len(asked) > 1:
        raise UsageError(f"{len(asked)} models are named; a gap uses features of one")
    files = [one for one in opened if one.table is not None]
    if len(files) == len(opened):
        _require_one_kind(opened, [cast(Any, one.table).spec for one in opened])
    first, second = (
        (opened[1], opened[0]) if len(files) == 1 and opened[1].table is not None else (opened[0], opened[1])
    )
    done = {id(first): tables_of(first, asked if first.table is None else [], store, floors=floors, progress=progress)}
    if second.table is None:
        leading = done[id(first)].named[0].table
        request = asked[0] if asked else recorded_request(leading)
        if request is None:
            raise UsageError(
                f"{first.name} does not record how its features were made; extract {second.name} with the same model, "
                "and name that file"
            )
        asked = [request.pinned(leading.spec)]
    elif asked:
        raise UsageError(f"{first.name} and {second.name} are feature files and have their model already; leave it out")
    wanted = asked if second.table is None else []
    done[id(second)] = tables_of(second, wanted, store, floors=floors, progress=progress)
    tables = [done[id(one)] for one in opened]
    _require_one_kind(opened, [one.named[0].table.spec for one in tables])
    return tables


def _require_one_kind(opened: list[Target], specs: list[FeatureSpec]) -> None:
    if specs[0].fingerprint == specs[1].fingerprint:
        return
    parts = "; ".join(f"{name}: {one!r} and {other!r}" for name, one, other in differences(specs[0], specs[1])[:3])
    raise SpecMismatchError(
        f"{opened[0].name} and {opened[1].name} have features of two kinds ({parts}); a gap compares one kind: extract "
        "both with one model, precision and engine"
    )


def _titles(opened: list[Target]) -> list[str]:
    names = [one.name for one in opened]
    if names[0] == names[1]:
        return [f"{names[0]} (source)", f"{names[1]} (target)"]
    titles = data_titles(names)
    return [titles[name] for name in names]


def _whole(tables: Tables, name: str) -> DomainTable:
    return DomainTable(
        name=name,
        table=tables.named[0].table,
        floors={_floor_name(one, tables.named[0]): one.table for one in tables.named[1:] if one.floor},
    )


def _floor_name(floor: NamedTable, of: NamedTable) -> str:
    """Call the floors of two domains alike."""
    return "random weights" if floor.name.startswith(of.name) else floor.name


def _parted(tables: Tables, column: str, name: str) -> list[DomainTable]:
    table = tables.named[0].table
    if column not in table.columns:
        there = ", ".join(table.columns) or "none"
        raise UsageError(f"{name} has no column {column!r} (there are: {there}); name the one that holds the domains")
    values = np.asarray(table.columns[column]).astype(np.str_)
    whole = _whole(tables, name)
    domains = [one for one in dict.fromkeys(cast("list[str]", values.tolist())) if one]
    if len(domains) > 50:
        raise UsageError(
            f"the column {column!r} of {name} holds {len(domains)} values, too many to be domains; name another column"
        )
    return [whole.select(np.flatnonzero(values == one), one) for one in domains]
