"""Planted gaps are found and named; where there is none, none is found."""

from __future__ import annotations

import functools
import sys

import numpy as np
import pytest

from embedkit import estimators
from embedkit.errors import LabelsError, UsageError
from embedkit.selection import DomainTable, default_adapters, measure_domains, measure_gap
from tests.tables.table_samples import make_table

CLASSES = ["ant", "bee", "cat", "dog", "elk"]
WIDTH = 12


def domain(name, *, a_class=20, seed=0, move=None, apart=4.0, labels=None, **head):
    """Draw images of five classes with the same means in all domains; `move` is what a domain does to them."""
    means = apart * np.random.default_rng(99).normal(size=(len(CLASSES), WIDTH)) / np.sqrt(WIDTH)
    rng = np.random.default_rng(seed)
    of = np.arange(a_class * len(CLASSES)) % len(CLASSES)
    X = means[of] + rng.normal(size=(len(of), WIDTH))
    X = X if move is None else move(X)
    y = np.array(CLASSES)[of] if labels is None else labels(np.array(CLASSES)[of])
    table = make_table(len(of), WIDTH, seed=seed, labels=y.tolist(), **head)
    table = type(table)(table.metadata, X.astype(np.float32))
    return DomainTable(name=name, table=table)


def measured(source, target, **options):
    return measure_gap(source, target, model="m", adapters=default_adapters(), **options)


def by_method(results):
    return {one.method: one for one in results}


def swapped(y):
    return np.where(y == "bee", "dog", np.where(y == "dog", "bee", y))


def test_two_halves_of_one_set_transfer():
    gap = measured(domain("one", seed=1), domain("other", seed=2))
    assert gap.verdict == "transfers"
    assert gap.p_values["proxy-a"] > 0.05
    assert gap.p_values["mmd"] > 0.05
    assert gap.distances["frechet"] == pytest.approx(gap.null["frechet"], rel=0.5)
    assert gap.distances["cka"] > 0.9
    assert all(abs(one.distance) < 0.5 for one in gap.classes)


@pytest.mark.parametrize("seed", range(5))
def test_classes_whose_labels_are_exchanged_are_named(seed):
    gap = measured(domain("one", seed=10 + seed, labels=swapped), domain("other", seed=20 + seed))
    assert gap.verdict == "negative"
    assert "bee and dog" in gap.evidence
    assert "named as each other" in gap.evidence
    worst = sorted(gap.classes, key=lambda one: one.source_only)[:2]
    assert {(one.name, one.named) for one in worst} == {("bee", "dog"), ("dog", "bee")}
    assert gap.p_values["mmd"] > 0.01  # nothing is wrong with the features


@pytest.mark.parametrize("seed", range(3))
def test_labels_that_are_mixed_in_two_classes_name_these_two(seed):
    def mixed(y):
        rows = np.flatnonzero((y == "bee") | (y == "dog"))
        y[rows] = np.random.default_rng(seed).permutation(y[rows])
        return y

    gap = measured(domain("one", a_class=60, seed=10 + seed, labels=mixed), domain("other", a_class=60, seed=20 + seed))
    assert gap.verdict in ("negative", "some-classes")
    assert "negative transfer" in gap.evidence
    assert {one.name for one in gap.classes if one.p_value < 0.05} <= {"bee", "dog"}
    assert "bee" in gap.evidence or "dog" in gap.evidence


def test_a_source_that_is_worse_than_guessing_is_negative():
    gap = measured(domain("inverted", seed=1, move=lambda X: -X), domain("other", seed=2))
    assert gap.verdict == "negative"
    by = by_method(gap.reached)
    assert by["source-only"].value < by["guessing"].value
    assert "below guessing" in gap.evidence
    assert any("not to be believed" in note for note in gap.notes)  # the estimated label shift
    assert gap.p_values["proxy-a"] < 0.05


def test_a_shift_of_all_images_is_undone_by_an_adapter():
    gap = measured(domain("one", seed=1, move=lambda X: 3 * X[:, ::-1] + 4), domain("other", seed=2))
    assert gap.verdict in ("negative", "adapt")
    moved = measured(domain("one", seed=1, move=lambda X: X + 5), domain("other", seed=2))
    assert moved.verdict == "adapt", moved.evidence
    by = by_method(moved.reached)
    assert max(by[name].value for name in default_adapters()) > by["source-only"].value + 0.2


@pytest.fixture
def wide(monkeypatch):
    """As many features as a probe needs to be sure."""
    monkeypatch.setattr(sys.modules[__name__], "WIDTH", 256)


def nearly_another_class(X, apart=9):
    means = apart * np.random.default_rng(99).normal(size=(len(CLASSES), WIDTH)) / np.sqrt(WIDTH)
    return X + 0.4 * (np.roll(means, -1, axis=0) - means)[np.arange(len(X)) % len(CLASSES)]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.usefixtures("wide")
def test_a_loss_that_few_namings_show_is_seen_by_how_sure_a_probe_is(seed):
    source = domain("one", seed=seed, apart=9, move=nearly_another_class)
    gap = measure_gap(source, domain("other", seed=50 + seed, apart=9), model="m", adapters={})
    one = by_method(gap.reached)["source-only"]
    assert one.certainty_difference < -0.1
    assert gap.verdict == "negative", gap.evidence
    assert one.differs or "sure of the truth" in gap.evidence
    # Of four, McNemar's test sees one.
    assert one.differs == (seed == 2)


@pytest.mark.usefixtures("wide")
def test_to_be_less_sure_and_right_all_the_same_is_no_loss():
    source = domain("one", seed=0, apart=12, move=functools.partial(nearly_another_class, apart=12))
    gap = measure_gap(source, domain("other", seed=50, apart=12), model="m", adapters={})
    assert by_method(gap.reached)["source-only"].is_less_sure
    assert gap.verdict == "transfers"
    assert "sure of the truth" in gap.evidence


@pytest.mark.parametrize("a_class", [8, 40])
@pytest.mark.usefixtures("wide")
def test_without_a_gap_no_size_of_the_source_makes_one(a_class):
    """Few images make an unsure probe, which has to be held against one of as few."""
    found = [
        measure_gap(source, domain("other", seed=50 + seed, apart=9), model="m", adapters={})
        for seed in range(4)
        for source in [domain("one", a_class=a_class, seed=seed, apart=9)]
    ]
    assert not any(by_method(one.reached)["source-only"].is_below for one in found)


def test_one_class_that_is_somewhere_else_is_named():
    means = np.random.default_rng(99).normal(size=(len(CLASSES), WIDTH)) / np.sqrt(WIDTH)

    def elk_are_bees(X):
        X[4::5] += 4 * (means[1] - means[4]) + 1.5
        return X

    gap = measured(domain("one", a_class=30, seed=1), domain("other", a_class=30, seed=2, move=elk_are_bees))
    assert gap.verdict == "some-classes", gap.evidence
    assert "elk" in gap.evidence
    assert "ant" not in gap.evidence
    distance = {one.name: one.distance for one in gap.classes}
    assert distance["elk"] > 5 * max(value for name, value in distance.items() if name != "elk")


def test_features_that_know_nothing_ask_for_another_backbone():
    gap = measured(domain("one", seed=1, apart=0.0), domain("other", seed=2, apart=0.0))
    assert gap.verdict == "other-backbone"
    assert "choose another backbone" in gap.evidence


def test_a_floor_that_is_as_good_asks_for_another_backbone():
    weak, strong = domain("one", seed=1, apart=1.0), domain("one", seed=1, apart=6.0)
    other, better = domain("other", seed=2, apart=1.0), domain("other", seed=2, apart=6.0)
    gap = measured(
        DomainTable(name="one", table=weak.table, floors={"pixels32": strong.table}),
        DomainTable(name="other", table=other.table, floors={"pixels32": better.table}),
    )
    assert gap.verdict == "other-backbone"
    assert "pixels32" in gap.evidence


def test_label_shift_is_estimated_without_labels_of_the_target():
    rows = np.flatnonzero((np.arange(500) % 5 != 0) | (np.arange(500) < 100))
    gap = measured(domain("one", a_class=100, seed=1), domain("other", a_class=100, seed=2).select(rows, "fewer ants"))
    ant = next(one for one in gap.classes if one.name == "ant")
    assert ant.source_share == pytest.approx(0.2)
    assert ant.estimated_share == pytest.approx(ant.target_share, abs=0.03)
    assert gap.notes == []
    assert gap.distances["label-shift"] == pytest.approx(0.2 - ant.target_share, abs=0.05)


def test_images_that_are_in_both_are_not_fitted_on_where_they_are_tested():
    one = domain("one", seed=1)
    gap = measured(one, DomainTable(name="again", table=one.table[np.arange(50)]))
    assert any("50 images of one are tested images of again" in note for note in gap.notes)


def test_a_set_against_itself_is_its_own_cross_validation():
    one = domain("one", seed=1)
    by = by_method(measured(one, DomainTable(name="again", table=one.table)).reached)
    assert by["source-only"].value == by["target-only"].value


def test_declared_splits_are_kept():
    split = ["train", "train", "test"] * 34
    gap = measured(domain("one", seed=1, split=split[:100]), domain("other", seed=2, split=split[:100]))
    assert sum(one.tested for one in gap.classes) == 33


def three(**options):
    moves = {"plain": None, "shifted": lambda X: X + 5, "again": None}
    return [domain(name, seed=number, move=move, **options) for number, (name, move) in enumerate(moves.items())]


def test_an_adapter_is_recommended_that_improves_on_domains_left_out():
    gaps = measure_domains(three(), model="m", adapters=default_adapters(), folds=2)
    assert [(one.source, one.target) for one in gaps.pairs][:3] == [
        ("plain", "shifted"),
        ("plain", "again"),
        ("shifted", "plain"),
    ]
    assert gaps.recommended in default_adapters(), gaps.evidence
    pooled = by_method(gaps.pooled)
    assert pooled[gaps.recommended].p_value < 0.05
    assert sum(one.tested for one in gaps.held_out) == 300
    total = sum(by_method(one.reached)["coral"].value * one.tested for one in gaps.held_out)
    assert pooled["coral"].value == pytest.approx(total / 300)


def test_no_adapter_is_recommended_where_there_is_no_gap():
    gaps = measure_domains(
        [domain(name, seed=number) for number, name in enumerate("abc")],
        model="m",
        adapters=default_adapters(),
        folds=2,
    )
    assert gaps.recommended is None
    assert gaps.evidence.startswith("no adapter")
    assert {pair.verdict for pair in gaps.pairs} == {"transfers"}


def test_p_values_of_adapters_are_corrected_together():
    adapters = {**default_adapters(), **{f"coral {number}": estimators.CORAL() for number in range(6)}}
    one, other = domain("one", seed=1, move=lambda X: X + 1.5), domain("other", seed=2)
    alone = by_method(measure_gap(one, other, model="m", adapters={"coral": estimators.CORAL()}).reached)["coral"]
    among = by_method(measure_gap(one, other, model="m", adapters=adapters).reached)["coral"]
    assert among.value == alone.value
    assert among.p_value > alone.p_value


class Failing(estimators.CORAL):
    def _learn(self, source, target):
        raise ArithmeticError("no way")


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (
            lambda: (domain("one", labels=lambda y: np.full(len(y), "ant")), domain("b")),
            LabelsError,
            "one has 1 class ",
        ),
        (lambda: (domain("one"), domain("b", labels=np.char.upper)), LabelsError, "have no classes in common"),
        (lambda: (domain("one", a_class=1), domain("b")), LabelsError, "one has 0 classes with two images"),
        (lambda: (domain("one", move=np.zeros_like), domain("b", move=np.zeros_like)), UsageError, "constant"),
        (lambda: (domain("one", move=lambda X: X * np.nan), domain("b")), UsageError, "not finite"),
        (lambda: (DomainTable(name="one", table=make_table(9)), domain("b")), LabelsError, "no labelled images"),
        (
            lambda: (DomainTable(name="one", table=make_table(9, labels=np.arange(9.0))), domain("b")),
            LabelsError,
            "of the kind value",
        ),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(make, error, said):
    with pytest.raises(error, match=said) as caught:
        measured(*make())
    assert "\n" not in str(caught.value)


def test_an_adapter_that_fails_is_named():
    with pytest.raises(UsageError, match="the adapter mine failed: ArithmeticError: no way"):
        measure_gap(domain("one"), domain("b", seed=1), model="m", adapters={"mine": Failing()})


def test_classes_of_one_image_are_left_out_and_said():
    def rare(y):
        y[y == "elk"] = "ant"
        y[4] = "elk"
        return y

    gap = measured(domain("one", seed=1, labels=rare), domain("other", seed=2))
    assert [one.name for one in gap.classes] == ["ant", "bee", "cat", "dog"]
    assert any("elk" in note for note in gap.notes)


def test_copied_features_are_those_of_easy_adaptation_and_keep_what_the_domains_do_not_share():
    one, other = domain("one", seed=1, labels=swapped, a_class=40), domain("other", seed=2, a_class=40)
    found = by_method(measured(one, other).reached)
    assert found["feature-copying"].against == "joint"
    assert found["feature-copying"].difference == pytest.approx(
        found["feature-copying"].value - found["joint"].value, abs=1e-12
    )
    assert found["feature-copying"].difference > 0
    assert found["feature-copying"].p_value < 0.05


def test_copied_features_by_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    from embedkit.selection.transfer import COPIED, Domain, predict_across

    draws = np.random.default_rng(3)
    X, y = draws.normal(size=(90, 4)).astype(np.float32), np.array(CLASSES)[np.arange(90) % 3]
    X[:, 0] += np.arange(90) % 3
    digests = draws.integers(0, 256, (90, 32), dtype=np.uint8)
    source = Domain(name="a", X=X[:30], y=y[:30], digests=digests[:30], train=np.arange(30), parts=[])
    parts = [(np.arange(30), np.arange(30, 60))]
    target = Domain(name="b", X=X[30:], y=y[30:], digests=digests[30:], train=np.arange(30), parts=parts)
    fitted, tested = X[:60], X[60:]
    scaled, asked = ((rows - fitted.mean(0)) / fitted.std(0) for rows in (fitted, tested))
    none = np.zeros((30, 4))
    rows = np.block([[scaled[:30], scaled[:30], none], [scaled[30:], none, scaled[30:]]])
    expected = LogisticRegression(C=0.01, tol=1e-8, max_iter=1000).fit(rows, y[:60])
    named = predict_across(source, target, {}).named[COPIED]
    assert (named == expected.predict(np.hstack([asked, none, asked]))).all()
