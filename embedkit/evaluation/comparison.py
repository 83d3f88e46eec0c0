"""Leaderboards: several backbones on the same test images, ranked only as far as paired tests tell them apart.

For each data set and protocol, every pair of backbones is compared on the same images: by McNemar's exact test where
an image is right or wrong, else by a permutation test of the per-image scores. The p-values of a board are corrected
together (Holm). Backbones that the leader of their group has not beaten share its rank. Over three data sets or more,
the Friedman test and Nemenyi's critical difference compare average ranks.

Numbers are ranked only where everything but the backbone is equal; else a board says what differs.

Layer: evaluation; above statistics and the results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import ProbeError
from embedkit.evaluation.judging import interval_of_scores, interval_over_draws
from embedkit.evaluation.statistics import (
    friedman_test,
    holm_correction,
    mcnemar_test,
    nemenyi_critical_difference,
    paired_permutation_test,
    rank_groups,
)
from embedkit.results import AverageRanks, Leaderboard, Pair, ProbeResult, Standing

ALPHA = 0.05
"""The level of every test, after correction."""

FEWEST_DATA_SETS = 3
"""From so many on, average ranks are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Everything but the backbone that decides a number.

    Attributes
    ----------
    test_images, train_images : str
        Digests of the images, in order, with their labels.
    split : str
        Digest of the split column and the groups.
    protocol, estimator, metric : str
    as_published : bool
    seeds, folds : int
    preprocessing : str or None
        What overrides the backbones' own preprocessing; None for floors, which have none of their own.
    """

    test_images: str
    train_images: str
    split: str
    protocol: str
    estimator: str
    metric: str
    as_published: bool
    seeds: int
    folds: int
    preprocessing: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One backbone on one data set by one protocol.

    Attributes
    ----------
    data, model : str
    floor : bool
    conditions : Conditions
    results : list of ProbeResult
        One a seed.
    per_image : ndarray of shape (n_test,), float64
        The score of each test image, larger is better, mean over seeds; in the order of the test images.
    parameters : int or None
        Of the network, classifier left out.
    images_per_second : float or None
        Of the network, where it was measured.
    feature_bytes : int
        Of one image, as stored.
    """

    data: str
    model: str
    floor: bool
    conditions: Conditions
    results: list[ProbeResult]
    per_image: npt.NDArray[np.float64]
    parameters: int | None = None
    images_per_second: float | None = None
    feature_bytes: int = 0


def differences(one: Conditions, other: Conditions) -> list[str]:
    """Say why two numbers must not be ranked against each other; nothing where they may be."""
    reasons = {
        "test_images": "other test images, or other labels of them",
        "train_images": "other training images, or other labels of them",
        "split": "another split",
    }
    for name in ("protocol", "estimator", "metric", "as_published", "seeds", "folds"):
        reasons[name] = f"{name.replace('_', ' ')}: {getattr(one, name)} and {getattr(other, name)}"
    found = [reason for name, reason in reasons.items() if getattr(one, name) != getattr(other, name)]
    if None not in (one.preprocessing, other.preprocessing) and one.preprocessing != other.preprocessing:
        found.append(f"other preprocessing overrides: {one.preprocessing} and {other.preprocessing}")
    return found


def make_leaderboard(entries: Sequence[Entry]) -> Leaderboard:
    """Rank backbones on one data set by one protocol, if they may be.

    Parameters
    ----------
    entries : sequence of Entry
        At least one; of distinct names.

    Raises
    ------
    ProbeError
        Two entries of one name.
    """
    names = [entry.model for entry in entries]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ProbeError(f"{twice} is compared with itself on {entries[0].data}; name each backbone once")
    values = [_mean_value(entry) for entry in entries]
    # Equal values keep the order of names, so that no accident of the order of arguments shows.
    order = sorted(range(len(entries)), key=lambda place: (-_sortable(values[place]), entries[place].model))
    ranked = [entries[place] for place in order]
    refusals = _refusals(ranked)
    pairs: list[Pair] = []
    groups: list[int | None] = [None] * len(ranked)
    if not refusals:
        pairs = _compare_pairs(ranked)
        differ = np.zeros((len(ranked), len(ranked)), dtype=np.bool_)
        for (i, j), pair in zip(combinations(range(len(ranked)), 2), pairs, strict=True):
            differ[i, j] = differ[j, i] = pair.differ
        groups = [*rank_groups([_sortable(values[place]) for place in order], differ).tolist()]
    first = ranked[0].results[0]
    notes = list(dict.fromkeys(note for entry in ranked for result in entry.results for note in result.notes))
    if not refusals and first.metric != "accuracy" and _tells_right_from_wrong(ranked):
        notes.append(f"pairs are compared by which images are right, the board is sorted by {first.metric}")
    return Leaderboard(
        data=ranked[0].data,
        protocol=first.protocol,
        estimator=first.estimator,
        metric=first.metric,
        seeds=len(ranked[0].results),
        selected_on=first.selected_on,
        reported_on=first.reported_on,
        rows=[
            _standing(entry, rank, tied=rank is not None and groups.count(rank) > 1)
            for entry, rank in zip(ranked, groups, strict=True)
        ],
        pairs=pairs,
        not_ranked=refusals,
        notes=notes,
    )


def average_ranks(boards: Sequence[Leaderboard]) -> AverageRanks | None:
    """Compare backbones over several data sets.

    Parameters
    ----------
    boards : sequence of Leaderboard
        Of one protocol, one a data set.

    Returns
    -------
    AverageRanks or None
        None with fewer than three data sets, or fewer than three backbones that are ranked in all of them.
    """
    boards = [board for board in boards if not board.not_ranked]
    if len(boards) < FEWEST_DATA_SETS:
        return None
    values = [{row.model: row.value for row in board.rows} for board in boards]
    models = [model for model in sorted(values[0]) if all(model in found for found in values)]
    if len(models) < 3:
        return None
    test = friedman_test([[_sortable(found[model]) for model in models] for found in values])
    critical = nemenyi_critical_difference(len(models), len(boards), ALPHA)
    ranks = test.average_ranks
    apart = np.abs(ranks[:, None] - ranks[None, :]) >= critical if test.p_value <= ALPHA else np.zeros((1, 1), bool)
    groups = rank_groups(-ranks, np.broadcast_to(apart, (len(models), len(models))))
    order = np.argsort(ranks, kind="stable")
    return AverageRanks(
        protocol=boards[0].protocol,
        estimator=boards[0].estimator,
        data=[board.data for board in boards],
        models=[models[place] for place in order],
        average_ranks=ranks[order].tolist(),
        statistic=test.statistic,
        p_value=test.p_value,
        critical_difference=critical,
        groups=groups[order].tolist(),
    )


def disagreements(boards: Sequence[Leaderboard]) -> list[str]:
    """Say where no backbone is in the first group of all protocols on one data set."""
    said: list[str] = []
    for data in dict.fromkeys(board.data for board in boards):
        first = {
            f"{board.protocol} ({board.estimator})": [row.model for row in board.rows if row.rank == 1]
            for board in boards
            if board.data == data and not board.not_ranked
        }
        if winners := disagreement(first):
            said.append(f"{data}: {winners}")
    return said


def disagreement(first: Mapping[str, Sequence[str]]) -> str:
    """Say that protocols disagree on the winner: that no model is in the first group of all; empty where one is.

    Parameters
    ----------
    first : mapping of str to sequence of str
        Protocol -> the models that its tests cannot tell from its best.
    """
    candidates = {model for models in first.values() for model in models}
    if len(first) < 2 or any(all(model in models for models in first.values()) for model in candidates):
        return ""
    winners = ", ".join(f"{protocol}: {' or '.join(models)}" for protocol, models in first.items())
    return f"protocols disagree on the winner: {winners}"


def disagreements_of(results: Sequence[ProbeResult]) -> list[str]:
    """Say the same of results of one data set that are on no board, floors aside."""
    of_protocol: dict[str, list[ProbeResult]] = {}
    for result in results:
        if not result.floor:
            of_protocol.setdefault(result.protocol, []).append(result)
    said = disagreement({protocol: first_group(found) for protocol, found in of_protocol.items()})
    return [said] if said else []


def first_group(results: Sequence[ProbeResult]) -> list[str]:
    """Give the models that cannot be told from the best of them, each by its best result of one protocol.

    In pairs on the same tested images, corrected by Holm's method; by intervals that overlap where the outcome of each
    image was not kept.
    """
    best: dict[str, ProbeResult] = {}
    for result in results:
        if result.model not in best or best[result.model].value < result.value:
            best[result.model] = result
    leader, *others = sorted(best.values(), key=lambda result: -result.value)
    tested = [_per_image(leader, other) for other in others]
    paired = [pair for pair in tested if pair is not None]
    corrected = iter(holm_correction([_test(*pair)[1] for pair in paired]).tolist() if paired else [])
    group = [leader.model]
    for other, pair in zip(others, tested, strict=True):
        apart = next(corrected) <= ALPHA if pair is not None else _apart(leader, other)
        group += [] if apart else [other.model]
    return group


def _per_image(one: ProbeResult, other: ProbeResult) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    if one.rows is None or other.rows is None:
        return None
    first, second = one.rows.per_image(), other.rows.per_image()
    if first.keys() != second.keys():
        return None
    return np.array(list(first.values())), np.array([second[key] for key in first])


def _apart(leader: ProbeResult, other: ProbeResult) -> bool:
    return leader.interval is not None and other.interval is not None and leader.interval[0] > other.interval[1]


def _refusals(ranked: Sequence[Entry]) -> list[str]:
    """Say what keeps the entries from being ranked: against the first model, and against each other's overrides."""
    reference = next((entry for entry in ranked if not entry.floor), ranked[0])
    reasons: list[str] = []
    for entry in ranked:
        found = differences(reference.conditions, entry.conditions)
        if found:
            reasons.append(f"{reference.model} and {entry.model} are not comparable: {'; '.join(found)}")
        if _mean_value(entry) is None:
            reasons.append(f"{entry.model} has no {entry.results[0].metric}: it is not defined on these test images")
    return reasons


def _compare_pairs(ranked: Sequence[Entry]) -> list[Pair]:
    tests = [_paired(one, other) for one, other in combinations(ranked, 2)]
    corrected = holm_correction([p_value for _, p_value, _ in tests])
    return [
        Pair(
            better=one.model,
            worse=other.model,
            test=test,
            difference=difference,
            p_value=p_value,
            corrected=float(adjusted),
            differ=bool(adjusted <= ALPHA),
        )
        for (one, other), (test, p_value, difference), adjusted in zip(
            combinations(ranked, 2), tests, corrected, strict=True
        )
    ]


def _paired(one: Entry, other: Entry) -> tuple[Literal["mcnemar", "permutation"], float, float]:
    return _test(one.per_image, other.per_image)


def _test(
    one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]
) -> tuple[Literal["mcnemar", "permutation"], float, float]:
    if np.isin(one, (0.0, 1.0)).all() and np.isin(other, (0.0, 1.0)).all():
        p_value, difference = mcnemar_test(one > 0, other > 0)
        return "mcnemar", p_value, difference
    p_value, difference = paired_permutation_test(one, other)
    return "permutation", p_value, difference


def _tells_right_from_wrong(entries: Sequence[Entry]) -> bool:
    return all(bool(np.isin(entry.per_image, (0.0, 1.0)).all()) for entry in entries)


def _values(entry: Entry) -> list[float] | None:
    """Return the metric for each seed; None where it is not defined for one (a class without test images, ...)."""
    values = [cast("float | None", result.value) for result in entry.results]
    found = [value for value in values if value is not None and np.isfinite(value)]
    return found if len(found) == len(values) else None


def _mean_value(entry: Entry) -> float | None:
    values = _values(entry)
    return None if values is None else float(np.mean(values))


def _sortable(value: float | None) -> float:
    return -np.inf if value is None else value


def _standing(entry: Entry, rank: int | None, *, tied: bool) -> Standing:
    results = entry.results
    values = _values(entry)
    return Standing(
        model=entry.model,
        floor=entry.floor,
        value=_mean_value(entry),
        interval=_over_images(entry),
        seed_interval=None if values is None else interval_over_draws(results[0].metric, values),
        rank=rank,
        tied=tied,
        n_train=results[0].n_train,
        n_test=results[0].n_test,
        params=results[0].params,
        at_edge=any(result.at_edge for result in results),
        converged=all(result.converged for result in results),
        fit_seconds=float(np.mean([result.fit_seconds for result in results])),
        parameters=entry.parameters,
        images_per_second=entry.images_per_second,
        feature_bytes=entry.feature_bytes,
    )


def _over_images(entry: Entry) -> tuple[float, float] | None:
    """Give the interval over test images: of several seeds that of the mean score of each image, where it is known."""
    results = entry.results
    one_draw = all(result.rows is not None and len(result.rows) == result.n_test for result in results)
    if len(results) > 1 and results[0].metric == "accuracy" and one_draw:
        return interval_of_scores(entry.per_image)
    ends = [interval for result in results if (interval := result.interval) is not None]
    if len(ends) < len(results):
        return None
    return float(np.mean([low for low, _ in ends])), float(np.mean([high for _, high in ends]))
