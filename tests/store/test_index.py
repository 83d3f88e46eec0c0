from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedkit.store.index import DigestIndex, by_part, places_of
from tests.store.samples import make_rows


class Parts:
    """Digests of several parts, as they lie on disk."""

    def __init__(self, *parts: np.ndarray) -> None:
        self.parts = parts

    def read(self, number: int, rows) -> np.ndarray:
        return self.parts[number][rows]

    def index(self, ranks: list[int] | None = None) -> DigestIndex:
        order = np.arange(len(self.parts)) if ranks is None else np.array(ranks)
        return DigestIndex.empty().with_parts(enumerate(self.parts), order)

    def expected(self, digests: np.ndarray, ranks: list[int] | None = None) -> list[int]:
        first: dict[bytes, int] = {}
        numbers = range(len(self.parts)) if ranks is None else sorted(range(len(self.parts)), key=ranks.__getitem__)
        for number in numbers:
            for row, digest in enumerate(self.parts[number]):
                first.setdefault(digest.tobytes(), (number << 32) + row)
        return [first.get(digest.tobytes(), -1) for digest in digests]


@pytest.mark.parametrize("sizes", [(), (0,), (1,), (1000,), (300, 0, 1, 699), (64, 65, 63)])
@pytest.mark.parametrize("order", ["stored", "shuffled", "backwards"])
def test_every_row_is_found_at_its_place(sizes: tuple[int, ...], order: str) -> None:
    digests, _ = make_rows(sum(sizes))
    parts = Parts(*np.split(digests, np.cumsum(sizes)[:-1]) if sizes else ())
    absent, _ = make_rows(50, seed=1)
    asked = np.concatenate([digests, absent])
    if order == "shuffled":
        asked = np.random.default_rng(2).permutation(asked)
    if order == "backwards":
        asked = asked[::-1].copy()
    assert parts.index().find(asked, parts.read).tolist() == parts.expected(asked)


def test_a_run_with_a_gap_is_found() -> None:
    digests, _ = make_rows(1000)
    parts = Parts(digests[:400], digests[500:])
    assert parts.index().find(digests, parts.read).tolist() == parts.expected(digests)


def test_growing_an_index_is_building_it_at_once() -> None:
    digests, _ = make_rows(500)
    parts = Parts(*np.split(digests, [100, 350, 360]))
    ranks = np.arange(4)
    grown = DigestIndex.empty()
    for number, part in enumerate(parts.parts):
        grown = grown.with_parts([(number, part)], ranks)
    np.testing.assert_array_equal(grown.prefixes, parts.index().prefixes)
    np.testing.assert_array_equal(grown.places, parts.index().places)


@pytest.mark.parametrize("ranks", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
def test_of_equal_digests_the_part_of_lowest_rank_counts(ranks: list[int]) -> None:
    digests, _ = make_rows(300)
    parts = Parts(digests[:200], digests[100:], digests[50:250])
    index = parts.index(ranks)
    assert index.find(digests, parts.read).tolist() == parts.expected(digests, ranks)
    assert index.duplicates(parts.read) == 200 + 200 + 200 - 300


def test_equal_prefixes_are_no_duplicates() -> None:
    digests, _ = make_rows(100)
    digests[:, :8] = digests[0, :8]
    parts = Parts(digests[:60], digests[60:])
    index = parts.index()
    assert index.tied
    assert index.duplicates(parts.read) == 0
    assert index.find(digests, parts.read).tolist() == parts.expected(digests)


@pytest.mark.parametrize("prefix", [b"\x00" * 8, b"\xff" * 8])
def test_prefixes_at_both_ends_are_found(prefix: bytes) -> None:
    digests, _ = make_rows(40)
    digests[:20, :8] = np.frombuffer(prefix, np.uint8)
    parts = Parts(digests[:30])
    assert parts.index().find(digests, parts.read).tolist() == parts.expected(digests)


def test_prefixes_far_from_random_are_found() -> None:
    """Hundreds of rows in one bucket, as no digest is distributed."""
    digests, _ = make_rows(2000)
    digests[:, 7] = 0
    digests[:, 6] = 1
    parts = Parts(digests)
    asked = np.random.default_rng(0).permutation(digests)
    assert parts.index().find(asked, parts.read).tolist() == parts.expected(asked)


@settings(max_examples=150, deadline=None)
@given(
    parts=st.lists(st.lists(st.integers(0, 60), max_size=30), max_size=5),
    asked=st.lists(st.integers(0, 70), max_size=40),
    distinct=st.integers(1, 32),
    steps=st.booleans(),
    chance=st.randoms(use_true_random=False),
)
def test_any_parts_are_searched_like_a_dict(parts, asked, distinct, steps, chance) -> None:
    """Parts share rows; digests share their first bytes, their last ones or none."""
    digests, _ = make_rows(71)
    digests[:, : 32 - distinct] = 0
    digests[:, 31 if chance.random() < 0.5 else 0] = np.arange(71)
    held = Parts(*(digests[numbers] for numbers in parts))
    ranks = chance.sample(range(len(parts)), len(parts))
    if steps:
        index = DigestIndex.empty()
        for number, part in enumerate(held.parts):
            index = index.with_parts([(number, part)], np.array(ranks))
    else:
        index = held.index(ranks)
    assert index.find(digests[asked], held.read).tolist() == held.expected(digests[asked], ranks)
    everything = {number for part in parts for number in part}
    assert index.duplicates(held.read) == sum(map(len, parts)) - len(everything)
    gone = index.redundant(((number, len(parts[number])) for number in ranks), held.read)
    assert {number for kept, part in enumerate(parts) if kept not in gone for number in part} == everything
    for number in sorted(set(range(len(parts))) - set(gone)):
        others = {row for other, part in enumerate(parts) if other not in (*gone, number) for row in part}
        assert not set(parts[number]) <= others, "one more could have gone"


def test_places_are_split_by_part() -> None:
    places = np.concatenate([places_of(70_000, 3), places_of(2, 2), places_of(70_000, 2)])
    found = {number: (positions.tolist(), rows.tolist()) for positions, number, rows in by_part(places)}
    assert found == {70_000: ([0, 1, 2, 5, 6], [0, 1, 2, 0, 1]), 2: ([3, 4], [0, 1])}
    assert list(by_part(places[:0])) == []
