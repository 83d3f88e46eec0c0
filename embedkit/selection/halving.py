"""Successive halving over rows: all candidates on few rows, and those that may still be the best on more.

Layer: selection; above held_out, row_order and elimination. Knows no images: features come from a function.

References
----------
K. Jamieson, A. Talwalkar, Non-stochastic best arm identification and hyperparameter optimization, AISTATS 2016.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from embedkit.errors import LabelsError, UsageError
from embedkit.evaluation import share_interval
from embedkit.selection.elimination import beaten, expected_regret
from embedkit.selection.held_out import Probe, held_out_rows
from embedkit.selection.row_order import FIRST_ROWS, round_sizes, row_order
from embedkit.selection.rows import Classes

Features = Callable[[Sequence[str], npt.NDArray[np.intp]], Mapping[str, npt.NDArray[np.float32]]]
"""From names of networks and rows to the features of each of their candidates."""

MOST_ROWS = 4096
"""That a round looks at: more tell apart what differs by less than a point, and fits of them take long."""

_LEAST_GROWTH = 1.25
"""Of the rows from one round to the next: fewer more would hardly say anything new."""

_SPENT = "a further round would have cost more than was to be spent on choosing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A candidate in one round.

    Attributes
    ----------
    rows : int
        That it was judged on, each by fits that have not seen it.
    value : float
        Accuracy, a fraction.
    interval : (float, float)
        95 %, over rows.
    seconds : float
        Of the probe.
    """

    rows: int
    value: float
    interval: tuple[float, float]
    seconds: float


@dataclass(slots=True, kw_only=True)
class Standing:
    """A candidate at the end.

    Attributes
    ----------
    name, network : str
    estimates : list of Estimate
        One a round that it took part in.
    dropped : int or None
        The round that dropped it, from 1.
    reason : str
    """

    name: str
    network: str
    estimates: list[Estimate] = field(default_factory=list[Estimate])
    dropped: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Halving:
    """What the rounds came to.

    Attributes
    ----------
    standings : list of Standing
        In the order of the candidates.
    leader : str
        The network to go on with.
    regret : float
        What choosing it is expected to cost, a fraction of accuracy.
    stopped : str
        Why there was no further round.
    rows : ndarray of intp
        All rows that were looked at, in order.
    first : int
        Of them, those that every candidate has seen.
    """

    standings: list[Standing]
    leader: str
    regret: float
    stopped: str
    rows: npt.NDArray[np.intp]
    first: int


def halve(
    candidates: Mapping[str, str],
    classes: Classes,
    features: Features,
    groups: Callable[[npt.NDArray[np.intp]], Classes],
    *,
    tolerance: float = 0.01,
    probe: Probe = "ridge",
    thorough: bool = False,
    first: int = FIRST_ROWS,
    seed: int = 0,
    affordable: Callable[[Sequence[str], int], int] = lambda networks, rows: rows,
    finished: Callable[[int, int, list[str]], None] = lambda number, rows, left: None,
) -> Halving:
    """Drop candidates until one network is left, or choosing among those left is worth less than the tolerance.

    A candidate is dropped only by a test: see `embedkit.selection.elimination.beaten`. A network whose candidates are
    all dropped passes no more images.

    Parameters
    ----------
    candidates : mapping of str to str
        Name of each candidate -> the network whose passes it needs.
    classes : ndarray of shape (n,)
        Of the rows that may choose.
    features : callable
        Called once a round with the networks still in it and all rows so far. Rows that are not finite are left out.
    groups : callable
        Called after that, for the number of each row's group: rows of one are never on both sides of a fit.
    tolerance : float
        A fraction of accuracy.
    probe : {"ridge", "knn", "logistic"}
        What judges the candidates: see `held_out_rows`.
    thorough : bool
        Go on until tests have dropped all other networks, or all rows are used.
    first : int
        Rows of the first round.
    seed : int
    affordable : callable, optional
        Asked before each further round, with the networks and the rows that it would add; returns how many of these
        it may.
    finished : callable, optional
        Told after each round its number, its rows, and the networks left.

    Raises
    ------
    LabelsError
        Among the rows that could be read, no class has two, or there is one class only.
    UsageError
        No candidate's features vary.
    """
    order = row_order(classes, first=first, seed=seed)
    sizes = round_sizes(min(len(order), MOST_ROWS), first=max(first, 2))
    standings = {name: Standing(name=name, network=network) for name, network in candidates.items()}
    tests = (len(standings) - 1) * len(sizes)
    leader, regret, stopped, used = next(iter(candidates.values())), 1.0, "", 0
    for number, planned in enumerate(sizes, 1):
        alive = [one for one in standings.values() if one.dropped is None]
        networks = list(dict.fromkeys(one.network for one in alive))
        size = planned if number == 1 else used + affordable(networks, planned - used)
        if size < _LEAST_GROWTH * used:
            stopped = _SPENT
            break
        rows, used = order[:size], size
        given = features(networks, rows)
        there = np.logical_and.reduce([np.isfinite(given[one.name]).all(axis=1) for one in alive])
        rows = rows[there]
        _, numbers = np.unique(classes[rows], return_inverse=True)
        if np.bincount(numbers, minlength=1).max() < 2 or len(np.unique(numbers)) < 2:
            raise LabelsError(f"of {size} images that were looked at, too few could be read to tell classes apart")
        if not any(np.ptp(given[one.name][there], axis=0).any() for one in alive):
            raise UsageError(
                f"the features of all candidates are the same for each of {len(rows)} images, so that nothing can be "
                "chosen by them; look at the images with `embedkit audit`"
            )
        together = np.unique(groups(rows), return_inverse=True)[1].astype(np.intp)
        right = np.stack([_judged(one, given[one.name][there], numbers, together, probe, seed) for one in alive])
        means = right.mean(axis=1)
        best = int(np.argmax(means))
        for one, (is_beaten, gap) in zip(alive, beaten(right, best, tolerance=tolerance, tests=tests), strict=True):
            if is_beaten:
                one.dropped = number
                ahead = "behind" if gap.high < 0 else "ahead"
                one.reason = (
                    f"{100 * -gap.mean:.1f} points behind {alive[best].name} on {len(rows)} images, "
                    f"at best {abs(100 * gap.high):.1f} {ahead}"
                )
        left = [place for place, one in enumerate(alive) if one.dropped is None]
        costs = expected_regret(right[left], [alive[place].network for place in left], together, seed=seed)
        leader = min(costs, key=lambda name: costs[name])
        regret = costs[leader]
        finished(number, size, list(costs))
        if len(costs) == 1:
            stopped = "one network is left"
            break
        if not thorough and regret <= tolerance:
            stopped = "choosing among those left is expected to be worth less than the tolerance"
            break
    return Halving(
        standings=list(standings.values()),
        leader=leader,
        regret=regret,
        stopped=stopped or ("all images that may choose are used" if used == sizes[-1] else _SPENT),
        rows=order[:used],
        first=min(sizes[0], used),
    )


def _judged(
    one: Standing, X: npt.NDArray[np.float32], classes: Classes, groups: Classes, probe: Probe, seed: int
) -> npt.NDArray[np.float64]:
    """Return how often each row is named right, and note the estimate."""
    started = time.monotonic()
    right = held_out_rows(X, classes, groups, probe=probe, seed=seed)
    one.estimates.append(estimate_of(right, time.monotonic() - started))
    return right


def estimate_of(right: npt.NDArray[np.float64], seconds: float) -> Estimate:
    """Return what `held_out_rows` says, with its 95 % interval over rows."""
    low, high = share_interval(round(float(right.sum())), len(right))
    return Estimate(rows=len(right), value=float(right.mean()), interval=(low, high), seconds=seconds)
