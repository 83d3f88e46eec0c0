"""Two domains measured, and several: each pair, and each domain left out in turn.

Layer: the top of selection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from embedkit.errors import LabelsError, SplitError, UsageError
from embedkit.evaluation import holm_correction, make_splits, mcnemar_test
from embedkit.results import ClassGap, DomainGaps, Gap, HeldOut, Reached
from embedkit.selection import distances
from embedkit.selection.rows import Classes, Floats
from embedkit.selection.transfer import (
    SOURCE,
    TARGET,
    Domain,
    Names,
    Predictions,
    Rows,
    name_rows,
    out_of_fold,
    pooled,
    predict_across,
    reached,
)
from embedkit.selection.verdicts import best_adapter, exchanged_classes, judge_transfer
from embedkit.tables import FeatureTable

_MOST_MEASURED = 5_000
"""Rows of each domain that distances look at; of more, so many drawn at random."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainTable:
    """A domain as a table, with its floors.

    Attributes
    ----------
    name : str
    table : FeatureTable
    floors : dict of str to FeatureTable
        Of the same rows.
    """

    name: str
    table: FeatureTable
    floors: dict[str, FeatureTable] = field(default_factory=dict[str, FeatureTable])

    def select(self, rows: Rows, name: str) -> DomainTable:
        """Give some of the rows as a domain."""
        return DomainTable(
            name=name, table=self.table[rows], floors={floor: table[rows] for floor, table in self.floors.items()}
        )


def measure_gap(
    source: DomainTable,
    target: DomainTable,
    *,
    model: str,
    adapters: Mapping[str, Any],
    folds: int = 5,
    random_state: int = 0,
) -> Gap:
    """Measure how far two domains lie apart, and what a probe of one is worth in the other.

    Raises
    ------
    LabelsError
        A domain has no classes, or the two have fewer than two in common.
    UsageError
        Features are constant or not finite.
    """
    classes, notes = _common(source, target)
    one, of_one = _domain(source, classes, folds, random_state)
    other, of_other = _domain(target, classes, folds, random_state)
    measured = _measured(one, other, classes, random_state)
    found = predict_across(one, other, adapters)
    results = reached(found)
    gaps = _class_gaps(one, other, found, classes, measured.of_classes)
    notes += [*of_one, *of_other]
    if found.unseen:
        notes.append(f"{found.unseen} images of {one.name} are tested images of {other.name}, and not fitted on there")
    if not found.converged:
        notes.append("a probe ran out of iterations")
    if next(one for one in results if one.method == SOURCE).is_below:
        notes.append(
            "the label shift is estimated as if images within a class looked alike in both domains; source-only is "
            "below target-only here, so that they do not, and the estimate is not to be believed"
        )
    back = name_rows(other, one.X[one.train])
    exchanged = exchanged_classes([(found.y, found.named[SOURCE]), (one.y[one.train], back)], classes)
    verdict, evidence = judge_transfer(found, results, gaps, exchanged)
    shift = sum(abs(gap.estimated_share - gap.source_share) for gap in gaps) / 2
    return Gap(
        source=source.name,
        target=target.name,
        model=model,
        source_rows=len(source.table),
        target_rows=len(target.table),
        classes=gaps,
        distances={**measured.values, "label-shift": shift},
        null=measured.null,
        p_values=measured.p_values,
        reached=results,
        verdict=verdict,
        evidence=evidence,
        notes=list(dict.fromkeys(notes)),
    )


def measure_domains(
    domains: Sequence[DomainTable],
    *,
    model: str,
    adapters: Mapping[str, Any],
    folds: int = 5,
    random_state: int = 0,
    done: Callable[[], None] | None = None,
) -> DomainGaps:
    """Measure each pair of domains, and name each by probes of all others.

    Raises
    ------
    UsageError
        There are fewer than two domains.
    """
    if len(domains) < 2:
        raise UsageError(f"{len(domains)} domain ({', '.join(one.name for one in domains)}); a gap needs at least two")
    pairs: list[Gap] = []
    held_out: list[HeldOut] = []
    all_found: list[Predictions] = []
    for source in domains:
        for target in (one for one in domains if one is not source):
            pairs.append(
                measure_gap(source, target, model=model, adapters=adapters, folds=folds, random_state=random_state)
            )
            if done is not None:
                done()
    for target in domains:
        others = [one for one in domains if one is not target]
        known = sorted(set[str]().union(*(_usable(one) for one in others)) & _usable(target))
        one = pooled([_domain(other, sorted(_usable(other) & {*known}), folds, random_state)[0] for other in others])
        found = predict_across(one, _domain(target, known, folds, random_state)[0], adapters)
        all_found.append(found)
        held_out.append(HeldOut(domain=target.name, tested=len(found.y), reached=reached(found)))
    together = _together(all_found)
    results = reached(together)
    by = {one.method: one for one in results}
    best = best_adapter(together, results)
    return DomainGaps(
        model=model,
        domains={one.name: len(one.table) for one in domains},
        pairs=pairs,
        held_out=held_out,
        pooled=results,
        recommended=None if best is None else best.method,
        evidence=_recommendation(by, together.adapters, best),
        notes=list(dict.fromkeys(note for pair in pairs for note in pair.notes)),
    )


def _recommendation(by: Mapping[str, Reached], adapters: Sequence[str], best: Reached | None) -> str:
    source, own = by[SOURCE], by[TARGET]
    beside = f"probes of all other domains name {100 * source.value:.1f} % right, of its own {100 * own.value:.1f} %"
    if not adapters:
        return f"with each domain left out in turn, {beside}"
    if best is None:
        tried = ", ".join(f"{name} {100 * by[name].value:.1f} %" for name in adapters)
        return (
            f"no adapter: with each domain left out in turn, {beside}, and none improves that by a paired test: {tried}"
        )
    p = "p < 0.001" if (best.p_value or 0) < 0.001 else f"p = {best.p_value:.3f}"
    return (
        f"align by {best.method}: with each domain left out in turn, {beside}, aligned {100 * best.value:.1f} % "
        f"({p}, corrected for {len(adapters)} tried)"
    )


def _together(found: Sequence[Predictions]) -> Predictions:
    methods = [name for name in found[0].named if all(name in one.named for one in found)]
    return Predictions(
        y=np.concatenate([one.y for one in found]),
        named={name: np.concatenate([one.named[name] for one in found]) for name in methods},
        certain={name: np.concatenate([one.certain[name] for one in found]) for name in found[0].certain},
        adapters=found[0].adapters,
        floors=[name for name in found[0].floors if name in methods],
        unseen=sum(one.unseen for one in found),
        converged=all(one.converged for one in found),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    values: dict[str, float]
    null: dict[str, float]
    p_values: dict[str, float]
    of_classes: list[float | None]


def _measured(one: Domain, other: Domain, classes: Sequence[str], seed: int) -> _Measured:
    rng = np.random.default_rng(seed)
    of_one, of_other = _drawn(len(one.X), rng), _drawn(len(other.X), rng)
    both = distances.standardised(np.concatenate([one.X[of_one], other.X[of_other]]).astype(np.float64))
    S, T = both[: len(of_one)], both[len(of_one) :]
    tested = {"proxy-a": distances.proxy_a_distance(S, T, seed=seed), "mmd": distances.mmd(S, T, seed=seed)}
    plain = {"frechet": distances.frechet_distance, "coral": distances.coral_distance}
    values = {name: found.value for name, found in tested.items()} | {name: f(S, T) for name, f in plain.items()}
    numbers = [_numbers(domain.y[rows], classes) for domain, rows in ((one, of_one), (other, of_other))]
    sides: list[tuple[Floats, Classes]] = [
        (rows[of_rows >= 0], of_rows[of_rows >= 0]) for rows, of_rows in zip((S, T), numbers, strict=True)
    ]
    alike = distances.means_alike(*sides[0], *sides[1], len(classes))
    return _Measured(
        values=values if alike is None else {**values, "cka": alike},
        null={name: found.null for name, found in tested.items()}
        | {name: distances.of_halves(f, S, T, seed=seed) for name, f in plain.items()},
        p_values={name: found.p_value for name, found in tested.items()},
        of_classes=distances.class_gaps(*sides[0], *sides[1], len(classes)),
    )


def _class_gaps(
    one: Domain, other: Domain, found: Predictions, classes: Sequence[str], apart: Sequence[float | None]
) -> list[ClassGap]:
    truth, named = out_of_fold(one)
    confusion = np.zeros((len(classes), len(classes)))
    np.add.at(confusion, (_numbers(named, classes), _numbers(truth, classes)), 1)
    predicted = np.bincount(_numbers(name_rows(one, other.X), classes), minlength=len(classes))
    estimated = distances.shifted_shares(confusion, predicted)
    counts = [np.bincount(_labelled(domain.y, classes), minlength=len(classes)) for domain in (one, other)]
    right, own = found.right(SOURCE), found.right(TARGET)
    rows = [np.flatnonzero(found.y == name) for name in classes]
    p_values = holm_correction([mcnemar_test(right[of], own[of]).p_value if len(of) else 1.0 for of in rows])
    return [
        ClassGap(
            name=name,
            source_rows=int(counts[0][place]),
            target_rows=int(counts[1][place]),
            distance=apart[place],
            tested=len(of),
            source_only=float(right[of].mean()) if len(of) else None,
            target_only=float(own[of].mean()) if len(of) else None,
            p_value=float(p_values[place]) if len(of) else None,
            named=_commonest(found.named[SOURCE][of[~right[of]]]),
            source_share=float(counts[0][place] / counts[0].sum()),
            estimated_share=float(estimated[place]),
            target_share=float(counts[1][place] / counts[1].sum()),
        )
        for place, (name, of) in enumerate(zip(classes, rows, strict=True))
    ]


def _commonest(names: Names) -> str:
    values, counts = np.unique(names, return_counts=True)
    return str(values[counts.argmax()]) if len(values) else ""


def _numbers(names: Names, classes: Sequence[str]) -> Classes:
    """Give the place of each name among the classes; -1 for others."""
    place = {name: number for number, name in enumerate(classes)}
    return np.array([place.get(name, -1) for name in cast("list[str]", names.tolist())], dtype=np.intp)


def _labelled(names: Names, classes: Sequence[str]) -> Classes:
    numbers = _numbers(names, classes)
    return numbers[numbers >= 0]


def _drawn(n: int, rng: np.random.Generator) -> Rows:
    return np.arange(n) if n <= _MOST_MEASURED else np.sort(rng.choice(n, _MOST_MEASURED, replace=False))


def _names(domain: DomainTable) -> Names:
    table = domain.table
    if table.target_type == "none" or table.y is None or not len(table):
        raise LabelsError(
            f"{domain.name} has no labelled images, and whether probes transfer is measured on labels: name a column "
            "by --label-column, or label some images"
        )
    if table.target_type != "class":
        raise LabelsError(f"the labels of {domain.name} are of the kind {table.target_type}; a gap is of classes")
    return np.asarray(table.y, dtype=np.str_)


def _usable(domain: DomainTable) -> set[str]:
    """Return the classes with at least two rows."""
    values, counts = np.unique(_names(domain), return_counts=True)
    found = dict(zip(cast("list[str]", values.tolist()), cast("list[int]", counts.tolist()), strict=True))
    return {name for name, count in found.items() if name and count > 1}


def _common(source: DomainTable, target: DomainTable) -> tuple[list[str], list[str]]:
    """Return the classes that can be compared, and what is left out."""
    of_source, of_target = _usable(source), _usable(target)
    for domain, names in ((source, of_source), (target, of_target)):
        if len(names) < 2:
            held = sorted(set(cast("list[str]", _names(domain).tolist())) - {""})
            raise LabelsError(
                f"{domain.name} has {len(names)} class{'es' if len(names) != 1 else ''} with two images or more (of "
                f"{_some(held)}); a gap needs at least two: label more images"
            )
    common = sorted(of_source & of_target)
    if len(common) < 2:
        raise LabelsError(
            f"{source.name} ({_some(sorted(of_source))}) and {target.name} ({_some(sorted(of_target))}) have "
            f"{len(common) or 'no'} class{'es' if len(common) != 1 else ''} in common with two images or more; a gap "
            "needs two: give the same things the same labels in both"
        )
    notes: list[str] = []
    for domain, other in ((source, target), (target, source)):
        left = sorted(set(cast("list[str]", _names(domain).tolist())) - {"", *common})
        if left:
            notes.append(
                f"{len(left)} class{'es' if len(left) != 1 else ''} of {domain.name} left out, with fewer than two "
                f"images there or in {other.name}: {_some(left)}"
            )
    return common, notes


def _domain(domain: DomainTable, classes: Sequence[str], folds: int, random_state: int) -> tuple[Domain, list[str]]:
    """Give the arrays of a domain, labels of other classes unknown, and notes on how it is split."""
    table, y = domain.table, _names(domain)
    y = np.where(np.isin(y, list(classes)), y, "")
    rows = np.flatnonzero(y != "")
    groups = None if table.groups is None else cast("list[str]", table.groups[rows].tolist())
    notes: list[str] = []
    splits = None
    if table.split is not None:
        declared = cast("list[str]", table.split[rows].tolist())
        try:
            splits = make_splits(y[rows], declared, groups=groups, random_state=random_state)
        except SplitError as error:
            notes.append(f"{domain.name}: its split column is not used, folds are: {error}")
    declares = splits is not None
    if splits is None:
        fewest = int(np.unique(y[rows], return_counts=True)[1].min())
        splits = make_splits(y[rows], None, groups=groups, folds=min(folds, fewest), random_state=random_state)
    return Domain(
        name=domain.name,
        X=table.X,
        y=y,
        digests=table.digests,
        train=rows[splits[0].train] if declares else rows,
        parts=[(rows[one.train], rows[one.test]) for one in splits],
        floors={name: floor.X for name, floor in domain.floors.items()},
    ), notes


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f", ... {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "none"
