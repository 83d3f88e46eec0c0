"""The same picture more than once: byte for byte, or re-encoded, resized or cropped; and under several labels.

Layer: auditing; above evaluation, whose detector finds them.
"""

from __future__ import annotations

from collections.abc import Sequence

from embedkit.evaluation import DuplicatePair, Duplicates
from embedkit.results import Finding
from embedkit.tables import FeatureTable

LEAST_LIKENESS = 0.9645
"""Least likeness, by pixels, of near-duplicates that are listed: above the detector's own 0.957.

A list that a person looks through is to hold few others; a probe that counts what may leak is to miss few. Chosen on
groceries, PACS (above it are two pairs of sketches of guitars) and the training images of CIFAR-10, of whose copies
96 % are above it (benchmarks/audit.py; docs/audit.md has sets that it was not chosen on).
"""


def listed_pairs(duplicates: Duplicates, table: FeatureTable) -> list[DuplicatePair]:
    """Return the pairs of rows of a table that are near enough to be listed."""
    return [pair for pair in duplicates.pairs(table) if pair.kind == "exact" or pair.similarity >= LEAST_LIKENESS]


def copies(
    keys: Sequence[str],
    labels: Sequence[str] | None,
    split: Sequence[str] | None,
    pairs: Sequence[DuplicatePair],
    found_by: str,
) -> list[Finding]:
    """Report pairs of rows; those of different labels are contradictions besides.

    Parameters
    ----------
    keys : sequence of str of length n
    labels, split : sequence of str of length n, optional
        Empty text where a row has none.
    pairs : sequence of DuplicatePair
        Copies first.
    found_by : str
        What near-duplicates were found by.
    """
    found: list[Finding] = []
    contradictions: list[Finding] = []
    for one, two, score, kind in pairs:
        where = _where(split, one, two)
        said = "byte for byte the same image" if kind == "exact" else f"alike by {score:.3f} ({found_by})"
        name = "duplicate" if kind == "exact" else "near-duplicate"
        found.append(Finding(name, keys[two], keys[one], score, said + where))
        if labels is not None and labels[one] and labels[two] and labels[one] != labels[two]:
            words = f"{said}, labelled {labels[two]} here and {labels[one]} there{where}"
            contradictions.append(Finding("contradiction", keys[two], keys[one], score, words))
    return [*found, *contradictions]


def _where(split: Sequence[str] | None, one: int, two: int) -> str:
    if split is None or not split[one] or not split[two]:
        return ""
    return f", both in {split[one]}" if split[one] == split[two] else f", in {split[two]} and in {split[one]}"
