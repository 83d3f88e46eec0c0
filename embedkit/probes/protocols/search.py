"""Search a grid without trying all of it, as CLIP does.

Layer: probes.protocols; the standard library only.
"""

from __future__ import annotations

from collections.abc import Callable


def halving_search(scores: Callable[[list[int]], list[float]], size: int, *, first_step: int) -> int:
    """Find a good index of a grid: try every `first_step`-th, then neighbours of the best at half the distance, and on.

    Parameters
    ----------
    scores : callable
        Scores of indices, larger is better; called with indices that it has not seen.
    size : int
        Of the grid: indices 0 to size - 1; (size - 1) is a multiple of `first_step`.
    first_step : int
        A power of 2.

    Returns
    -------
    int
        Of equal scores, the first of the indices compared.
    """
    known: dict[int, float] = {}

    def best_of(indices: list[int]) -> int:
        new = sorted(set(indices) - known.keys())
        if new:
            known.update(zip(new, scores(new), strict=True))
        return max(sorted(set(indices)), key=lambda index: known[index])

    best = best_of(list(range(0, size, first_step)))
    step = first_step // 2
    while step:
        best = best_of([max(best - step, 0), best, min(best + step, size - 1)])
        step //= 2
    return best
