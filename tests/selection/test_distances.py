"""Each distance against its definition, and its p-values where there is no gap."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from embedkit import selection
from embedkit.errors import UsageError
from embedkit.selection import distances


def two_sets(n=30, m=24, d=5, apart=0.0, seed=0):
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(d, d))
    return rng.normal(size=(n, d)) @ mixing, rng.normal(size=(m, d)) @ mixing + apart


def test_proxy_a_distance_is_that_of_ridge_regression_fitted_fold_by_fold():
    S, T = two_sets(20, 20, 4, apart=1.0)
    seed, folds, n = 3, 5, 20
    found = selection.proxy_a_distance(S, T, folds=folds, permutations=3, seed=seed)
    rng = np.random.default_rng(seed)
    rows = np.concatenate([S, T])
    rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    sides = np.repeat([1.0, -1.0], n)
    for _ in range(3):
        rng.permutation(sides)
    fold = rng.permutation(2 * n) % folds
    wrong = 0
    for number in range(folds):
        train, test = fold != number, fold == number
        X = rows[train] - rows[train].mean(axis=0)
        # Kernel ridge with kernel x'x / d and penalty 1 is ridge with penalty d.
        coefficients = np.linalg.solve(X.T @ X + 4 * np.eye(4), X.T @ (sides[train] - sides[train].mean()))
        wrong += ((rows[test] - rows[train].mean(axis=0)) @ coefficients * sides[test] <= 0).sum()
    assert found.value == pytest.approx(2 * (1 - 2 * wrong / (2 * n)))


def test_proxy_a_distance_is_two_where_a_line_parts_the_sets():
    S, T = two_sets(apart=100.0)
    found = selection.proxy_a_distance(S, T)
    assert found.value == 2.0
    assert found.p_value == pytest.approx(1 / 200)


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_mmd_is_the_mean_over_pairs(seed):
    S, T = two_sets(6, 5, 3, apart=0.5, seed=seed)
    rows = np.concatenate([S, T])
    squares = [float(((a - b) ** 2).sum()) for place, a in enumerate(rows) for b in rows[:place]]
    middle = float(np.median(squares))

    def kernel(a, b):
        return np.exp(-float(((a - b) ** 2).sum()) / (2 * middle))

    within_s = np.mean([kernel(a, b) for i, a in enumerate(S) for j, b in enumerate(S) if i != j])
    within_t = np.mean([kernel(a, b) for i, a in enumerate(T) for j, b in enumerate(T) if i != j])
    across = np.mean([kernel(a, b) for a in S for b in T])
    assert selection.mmd(S, T, permutations=9).value == pytest.approx(within_s + within_t - 2 * across)


def test_mmd_p_value_is_the_share_of_partings_that_are_as_far_apart():
    S, T = two_sets(8, 8, 2, apart=0.6, seed=1)
    found = selection.mmd(S, T, permutations=199, seed=5)
    rows, rng = np.concatenate([S, T]), np.random.default_rng(77)
    others = [
        selection.mmd(rows[order[:8]], rows[order[8:]], permutations=1).value
        for order in (rng.permutation(16) for _ in range(199))
    ]
    by_hand = (sum(other >= found.value for other in others) + 1) / 200
    assert found.p_value == pytest.approx(by_hand, abs=0.1)
    assert found.null == pytest.approx(np.mean(others), abs=0.03)


@given(st.integers(0, 10_000), st.sampled_from([(30, 24, 5), (6, 5, 9), (30, 4, 9)]))
@settings(max_examples=15, deadline=None)
def test_frechet_and_coral_are_their_formulas(seed, shape):
    S, T = two_sets(*shape, apart=0.7, seed=seed)
    one, other = np.cov(S, rowvar=False), np.cov(T, rowvar=False)
    eigenvalues = np.linalg.eigvals(one @ other)
    means = float(((S.mean(axis=0) - T.mean(axis=0)) ** 2).sum())
    by_hand = means + np.trace(one) + np.trace(other) - 2 * np.sqrt(np.maximum(eigenvalues.real, 0)).sum()
    # The square root of an eigenvalue that is zero but for rounding is not: 1e-8.
    assert selection.frechet_distance(S, T) == pytest.approx(by_hand, rel=1e-4, abs=1e-4)
    by_hand = np.square(one - other).sum() / (4 * shape[2] ** 2)
    assert selection.coral_distance(S, T) == pytest.approx(by_hand, rel=1e-6)


def test_frechet_of_gaussians_in_one_dimension():
    S, T = np.array([[0.0], [2.0], [4.0]]), np.array([[10.0], [14.0], [18.0]])
    assert selection.frechet_distance(S, T) == pytest.approx((14 - 2) ** 2 + (4 - 2) ** 2)


def test_class_gaps_are_zero_on_average_without_a_gap_and_square_distances_with_one():
    rng = np.random.default_rng(0)
    of_s, of_t = np.repeat([0, 1], 8), np.repeat([0, 1], 5)
    shift = np.array([[0.0, 0.0], [3.0, 0.0]])
    found = [
        distances.class_gaps(rng.normal(size=(16, 2)), of_s, rng.normal(size=(10, 2)) + shift[of_t], of_t, 2)
        for _ in range(400)
    ]
    without, with_gap = np.mean(np.array(found, dtype=float), axis=0)
    assert without == pytest.approx(0.0, abs=0.05)
    assert with_gap == pytest.approx(9 / 2, rel=0.15)  # by the variance in both directions
    assert distances.class_gaps(np.zeros((1, 2)), np.array([0]), np.ones((4, 2)), np.zeros(4, int), 1) == [None]


def test_cka_is_one_after_rotation_and_scale_and_near_zero_on_average_of_unrelated_things():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12, 6))
    turned = 3 * X @ scipy.linalg.qr(rng.normal(size=(6, 6)))[0] + 5
    assert selection.debiased_cka(X, turned) == pytest.approx(1.0)
    unrelated = [selection.debiased_cka(rng.normal(size=(8, 40)), rng.normal(size=(8, 40))) for _ in range(300)]
    assert abs(np.mean(unrelated)) < 0.05  # the biased one is at 0.8 there


def test_hsic_is_unbiased_as_the_mean_over_all_quadruples_is():
    rng = np.random.default_rng(1)
    X, Y = rng.normal(size=(6, 2)), rng.normal(size=(6, 3))
    K, L = X @ X.T, Y @ Y.T
    total, count = 0.0, 0
    for i in range(6):
        for j in range(6):
            for q in range(6):
                for r in range(6):
                    if len({i, j, q, r}) == 4:
                        total += K[i, j] * (L[i, j] + L[q, r] - 2 * L[i, q])
                        count += 1
    assert distances._hsic(distances._gram(X), distances._gram(Y)) == pytest.approx(total / count)


def test_shifted_shares_are_those_that_the_confusion_explains():
    # Columns: true class; a probe that is right for 80 % and 90 %, 100 rows each.
    confusion = np.array([[80.0, 10.0], [20.0, 90.0]])
    shares = np.array([0.25, 0.75])
    predicted = 1000 * (confusion / 100) @ shares
    assert selection.shifted_shares(confusion, predicted) == pytest.approx(shares)


@pytest.mark.parametrize("test", [selection.mmd, selection.proxy_a_distance], ids=["mmd", "proxy-a"])
def test_p_values_of_two_halves_are_uniform(test):
    p_values = []
    for seed in range(200):
        rows = np.random.default_rng(seed).normal(size=(40, 6))
        p_values.append(test(rows[:20], rows[20:], permutations=39, seed=seed).p_value)
    # One of 1/40, 2/40, ... 1: shares of four quarters, and no more small ones than chance gives.
    quarters = np.histogram(np.array(p_values) - 1e-9, bins=4, range=(0, 1))[0]
    assert scipy.stats.chisquare(quarters).pvalue > 0.005
    assert scipy.stats.binomtest(int((np.array(p_values) <= 0.05).sum()), 200, 0.05).pvalue > 0.005


@pytest.mark.parametrize(
    ("S", "T", "said"),
    [
        (np.zeros((4, 3)), np.zeros((4, 2)), "of one backbone"),
        (np.zeros((1, 3)), np.ones((4, 3)), "at least two"),
        (np.full((4, 3), np.nan), np.zeros((4, 3)), "not finite"),
        (np.ones((6, 3)), np.ones((6, 3)), "constant"),
    ],
)
@pytest.mark.parametrize(
    "distance", [selection.proxy_a_distance, selection.mmd, selection.frechet_distance, selection.coral_distance]
)
def test_what_cannot_be_measured_is_said(distance, S, T, said):
    with pytest.raises(UsageError, match=said):
        distance(S, T)
