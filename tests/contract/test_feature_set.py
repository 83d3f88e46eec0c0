"""What a feature set promises."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embedkit.errors import MissingRowsError, StoreNotFoundError, UsageError
from embedkit.store.feature_store import FeatureStore
from tests.store.samples import make_rows, make_spec

MakeStore = Callable[[], FeatureStore]


@pytest.fixture
def make_store(tmp_path_factory: pytest.TempPathFactory) -> MakeStore:
    return lambda: FeatureStore(tmp_path_factory.mktemp("store") / "s")


@pytest.fixture
def store(make_store: MakeStore) -> FeatureStore:
    return make_store()


def test_a_new_set_is_empty_and_says_what_it_is(store: FeatureStore) -> None:
    spec = make_spec(width=8)
    features = store.features(spec)
    digests, _ = make_rows(3)
    assert (features.spec, features.fingerprint, features.width) == (spec, spec.fingerprint, 8)
    assert features.contains(digests).tolist() == [False] * 3
    assert features.undecodable(digests) == {}
    assert features.get(digests[:0]).shape == (0, 8)
    assert store.fingerprints() == []
    with pytest.raises(StoreNotFoundError):
        store.spec(spec.fingerprint)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_come_back_in_the_order_asked_in_the_stored_dtype(store: FeatureStore, dtype: str) -> None:
    features = store.features(make_spec(dtype=dtype))
    digests, rows = make_rows(50)
    with features.writer() as writer:
        writer.add(digests[:20], rows[:20])
        writer.commit()
        writer.add(digests[20:], rows[20:].astype(np.float64))
    order = np.random.default_rng(0).integers(0, 50, 200)
    assert features.get(digests[order]).dtype == np.dtype(dtype)
    np.testing.assert_array_equal(features.get(digests[order]), rows.astype(dtype)[order])
    assert store.fingerprints() == [features.fingerprint]
    assert store.spec(features.fingerprint) == features.spec


def test_rows_are_visible_when_committed_and_not_before(store: FeatureStore) -> None:
    features = store.features(make_spec())
    digests, rows = make_rows(4)
    with features.writer() as writer:
        writer.add(digests[:2], rows[:2])
        assert not features.contains(digests).any()
        writer.commit()
        assert features.contains(digests).tolist() == [True, True, False, False]
        writer.commit()  # nothing new
        writer.add(digests[2:], rows[2:])
    assert features.contains(digests).all()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_rows_in_the_writer_survive_what_happens_to_the_caller(store: FeatureStore, error: type[BaseException]) -> None:
    features = store.features(make_spec())
    digests, rows = make_rows(4)

    def add_and_fail() -> None:
        with features.writer() as writer:
            writer.add(digests, rows)
            raise error

    with pytest.raises(error):
        add_and_fail()
    np.testing.assert_array_equal(features.get(digests), rows)


def test_a_digest_keeps_its_first_row(store: FeatureStore) -> None:
    features = store.features(make_spec())
    digests, rows = make_rows(3)
    with features.writer() as writer:
        writer.add(digests[[0, 1, 0]], rows)
        writer.add(digests[[1, 2]], rows[[2, 2]])
    np.testing.assert_array_equal(features.get(digests), rows[[0, 1, 2]])


def test_an_array_changed_after_add_changes_no_row(store: FeatureStore) -> None:
    features = store.features(make_spec())
    digests, rows = make_rows(3)
    given_digests, given_rows = digests.copy(), rows.copy()
    with features.writer() as writer:
        writer.add(given_digests, given_rows)
        given_digests[:], given_rows[:] = 0, 0
    np.testing.assert_array_equal(features.get(digests), rows)


def test_a_returned_array_can_be_changed_without_harm(store: FeatureStore) -> None:
    features = store.features(make_spec())
    digests, rows = make_rows(3)
    with features.writer() as writer:
        writer.add(digests, rows)
    features.get(digests)[:] = 0
    np.testing.assert_array_equal(features.get(digests), rows)


def test_missing_rows_are_named(store: FeatureStore) -> None:
    features = store.features(make_spec())
    digests, rows = make_rows(5)
    with features.writer() as writer:
        writer.add(digests[:3], rows[:3])
    with pytest.raises(MissingRowsError, match=rf"2 of 5 rows .*{digests[3].tobytes().hex()}"):
        features.get(digests)


def test_batches_are_get_in_pieces(store: FeatureStore) -> None:
    features = store.features(make_spec())
    digests, rows = make_rows(10)
    with features.writer() as writer:
        writer.add(digests, rows)
    pieces = list(features.batches(digests[::-1], 4))
    assert [len(piece) for piece in pieces] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate(pieces), rows[::-1])
    assert list(features.batches(digests[:0], 4)) == []


def test_specs_never_mix(store: FeatureStore) -> None:
    digests, rows = make_rows(4)
    with store.features(make_spec()).writer() as writer:
        writer.add(digests, rows)
    for other in (make_spec(layer=3, pool="avg"), make_spec(dtype="float16"), make_spec(weights="sha256:01")):
        assert not store.features(other).contains(digests).any()
    assert store.features(make_spec()).contains(digests).all()


def test_undecodable_digests_are_remembered_with_their_reason(store: FeatureStore) -> None:
    features = store.features(make_spec())
    digests, rows = make_rows(4)
    with features.writer() as writer:
        writer.add_undecodable(digests[0].tobytes(), "not an image: \u2603 \udc80\n")
        writer.add_undecodable(digests[0].tobytes(), "later")
        writer.add_undecodable(digests[1].tobytes(), "also")
        writer.commit()
        assert features.undecodable(digests) == {
            digests[0].tobytes(): "not an image: \u2603 \udc80\n",
            digests[1].tobytes(): "also",
        }
        writer.add(digests[1:2], rows[1:2])
    assert features.undecodable(digests[1:]) == {}, "a row counts more than a reason"
    assert features.contains(digests).tolist() == [False, True, False, False]


def test_claims_keep_two_writers_apart(store: FeatureStore) -> None:
    features = store.features(make_spec())
    digests, rows = make_rows(6)
    with features.writer() as first, features.writer() as second:
        assert first.claim(digests[:3]).all()
        assert first.claim(digests[:3]).all(), "its own claims do not stand in its way"
        assert second.claim(digests).tolist() == [False] * 3 + [True] * 3
        first.release(digests[:1])
        assert second.claim(digests[:3]).tolist() == [True, False, False]
        first.add(digests[1:2], rows[1:2])
        assert first.claim(digests[1:2]).tolist() == [False], "it has this row already"
        first.commit()
        assert second.claim(digests[1:3]).tolist() == [False, False], "one is there, one is still claimed"
        first.add_undecodable(digests[2].tobytes(), "broken")
        first.commit()
        assert second.claim(digests[2:3]).tolist() == [False], "remembered as undecodable"


def test_claims_end_with_their_writer(store: FeatureStore) -> None:
    features = store.features(make_spec())
    digests, _ = make_rows(3)
    with features.writer() as first:
        assert first.claim(digests).all()
    with features.writer() as second:
        assert second.claim(digests).all()


def test_a_writer_that_was_left_writes_no_more(store: FeatureStore) -> None:
    features = store.features(make_spec())
    digests, rows = make_rows(1)
    with features.writer() as writer:
        pass
    with pytest.raises(UsageError, match="make another"):
        writer.add(digests, rows)
    with pytest.raises(UsageError):
        writer.claim(digests)


@pytest.mark.parametrize(
    ("digests", "features"),
    [
        (np.zeros((2, 31), np.uint8), np.zeros((2, 8), np.float32)),
        (np.zeros((2, 32), np.int64), np.zeros((2, 8), np.float32)),
        (np.zeros(32, np.uint8), np.zeros((1, 8), np.float32)),
        (np.zeros((2, 32), np.uint8), np.zeros((2, 7), np.float32)),
        (np.zeros((2, 32), np.uint8), np.zeros((1, 8), np.float32)),
        (np.zeros((2, 32), np.uint8), np.zeros((2, 8), np.int64)),
    ],
)
def test_other_shapes_and_types_are_refused(store: FeatureStore, digests: np.ndarray, features: np.ndarray) -> None:
    with store.features(make_spec()).writer() as writer, pytest.raises(UsageError, match="expected"):
        writer.add(digests, features)


def test_a_digest_of_another_length_is_refused(store: FeatureStore) -> None:
    with store.features(make_spec()).writer() as writer, pytest.raises(UsageError, match="31 bytes"):
        writer.add_undecodable(b"x" * 31, "")
    with pytest.raises(UsageError, match="expected uint8"):
        store.features(make_spec()).contains(np.zeros((1, 31), np.uint8))


def test_a_number_that_float16_cannot_hold_is_refused_and_nan_is_kept(store: FeatureStore) -> None:
    features = store.features(make_spec(dtype="float16"))
    digests, rows = make_rows(2)
    rows[0, 0], rows[1, 0], rows[1, 1] = np.nan, np.inf, 65504.0
    with features.writer() as writer:
        with pytest.raises(UsageError, match="exceed the range of float16"):
            writer.add(digests, rows * 2)
        writer.add(digests, rows)
    np.testing.assert_array_equal(features.get(digests), rows.astype(np.float16))


def test_many_threads_read_at_once(store: FeatureStore) -> None:
    features = store.features(make_spec())
    digests, rows = make_rows(2000)
    with features.writer() as writer:
        for start in range(0, 2000, 100):
            writer.add(digests[start : start + 100], rows[start : start + 100])
            writer.commit()

    def read(seed: int) -> bool:
        order = np.random.default_rng(seed).permutation(2000)
        return np.array_equal(features.get(digests[order]), rows[order])

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(read, range(32)))


def test_digests_that_share_their_first_bytes_are_told_apart(store: FeatureStore) -> None:
    features = store.features(make_spec())
    digests, rows = make_rows(40)
    digests[:, :31] = 0
    digests[:, 31] = np.arange(40)
    with features.writer() as writer:
        writer.add(digests[:30:2], rows[:30:2])
        writer.commit()
        writer.add(digests[1:30:2], rows[1:30:2])
    assert features.contains(digests).tolist() == [True] * 30 + [False] * 10
    np.testing.assert_array_equal(features.get(digests[:30]), rows[:30])


Batches = st.lists(
    st.tuples(st.lists(st.integers(0, 30), max_size=12), st.booleans()),
    max_size=6,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=Batches, asked=st.lists(st.integers(0, 40), max_size=50), ends=st.integers(1, 32))
def test_any_history_is_the_history_of_a_dict(
    make_store: MakeStore, batches: list[tuple[list[int], bool]], asked: list[int], ends: int
) -> None:
    """Rows are added, repeated and committed at will; digests may share their first bytes or not."""
    digests, rows = make_rows(41)
    digests[:, : 32 - ends] = 7
    digests[:, 31] = np.arange(41)  # distinct all the same
    features = make_store().features(make_spec())
    expected: dict[int, np.ndarray] = {}
    with features.writer() as writer:
        for numbers, commit in batches:
            writer.add(digests[numbers], rows[numbers])
            expected.update({number: rows[number] for number in numbers})
            if commit:
                writer.commit()
    assert features.contains(digests[asked]).tolist() == [number in expected for number in asked]
    known = [number for number in asked if number in expected]
    np.testing.assert_array_equal(features.get(digests[known]), rows[known])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9), unique=False))
def test_every_float_comes_back_bit_by_bit(make_store: MakeStore, rows: np.ndarray) -> None:
    digests, _ = make_rows(len(rows))
    features = make_store().features(make_spec(width=rows.shape[1]))
    with features.writer() as writer:
        writer.add(digests, rows)
    assert features.get(digests).tobytes() == rows.tobytes()
