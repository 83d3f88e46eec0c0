"""Leaderboards from entries: who is ranked, who is tied, and what must not be compared."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedkit.errors import ProbeError
from embedkit.evaluation.comparison import (
    Conditions,
    Entry,
    average_ranks,
    differences,
    disagreements,
    make_leaderboard,
)
from embedkit.evaluation.statistics import holm_correction, mcnemar_test, wilson_interval
from embedkit.results import ProbeResult
from embedkit.results.plain import to_plain

CONDITIONS = Conditions(
    test_images="t",
    train_images="r",
    split="s",
    protocol="quick",
    estimator="logistic",
    metric="accuracy",
    as_published=False,
    seeds=1,
    folds=5,
    preprocessing="{}",
)


def make_result(model: str, value: float, n: int, **changes) -> ProbeResult:
    fields = {
        "model": model,
        "protocol": "quick",
        "estimator": "logistic",
        "metric": "accuracy",
        "value": value,
        "interval": wilson_interval(round(value * n), n) if 0 <= value <= 1 else (0.0, 1.0),
        "n_train": 10,
        "n_test": n,
        "n_classes": 2,
        "params": {"C": 1.0},
        "at_edge": False,
        "converged": True,
        "selected_on": "a part of train",
        "reported_on": "test split",
        **changes,
    }
    return ProbeResult(**fields)


def make_entry(model: str, right, *, data: str = "photos", floor: bool = False, **changes) -> Entry:
    scores = np.asarray(right, dtype=np.float64)
    conditions = dataclasses.replace(CONDITIONS, preprocessing=None if floor else "{}")
    return Entry(
        data=data,
        model=model,
        floor=floor,
        conditions=dataclasses.replace(conditions, **changes),
        results=[make_result(model, float(scores.mean()), len(scores))],
        per_image=scores,
    )


def rights(n_right: int, n: int = 100) -> np.ndarray:
    return np.arange(n) < n_right


def test_pairs_are_mcnemar_tests_corrected_together():
    entries = [make_entry("a", rights(90)), make_entry("b", rights(75)), make_entry("c", rights(70))]
    board = make_leaderboard(entries)
    assert [row.model for row in board.rows] == ["a", "b", "c"]
    expected = [
        mcnemar_test(one.per_image > 0, other.per_image > 0) for one, other in itertools.combinations(entries, 2)
    ]
    assert [pair.p_value for pair in board.pairs] == [test.p_value for test in expected]
    assert [pair.difference for pair in board.pairs] == [test.difference for test in expected]
    assert [pair.corrected for pair in board.pairs] == holm_correction([test.p_value for test in expected]).tolist()
    assert {pair.test for pair in board.pairs} == {"mcnemar"}


def test_what_cannot_be_told_apart_shares_a_rank():
    board = make_leaderboard(
        [
            make_entry("a", rights(90)),
            make_entry("b", rights(89)),
            make_entry("c", rights(50)),
            make_entry("d", rights(20)),
        ]
    )
    assert [(row.model, row.rank, row.tied) for row in board.rows] == [
        ("a", 1, True),
        ("b", 1, True),
        ("c", 2, False),
        ("d", 3, False),
    ]
    assert [(pair.better, pair.worse) for pair in board.pairs if not pair.differ] == [("a", "b")]


def test_scores_that_are_not_right_or_wrong_are_permuted():
    random = np.random.default_rng(0)
    scores = random.normal(size=60)
    entries = [
        make_entry("a", scores + 1),
        make_entry("b", scores),
        make_entry("c", scores + random.normal(size=60) / 50),
    ]
    entries = [
        dataclasses.replace(one, results=[make_result(one.model, one.per_image.mean(), 60, interval=(0, 1))])
        for one in entries
    ]
    board = make_leaderboard(entries)
    assert {pair.test for pair in board.pairs} == {"permutation"}
    ranks = {row.model: row.rank for row in board.rows}
    assert ranks["a"] == 1
    assert ranks["b"] == ranks["c"] == 2


def test_all_right_and_all_wrong_are_finite():
    board = make_leaderboard(
        [make_entry("a", np.ones(20)), make_entry("b", np.ones(20)), make_entry("c", np.zeros(20))]
    )
    assert [row.rank for row in board.rows] == [1, 1, 2]
    for row in board.rows:
        assert np.isfinite(row.interval).all()
        assert row.interval[0] < row.interval[1]
    json.dumps(to_plain(board), allow_nan=False)


def test_one_backbone_alone():
    board = make_leaderboard([make_entry("a", rights(60))])
    assert [(row.rank, row.tied) for row in board.rows] == [(1, False)]
    assert board.pairs == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"test_images": "x"}, "other test images"),
        ({"train_images": "x"}, "other training images"),
        ({"split": "x"}, "another split"),
        ({"protocol": "clip"}, "protocol: quick and clip"),
        ({"estimator": "svm"}, "estimator: logistic and svm"),
        ({"metric": "roc_auc"}, "metric: accuracy and roc_auc"),
        ({"as_published": True}, "as published: False and True"),
        ({"seeds": 3}, "seeds: 1 and 3"),
        ({"folds": 3}, "folds: 5 and 3"),
        ({"preprocessing": '{"input_size":[288,288]}'}, "other preprocessing overrides"),
    ],
)
def test_what_is_not_comparable_is_not_ranked(changes, reason):
    board = make_leaderboard([make_entry("a", rights(90)), make_entry("b", rights(50), **changes)])
    [refusal] = board.not_ranked
    assert refusal.startswith("a and b are not comparable: ")
    assert reason in refusal
    assert [row.rank for row in board.rows] == [None, None]
    assert board.pairs == []
    assert [row.value for row in board.rows] == [0.9, 0.5]  # shown all the same


def test_test_sets_of_other_sizes_are_refused_too():
    board = make_leaderboard([make_entry("a", rights(90)), make_entry("b", rights(5, 10), test_images="x")])
    assert board.not_ranked
    assert board.pairs == []


def test_floors_have_no_preprocessing_to_compare():
    override = '{"input_size":[288,288]}'
    board = make_leaderboard(
        [make_entry("pixels32", rights(20), floor=True), make_entry("a", rights(90), preprocessing=override)]
    )
    assert board.not_ranked == []
    assert differences(CONDITIONS, CONDITIONS) == []


def test_a_metric_that_is_not_defined_is_not_ranked():
    entry = make_entry("b", rights(50))
    undefined = dataclasses.replace(entry, results=[make_result("b", float("nan"), 100, interval=None)])
    board = make_leaderboard([make_entry("a", rights(90)), undefined])
    assert board.not_ranked == ["b has no accuracy: it is not defined on these test images"]
    assert [row.value for row in board.rows] == [0.9, None]
    json.dumps(to_plain(board), allow_nan=False)


def test_a_backbone_is_not_compared_with_itself():
    with pytest.raises(ProbeError, match="a is compared with itself"):
        make_leaderboard([make_entry("a", rights(90)), make_entry("a", rights(80))])


def test_seeds_give_a_mean_and_its_interval():
    entries = []
    for model, n_right in (("a", 80), ("b", 60)):
        results = [make_result(model, (n_right + seed) / 100, 100) for seed in range(3)]
        entries.append(dataclasses.replace(make_entry(model, rights(n_right + 1), seeds=3), results=results))
    board = make_leaderboard(entries)
    first = board.rows[0]
    assert first.value == pytest.approx(0.81)
    # Student with 2 degrees of freedom, 0.81 -+ 4.3027 * 0.01 / sqrt(3), as an interval of a share: towards a half by
    # a quarter of a per cent.
    z2, worth = 4.3027**2, 0.81 * 0.19 / (0.01**2 / 3)
    half = np.sqrt(z2) / (worth + z2) * np.sqrt(0.81 * 0.19 * worth + z2 / 4)
    centre = (0.81 * worth + z2 / 2) / (worth + z2)
    assert first.seed_interval == pytest.approx((centre - half, centre + half), abs=1e-5)
    assert first.seed_interval == pytest.approx((0.81 - 0.02484, 0.81 + 0.02484), abs=2e-3)
    assert first.interval == pytest.approx(np.mean([wilson_interval(80 + seed, 100) for seed in range(3)], axis=0))
    assert board.seeds == 3


def test_seeds_that_are_equal_have_no_interval_over_seeds():
    results = [make_result("a", 0.8, 100) for _ in range(3)]
    [row] = make_leaderboard([dataclasses.replace(make_entry("a", rights(80), seeds=3), results=results)]).rows
    assert row.seed_interval is None
    assert row.interval is not None


def boards_of(scores: dict[str, list[int]]) -> list:
    datasets = len(next(iter(scores.values())))
    return [
        make_leaderboard([make_entry(model, rights(counts[at]), data=f"data{at}") for model, counts in scores.items()])
        for at in range(datasets)
    ]


def test_average_ranks_over_many_data_sets():
    ranks = average_ranks(boards_of({"a": [90] * 12, "b": [70] * 12, "c": [50] * 12}))
    assert ranks.models == ["a", "b", "c"]
    assert ranks.average_ranks == [1, 2, 3]
    # 12 n / (k (k + 1)) * sum of squared distances from the middle rank = 12 * 12 / 12 * 2
    assert ranks.statistic == pytest.approx(24)
    # q_0.05 of three models is 2.343 (Demsar 2006, table 5)
    assert ranks.critical_difference == pytest.approx(2.343 * np.sqrt(3 * 4 / (6 * 12)), abs=1e-3)
    assert ranks.groups == [1, 2, 3]


def test_three_data_sets_tell_the_first_from_the_last_at_most():
    ranks = average_ranks(boards_of({"a": [90] * 3, "b": [70] * 3, "c": [50] * 3}))
    assert ranks.p_value <= 0.05
    assert ranks.groups == [1, 1, 2]


def test_ranks_that_say_nothing_are_one_group():
    ranks = average_ranks(boards_of({"a": [90, 50, 70], "b": [70, 90, 50], "c": [50, 70, 90]}))
    assert ranks.statistic == pytest.approx(0)
    assert ranks.groups == [1, 1, 1]


def test_too_few_data_sets_or_backbones_have_no_average_ranks():
    assert average_ranks(boards_of({"a": [90] * 2, "b": [70] * 2, "c": [50] * 2})) is None
    assert average_ranks(boards_of({"a": [90] * 3, "b": [70] * 3})) is None


def test_boards_that_are_not_ranked_do_not_count():
    boards = boards_of({"a": [90] * 3, "b": [70] * 3, "c": [50] * 3})
    refused = [dataclasses.replace(boards[0], not_ranked=["other split"]), *boards[1:]]
    assert average_ranks(refused) is None


def test_protocols_that_disagree_on_the_winner_are_said():
    one = make_leaderboard([make_entry("a", rights(90)), make_entry("b", rights(50))])
    other = make_leaderboard([make_entry("a", rights(30)), make_entry("b", rights(50))])
    other = dataclasses.replace(other, protocol="dinov2-knn", estimator="knn")
    assert disagreements([one, other]) == [
        "photos: protocols disagree on the winner: quick (logistic): a, dinov2-knn (knn): b"
    ]
    assert disagreements([one, one]) == []
    tied = make_leaderboard([make_entry("a", rights(50)), make_entry("b", rights(51))])
    assert disagreements([one, tied]) == []  # whichever comes first by chance


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.booleans(), min_size=30, max_size=30), min_size=2, max_size=6),
    st.randoms(use_true_random=False),
)
def test_a_board_does_not_depend_on_the_order_of_its_entries(columns, random):
    entries = [make_entry(f"m{number}", column) for number, column in enumerate(columns)]
    board = make_leaderboard(entries)
    shuffled = list(entries)
    random.shuffle(shuffled)
    assert to_plain(make_leaderboard(shuffled)) == to_plain(board)
    ranks = [row.rank for row in board.rows]
    assert ranks == sorted(ranks)
    assert ranks[0] == 1
    for row in board.rows:
        assert row.tied == (ranks.count(row.rank) > 1)
    for leader_rank in set(ranks):
        group = [row.model for row in board.rows if row.rank == leader_rank]
        beaten = {pair.worse for pair in board.pairs if pair.better == group[0] and pair.differ}
        assert not beaten & set(group)  # no member was beaten by its leader
