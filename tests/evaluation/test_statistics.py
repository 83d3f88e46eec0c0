"""Intervals, tests and ranks against SciPy, closed forms and published examples."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from embedkit.errors import UsageError
from embedkit.evaluation import statistics as s

counts = st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


class TestProportions:
    @given(counts, st.sampled_from([0.5, 0.9, 0.95, 0.999]))
    def test_intervals_are_scipys(self, count, confidence):
        result = scipy.stats.binomtest(*count)
        for ours, method in ((s.wilson_interval, "wilson"), (s.clopper_pearson_interval, "exact")):
            expected = result.proportion_ci(confidence, method=method)
            assert ours(*count, confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)

    @given(counts)
    def test_they_hold_the_value_and_have_a_width(self, count):
        for interval in (s.wilson_interval(*count), s.clopper_pearson_interval(*count)):
            low, high = interval
            assert 0 <= low <= count[0] / count[1] <= high <= 1
            assert low < high

    def test_all_right_is_not_certain(self):
        low, high = s.wilson_interval(10, 10)
        assert (round(low, 4), high) == (0.7225, 1.0)  # n / (n + z^2)
        assert s.clopper_pearson_interval(0, 20)[1] == pytest.approx(1 - 0.025 ** (1 / 20))  # closed form

    @pytest.mark.parametrize(("successes", "n", "confidence"), [(0, 0, 0.95), (5, 4, 0.95), (-1, 4, 0.95), (1, 2, 1.0)])
    def test_what_is_no_count_is_refused(self, successes, n, confidence):
        for interval in (s.wilson_interval, s.clopper_pearson_interval):
            with pytest.raises(UsageError, match="expected"):
                interval(successes, n, confidence)


class TestMeans:
    def test_students_interval(self):
        values = [0.71, 0.74, 0.69, 0.75, 0.72]
        expected = scipy.stats.t.interval(0.95, 4, loc=np.mean(values), scale=scipy.stats.sem(values))
        assert s.mean_interval(values) == pytest.approx(expected)

    def test_one_value_has_no_interval(self):
        with pytest.raises(UsageError, match="at least 2 values, got 1"):
            s.mean_interval([0.5])


class TestMcNemar:
    @given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 5), st.integers(0, 5))
    def test_it_is_the_binomial_test(self, only_a, only_b, both, neither):
        if only_a + only_b + both + neither == 0:
            return
        a = np.array([1] * only_a + [0] * only_b + [1] * both + [0] * neither)
        b = np.array([0] * only_a + [1] * only_b + [1] * both + [0] * neither)
        expected = scipy.stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
        result = s.mcnemar_test(a, b)
        assert result.p_value == pytest.approx(expected, rel=1e-9)
        assert result.difference == pytest.approx(a.mean() - b.mean())

    def test_rows_that_do_not_pair_are_refused(self):
        with pytest.raises(UsageError, match="the same rows"):
            s.mcnemar_test([True], [True, False])
        with pytest.raises(UsageError, match="the same rows"):
            s.mcnemar_test([], [])


class TestPermutation:
    def test_few_rows_are_exact(self):
        a, b = np.array([3.0, 5.0, 1.0, 4.0, 4.5]), np.array([2.0, 3.5, 1.5, 1.0, 4.5])
        d = a - b
        sums = [
            abs(sum(sign * x for sign, x in zip(signs, d, strict=True)))
            for signs in itertools.product((1, -1), repeat=5)
        ]
        expected = np.mean(np.array(sums) >= abs(d.sum()) - 1e-12)
        result = s.paired_permutation_test(a, b)
        assert result.p_value == pytest.approx(expected)
        assert result.difference == pytest.approx(d.mean())

    def test_many_rows_are_scipys(self):
        random = np.random.default_rng(0)
        a = random.standard_normal(300)
        b = a + 0.1 + random.standard_normal(300)
        ours = s.paired_permutation_test(a, b, n_resamples=20_000)
        expected = scipy.stats.permutation_test(
            (a, b), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples",
            n_resamples=20_000, rng=1, vectorized=True,
        )  # fmt: skip
        assert ours.p_value == pytest.approx(expected.pvalue, abs=0.02)

    def test_right_and_wrong_agrees_with_mcnemar(self):
        random = np.random.default_rng(0)
        a, b = random.random(400) < 0.80, random.random(400) < 0.74
        exact = s.mcnemar_test(a, b).p_value
        assert s.paired_permutation_test(a, b, n_resamples=50_000).p_value == pytest.approx(exact, rel=0.1)

    def test_it_is_never_zero_and_one_for_equals(self):
        a = np.arange(100.0)
        assert s.paired_permutation_test(a + 1, a).p_value == pytest.approx(1 / 10_001)
        assert s.paired_permutation_test(a, a).p_value == 1.0

    def test_under_the_hypothesis_p_is_uniform(self):
        random = np.random.default_rng(0)
        p = [
            s.paired_permutation_test(*random.standard_normal((2, 30)), n_resamples=199, random_state=i).p_value
            for i in range(400)
        ]
        assert scipy.stats.kstest(p, "uniform").pvalue > 0.01


class TestHolm:
    def test_a_worked_example(self):
        # Holm's steps for 4 tests: .005 x 4, .01 x 3, then .03 x 2 and .04 x 1 raised to it.
        assert s.holm_correction([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])

    @given(st.lists(st.floats(0, 1), max_size=12))
    def test_between_the_p_value_and_bonferroni_and_in_its_order(self, p):
        adjusted = s.holm_correction(p)
        assert (adjusted >= np.array(p)).all()
        assert (adjusted <= np.minimum(1, len(p) * np.array(p)) + 1e-15).all()
        order = np.argsort(p, kind="stable")
        assert (np.diff(adjusted[order]) >= 0).all()

    def test_what_is_no_p_value_is_refused(self):
        with pytest.raises(UsageError, match="between 0 and 1"):
            s.holm_correction([0.5, 1.5])
        with pytest.raises(UsageError, match="finite"):
            s.holm_correction([np.nan])


class TestFriedman:
    @settings(max_examples=50)
    @given(st.integers(2, 12), st.integers(3, 6), st.integers(0, 1000))
    def test_it_is_scipys_with_ties(self, n_datasets, n_models, seed):
        scores = np.random.default_rng(seed).integers(0, 5, (n_datasets, n_models)).astype(float)
        if all(len(set(row)) == 1 for row in scores):
            return
        ours, expected = s.friedman_test(scores), scipy.stats.friedmanchisquare(*scores.T)
        assert ours.statistic == pytest.approx(expected.statistic)
        assert ours.p_value == pytest.approx(expected.pvalue)
        np.testing.assert_allclose(ours.average_ranks, scipy.stats.rankdata(-scores, axis=1).mean(axis=0))

    def test_no_difference_at_all(self):
        result = s.friedman_test(np.ones((3, 4)))
        assert (result.statistic, result.p_value) == (0.0, 1.0)
        assert result.average_ranks.tolist() == [2.5] * 4

    def test_shapes_that_cannot_be_tested(self):
        for scores in (np.ones((1, 3)), np.ones((3, 2)), np.ones(3), np.full((3, 3), np.nan)):
            with pytest.raises(UsageError, match=">= 2 data sets and >= 3 models"):
                s.friedman_test(scores)

    @pytest.mark.parametrize(
        ("n_models", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (10, 3.164)]
    )
    def test_critical_differences_are_those_of_demsars_table(self, n_models, q):
        # Demsar 2006, table 5 (a), alpha = 0.05.
        expected = q * np.sqrt(n_models * (n_models + 1) / (6 * 14))
        assert s.nemenyi_critical_difference(n_models, 14) == pytest.approx(expected, rel=3e-4)

    def test_too_little_to_compare(self):
        with pytest.raises(UsageError, match="got 1 and 5"):
            s.nemenyi_critical_difference(1, 5)


class TestRankGroups:
    def test_ties_are_with_the_best_of_the_group(self):
        values = np.array([0.70, 0.90, 0.88, 0.80, 0.69])
        differ = np.abs(values[:, None] - values) > 0.05
        assert s.rank_groups(values, differ).tolist() == [3, 1, 1, 2, 3]

    def test_ties_do_not_chain(self):
        values = np.array([0.90, 0.86, 0.82, 0.78])
        differ = np.abs(values[:, None] - values) > 0.05
        assert s.rank_groups(values, differ).tolist() == [1, 1, 2, 2]

    def test_all_tied_and_none_tied(self):
        values = np.arange(4.0)
        assert s.rank_groups(values, np.zeros((4, 4))).tolist() == [1, 1, 1, 1]
        assert s.rank_groups(values, ~np.eye(4, dtype=bool)).tolist() == [4, 3, 2, 1]
        assert s.rank_groups([], np.empty((0, 0))).tolist() == []

    def test_differences_must_fit(self):
        with pytest.raises(UsageError, match="symmetric one for 3 models"):
            s.rank_groups([1, 2, 3], np.zeros((2, 2)))
        with pytest.raises(UsageError, match="symmetric"):
            s.rank_groups([1, 2], [[False, True], [False, False]])
