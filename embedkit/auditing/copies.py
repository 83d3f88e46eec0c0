"""The same picture more than once: byte for byte, or re-encoded, resized or cropped; and under several labels.

Layer: auditing; above results.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embedkit.results import Finding

Pair = tuple[int, int, float]
"""Two rows, the smaller first, and how alike they are: 1 for equal bytes, else the correlation of their pixels."""


def exact_pairs(digests: npt.NDArray[np.uint8]) -> list[Pair]:
    """Pair each row with the first one that has its digest."""
    first: dict[bytes, int] = {}
    pairs: list[Pair] = []
    for row, digest in enumerate(digests):
        one = first.setdefault(digest.tobytes(), row)
        if one != row:
            pairs.append((one, row, 1.0))
    return pairs


def copies(
    keys: Sequence[str],
    labels: Sequence[str] | None,
    split: Sequence[str] | None,
    exact: Sequence[Pair],
    near: Sequence[Pair],
) -> list[Finding]:
    """Report pairs; those of different labels are contradictions besides.

    Parameters
    ----------
    keys : sequence of str of length n
    labels, split : sequence of str of length n, optional
        Empty text where a row has none.
    exact, near : sequence of Pair
    """
    found: list[Finding] = []
    contradictions: list[Finding] = []
    for kind, pairs, said in (("duplicate", exact, "byte for byte"), ("near-duplicate", near, "nearly")):
        for one, two, score in sorted(pairs, key=lambda pair: -pair[2]):
            where = _where(split, one, two)
            nearness = "byte for byte the same image" if kind == "duplicate" else f"pixels correlate by {score:.3f}"
            found.append(Finding(kind, keys[two], keys[one], score, nearness + where))
            if labels is not None and labels[one] and labels[two] and labels[one] != labels[two]:
                words = f"{said} one image, labelled {labels[two]} here and {labels[one]} there{where}"
                contradictions.append(Finding("contradiction", keys[two], keys[one], score, words))
    return [*found, *contradictions]


def _where(split: Sequence[str] | None, one: int, two: int) -> str:
    if split is None or not split[one] or not split[two]:
        return ""
    return f", both in {split[one]}" if split[one] == split[two] else f", in {split[two]} and in {split[one]}"
