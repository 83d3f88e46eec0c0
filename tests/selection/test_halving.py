"""Rounds over rows: who is dropped, who is not, and what the numbers rest on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from embedkit.errors import LabelsError
from embedkit.selection import agreement_with, halve, held_out_blocks, held_out_rows
from embedkit.selection.elimination import beaten, expected_regret, gap_of
from embedkit.selection.held_out import class_weights, fitted_weights, folds_of, right_of
from embedkit.selection.row_order import round_sizes, row_order

COUNTS = st.lists(st.integers(1, 9), min_size=2, max_size=12)


def features(y, apart, *, d=12, seed=0, noise=1.0):
    rng = np.random.default_rng(seed)
    return (apart * rng.normal(size=(y.max() + 1, d))[y] + noise * rng.normal(size=(len(y), d))).astype(np.float32)


@settings(deadline=None, max_examples=50)
@given(counts=COUNTS, first=st.integers(2, 40), seed=st.integers(0, 5))
def test_orders_begin_with_pairs(counts, first, seed):
    y = np.repeat(np.arange(len(counts)), counts)
    order = row_order(y, first=first, seed=seed)
    assert sorted(order) == list(range(len(y)))
    pairs = sum(min(count, 2) for count in counts)
    assert np.bincount(y[order[:pairs]], minlength=len(counts)).tolist() == [min(count, 2) for count in counts]


@given(available=st.integers(2, 5000), first=st.integers(2, 200))
def test_rounds_grow_to_all_rows(available, first):
    sizes = round_sizes(available, first=first)
    assert sizes[0] == min(first, available)
    assert sizes[-1] == available
    assert all(later > size for size, later in zip(sizes, sizes[1:], strict=False))


@settings(deadline=None, max_examples=50)
@given(counts=COUNTS, seed=st.integers(0, 5))
def test_folds_share_out_classes_and_keep_groups(counts, seed):
    y = np.repeat(np.arange(len(counts)), counts)
    alone = folds_of(y, np.arange(len(y)), seed=seed)
    held = np.array([[np.sum((y == c) & (alone == fold)) for fold in (0, 1)] for c in range(len(counts))])
    assert np.abs(held[:, 0] - held[:, 1]).max() <= 1
    groups = np.random.default_rng(seed).integers(0, 4, len(y))
    together = folds_of(y, groups, seed=seed)
    assert all(len(np.unique(together[groups == one])) == 1 for one in np.unique(groups))


@pytest.mark.parametrize("shape", [(30, 50), (60, 8)])
def test_ridge_is_scikit_learns_with_the_penalty_of_least_left_out_error(shape):
    n, d = shape
    y = np.sort(np.arange(n) % 3)
    y[: n // 6] = 0  # classes of unequal size
    X = features(y, 0.7, d=d)
    weights, targets = class_weights(y)
    Z = StandardScaler().fit_transform(X)
    marks = np.eye(3)[y]
    centre = weights @ Z / n
    rows = (Z - centre) * np.sqrt(weights)[:, None]
    coefficients, least = fitted_weights(rows, targets, weights)
    unit = np.square(rows).sum() / n
    errors = {}
    for penalty in np.logspace(2, -4, 13):
        error = 0.0
        for left in range(n):
            kept = np.arange(n) != left
            fitted = Ridge(penalty * unit).fit(Z[kept], marks[kept] - 1 / 3, sample_weight=weights[kept])
            error += weights[left] * np.square(fitted.predict(Z[[left]])[0] - (marks[left] - 1 / 3)).sum()
        errors[penalty] = error
    best = min(errors, key=lambda penalty: errors[penalty])
    assert least == pytest.approx(errors[best], rel=1e-6)
    full = Ridge(best * unit).fit(Z, marks - 1 / 3, sample_weight=weights)
    np.testing.assert_allclose(coefficients, full.coef_.T, atol=1e-6)


def test_no_row_helps_to_predict_itself():
    y = np.arange(80) % 4
    noise = np.random.default_rng(0).normal(size=(80, 300))
    assert held_out_rows(noise, y, np.arange(80)).mean() < 0.4
    # Copies of one image under one label would be found by any features, unless they are kept together.
    twice, groups = np.repeat(noise[:40], 2, axis=0), np.repeat(np.arange(40), 2)
    labels = np.repeat(np.arange(40) % 4, 2)
    assert held_out_rows(twice, labels, np.arange(80)).mean() > 0.5
    assert held_out_rows(twice, labels, groups).mean() < 0.45


def test_constant_features_are_guesses():
    y = np.arange(40) % 4
    for probe in ("ridge", "knn"):
        assert held_out_rows(np.ones((40, 5)), y, np.arange(40), probe=probe).mean() <= 0.5
    assert right_of(np.ones((4, 2)), np.array([0, 0, 0, 0]), np.array([0, 0, 1, 1])).all()


def test_gaps_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    low = 0
    for _ in range(2000):
        right = rng.random((2, 60)) < [[0.6], [0.55]]
        gap = gap_of(right[0].astype(float), right[1].astype(float), level=0.05)
        low += gap.high < 0.05
    assert 0.02 <= low / 2000 <= 0.07


def test_the_best_is_hardly_ever_dropped_and_random_features_always_are():
    y = np.arange(200) % 10
    dropped, costs = 0, []
    for seed in range(20):
        given_by = {
            "good": features(y, 1.2, seed=seed),
            "close": features(y, 1.1, seed=seed + 100),
            "inverted": -features(y, 0.5, seed=seed + 200),
            "random": features(y, 0.0, seed=seed + 300),
        }
        looked: dict[str, int] = {}

        def some(networks, rows, given_by=given_by, looked=looked):
            looked.update(dict.fromkeys(networks, len(rows)))
            return {name: given_by[name][rows] for name in networks}

        found = halve(dict(zip(given_by, given_by, strict=True)), y, some, lambda rows: rows, first=40, seed=seed)
        standings = {one.name: one for one in found.standings}
        best = max(given_by, key=lambda name: held_out_rows(given_by[name], y, np.arange(200)).mean())
        dropped += standings[best].dropped is not None
        assert found.leader in ("good", "close")
        assert standings["random"].dropped is not None
        assert "points behind" in standings["random"].reason
        costs.append(looked["random"])
    assert dropped <= 1
    assert max(costs) < 200


def test_thorough_goes_on_to_the_last_row():
    y = np.arange(90) % 3
    same = features(y, 1.0)
    both = {"one": same, "other": same + 1e-3 * features(y, 0.0, seed=1)}
    seen: list[int] = []

    def some(networks, rows):
        seen.append(len(rows))
        return {name: both[name][rows] for name in networks}

    found = halve({"one": "one", "other": "other"}, y, some, lambda rows: rows, first=20, thorough=True)
    assert seen[-1] == 90
    assert found.stopped == "all images that may choose are used"
    seen.clear()
    found = halve({"one": "one", "other": "other"}, y, some, lambda rows: rows, first=20)
    assert seen == [20]
    assert found.regret <= 0.01
    assert [one.dropped for one in found.standings] == [None, None]


def test_equal_candidates_cost_nothing_to_choose_from_and_are_never_dropped_for_it():
    right = np.tile(np.array([1.0, 0.0, 1.0, 1.0, 0.0] * 10), (3, 1))
    assert [one for one, _ in beaten(right, 0, tolerance=0.01, tests=6)] == [False] * 3
    assert set(expected_regret(right, ["a", "b", "b"], np.arange(50)).values()) == {0.0}


def test_a_round_takes_as_many_rows_as_may_be_spent_and_none_of_hardly_more():
    y = np.arange(200) % 4
    same = features(y, 1.0)
    both = {"one": same, "other": same + 1e-3 * features(y, 0.0, seed=1)}
    for allowed, sizes in ((200, [20, 40, 80, 200]), (12, [20, 32, 44, 56]), (4, [20])):
        seen: list[int] = []

        def some(networks, rows, seen=seen):
            seen.append(len(rows))
            return {name: both[name][rows] for name in networks}

        found = halve(
            {"one": "one", "other": "other"},
            y,
            some,
            lambda rows: rows,
            first=20,
            thorough=True,
            affordable=lambda networks, more, allowed=allowed: min(more, allowed),
        )
        assert seen == sizes
        assert ("cost more than was to be spent" in found.stopped) == (allowed < 200)


def test_rows_that_cannot_be_read_are_left_out():
    y = np.arange(60) % 3
    X = features(y, 1.5)

    def some(networks, rows):
        part = X[rows].copy()
        part[rows % 2 == 0] = np.nan
        return dict.fromkeys(networks, part)

    found = halve({"a": "a", "b": "b"}, y, some, lambda rows: rows, first=20)
    assert found.standings[0].estimates[0].rows < 20
    with pytest.raises(LabelsError, match="too few could be read"):
        halve({"a": "a", "b": "b"}, y, lambda networks, rows: dict.fromkeys(networks, X[rows] * np.nan), lambda r: r)


def test_agreement_is_in_points_of_accuracy():
    truth = {"a": 0.9, "b": 0.8, "c": 0.5, "d": 0.4}
    perfect = agreement_with(truth, truth)
    assert perfect.tau == pytest.approx(1.0)
    assert perfect.regret == 0
    assert perfect.top3
    wrong = agreement_with({name: -value for name, value in truth.items()}, truth)
    assert wrong.tau == pytest.approx(-1.0)
    assert wrong.regret == pytest.approx(0.5)
    assert not wrong.top3
    tied = agreement_with({"a": 1.0, "b": 1.0}, truth)
    assert tied.tau is None
    assert tied.regret == pytest.approx(0.05)


def test_blocks_side_by_side_use_both_and_ignore_noise():
    rng = np.random.default_rng(0)
    y = np.arange(120) % 4
    halves = [features(y % 2, 1.5, seed=1), features(y // 2, 1.5, seed=2)]
    groups = np.arange(120)
    together = held_out_blocks(halves, y, groups).mean()
    assert together > max(held_out_rows(one, y, groups).mean() for one in halves) + 0.2
    noisy = [features(y, 1.0), 1e3 * rng.normal(size=(120, 200))]
    joined = held_out_rows(np.concatenate(noisy, axis=1), y, groups).mean()
    assert held_out_blocks(noisy, y, groups).mean() > joined + 0.05


def test_of_several_best_one_among_the_first_three_is_a_hit():
    truth = {"a": 0.9, "b": 0.9, "c": 0.5, "d": 0.4, "e": 0.3}
    numbers = {"a": 1.0, "b": 5.0, "c": 4.0, "d": 3.0, "e": 2.0}
    assert agreement_with(numbers, truth).top3
    assert not agreement_with(numbers, truth | {"b": 0.8}).top3
