"""Every protocol on tables that tempt it to fail: it answers with finite numbers, or says in one line why not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from embedkit.errors import LabelsError, ProbeError, UsageError
from embedkit.evaluation import ProbeRun
from embedkit.probes.protocols import PROTOCOLS, coop_fewshot, run_protocol
from embedkit.tables import FeatureTable
from tests.probes.protocols.samples import rows_of, table_of

CLASS_PROTOCOLS = [name for name in PROTOCOLS if name != "hest-ridge"]
SEVERAL_LABELS = ["quick", "clip", "kornblith", "dinov3-logreg", "voc-svm"]
BOUNDED = ("accuracy", "mean_per_class_accuracy", "map_area")


@pytest.fixture(autouse=True)
def _few_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coop_fewshot, "SEEDS", 2)
    monkeypatch.setattr(coop_fewshot, "SELECTION_SHOTS", {1: 1, 2: 2})


def check(run: ProbeRun, n_test: int) -> None:
    """Whatever is reported is finite, lies in its range, and is one value a tested image."""
    result = run.result
    assert math.isfinite(result.value)
    assert (result.interval is None) == any("has no interval" in note for note in result.notes)
    if result.interval is not None:
        low, high = result.interval
        assert low <= result.value + 1e-9
        assert result.value <= high + 1e-9
        if result.metric in BOUNDED:
            assert 0 <= low <= high <= 1
    for judged in result.metrics.values():
        assert judged["value"] is None or math.isfinite(judged["value"])
        assert judged["interval"] is None or all(map(math.isfinite, judged["interval"]))
    assert len(run.tested) == len(run.per_image) == len(run.predictions) == n_test == result.n_test
    assert np.isfinite(run.per_image).all()
    assert result.protocol
    assert result.selected_on
    assert result.reported_on


def blobs(counts: dict[str, tuple[int, int]], distance: float = 3.0) -> FeatureTable:
    """So many training and test rows of each class around a mean of its own."""
    random = np.random.default_rng(0)
    X, labels, split = [], [], []
    for label, (train, test) in counts.items():
        mean = distance * random.standard_normal(6)
        X.append(mean + random.standard_normal((train + test, 6)))
        labels += [label] * (train + test)
        split += ["train"] * train + ["test"] * test
    return table_of(np.concatenate(X), labels, split)


@pytest.mark.parametrize("protocol", CLASS_PROTOCOLS)
@pytest.mark.parametrize("as_published", [False, True])
def test_a_class_of_one_example_and_one_absent_from_train_or_test(protocol: str, as_published: bool) -> None:
    table = blobs({"a": (20, 5), "b": (20, 5), "rare": (1, 3), "untested": (9, 0), "0 unseen": (0, 2)})
    if protocol == "coop-fewshot":
        # It draws an example of each class to fit on and another to choose on; a class of one has no other.
        with pytest.raises(ProbeError, match="needs an image of each class"):
            run_protocol(protocol, table, model="m", as_published=as_published)
        return
    run = run_protocol(protocol, table, model="m", as_published=as_published)
    check(run, 15)
    assert not {"0 unseen"} & set(run.predictions.ravel().tolist())
    assert any("1 test class has no training image" in note for note in run.result.notes)


@pytest.mark.parametrize("protocol", CLASS_PROTOCOLS)
def test_constant_features(protocol: str) -> None:
    table = table_of(np.ones((60, 5)), ["a", "b"] * 30, ["train"] * 40 + ["test"] * 20)
    run = run_protocol(protocol, table, model="m")
    check(run, 20)
    assert set(run.predictions.ravel().tolist()) <= {"a", "b"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite(protocol: str, bad: float) -> None:
    rows = rows_of(kind="value" if protocol == "hest-ridge" else "class", n=60)
    rows.table.X[7, 3] = bad
    with pytest.raises(UsageError, match="NaN or infinity"):
        run_protocol(protocol, rows.table, model="m")


@pytest.mark.parametrize("protocol", CLASS_PROTOCOLS)
def test_fewer_rows_than_classes_is_no_crash(protocol: str) -> None:
    """Five training rows in all, of seven classes."""
    table = blobs({f"class {k}": (int(k < 4) + int(k == 0), 1) for k in range(7)})
    refusals = {
        "dinov2-logreg": "a random 10 % of them to choose on is none",
        "coop-fewshot": "needs an image of each class",
    }
    if refusals.get(protocol):
        with pytest.raises(ProbeError, match=refusals[protocol]):
            run_protocol(protocol, table, model="m")
    else:
        check(run_protocol(protocol, table, model="m"), 7)


@pytest.mark.parametrize("protocol", CLASS_PROTOCOLS)
def test_all_right_keeps_intervals_finite(protocol: str) -> None:
    run = run_protocol(protocol, blobs({"a": (30, 10), "b": (30, 10)}, distance=60), model="m")
    check(run, 20)
    assert run.result.value == 1
    if run.result.metric == "map_area":
        assert any("its estimate is biased by more than it varies" in note for note in run.result.notes)
    else:
        assert run.result.interval[1] == 1


@pytest.mark.parametrize("protocol", CLASS_PROTOCOLS)
def test_all_wrong_keeps_intervals_finite(protocol: str) -> None:
    random = np.random.default_rng(0)
    X = 60 * np.repeat([[1.0, 0, 0, 0], [0, 1, 0, 0]], 40, axis=0) + random.standard_normal((80, 4))
    split = np.array((["train"] * 30 + ["test"] * 10) * 2)
    labels = np.repeat(["a", "b"], 40)
    labels[split == "test"] = np.where(labels[split == "test"] == "a", "b", "a")
    run = run_protocol(protocol, table_of(X, labels.tolist(), split), model="m")
    check(run, 20)
    if run.result.metric != "map_area":
        assert run.result.value == 0
        assert run.result.interval[0] == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_labels_of_another_kind_are_refused_in_a_line(protocol: str) -> None:
    kinds = {"class", "value", "multilabel"}
    taken = {"quick": kinds, "hest-ridge": {"value"}}.get(protocol, {"class"})
    if protocol in SEVERAL_LABELS:
        taken = taken | {"multilabel"}
    for kind in kinds - taken:
        with pytest.raises(LabelsError, match=rf"{protocol} needs") as caught:
            run_protocol(protocol, rows_of(kind=kind, n=120).table, model="m")
        assert "\n" not in str(caught.value)
    for kind in taken:
        check(run_protocol(protocol, rows_of(kind=kind, n=120).table, model="m"), 30)


def test_unlabelled_rows_and_tables_are_refused() -> None:
    X = np.random.default_rng(0).standard_normal((40, 3))
    with pytest.raises(LabelsError, match="rows have no label"):
        run_protocol("clip", table_of(X, ["a", "b", "", "a"] * 10, ["train", "test"] * 20), model="m")
    with pytest.raises(LabelsError, match="no labels"):
        run_protocol("clip", table_of(X, None, ["train", "test"] * 20), model="m")
    with pytest.raises(LabelsError, match="1 class"):
        run_protocol("simpleshot", table_of(X, ["a"] * 40, ["train", "test"] * 20), model="m")


@pytest.mark.parametrize("protocol", SEVERAL_LABELS)
def test_a_label_that_no_row_or_every_row_has(protocol: str) -> None:
    random = np.random.default_rng(0)
    X = random.standard_normal((120, 5))
    marks = np.stack([X[:, 0] > 0, X[:, 1] > 0.5, np.zeros(120, bool), np.ones(120, bool)], axis=1)
    marks[0, 2] = True  # known to one training image, not to the test images
    split = ["train"] * 80 + ["test"] * 40
    run = run_protocol(protocol, table_of(X, marks, split, classes=["a", "b", "none", "all"]), model="m")
    check(run, 40)
    assert run.predictions.shape == (40, 4)


def test_no_test_image_has_any_label() -> None:
    X = np.random.default_rng(0).standard_normal((60, 5))
    marks = np.stack([X[:, 0] > 0, X[:, 1] > 0], axis=1)
    marks[40:] = False
    table = table_of(X, marks, ["train"] * 40 + ["test"] * 20, classes=["a", "b"])
    with pytest.raises(ProbeError, match=r"no tested image has any of the classes"):
        run_protocol("kornblith", table, model="m")


@pytest.mark.parametrize("protocol", ["clip", "kornblith", "dinov2-logreg", "dinov3-logreg"])
def test_a_choice_at_the_end_of_the_grid_is_marked(protocol: str) -> None:
    """Without a signal the strongest penalty is as good as any other, and is taken; or the weakest."""
    labels = ["b" if row % 9 == 0 else "a" for row in range(90)]
    table = table_of(np.zeros((90, 3)), labels, ["train", "val", "test"] * 30)
    result = run_protocol(protocol, table, model="m").result
    assert result.at_edge


def test_what_did_not_converge_is_marked() -> None:
    """100 iterations are too few on raw features of very different scales: as published that is the protocol."""
    rows = rows_of(classes=3, width=40, seed=3)
    table = rows.table
    table.X[:] = table.X * np.logspace(-2, 3, 40).astype(np.float32)
    assert not run_protocol("kornblith", table, model="m", as_published=True).result.converged
    assert run_protocol("kornblith", table, model="m").result.converged


def test_names_and_estimators_that_do_not_exist() -> None:
    table = rows_of(n=60).table
    with pytest.raises(UsageError, match="not known; use quick, clip"):
        run_protocol("clop", table, model="m")
    with pytest.raises(UsageError, match="leave it out"):
        run_protocol("clip", table, model="m", estimator="knn")
    with pytest.raises(UsageError, match="not known"):
        run_protocol("quick", table, model="m", estimator="nearest")


def test_tables_without_splits_are_tested_once_an_image() -> None:
    rows = rows_of(n=120)
    table = table_of(rows.table.X, rows.table.y.tolist())
    for protocol in ("quick", "clip", "dinov2-knn", "mteb-fewshot", "voc-svm"):
        run = run_protocol(protocol, table, model="m", folds=4)
        check(run, 120)
        assert sorted(run.tested.tolist()) == list(range(120))
        assert "4-fold" in run.result.reported_on


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_second_run_is_the_same_bit_for_bit(protocol: str) -> None:
    def run() -> dict[str, Any]:
        rows = rows_of(kind="value" if protocol == "hest-ridge" else "class", n=120, validation=True)
        record = run_protocol(protocol, rows.table, model="m").result.to_dict()
        del record["fit_seconds"]
        return record

    assert run() == run()


@pytest.mark.parametrize("protocol", ["dinov3-logreg", "clip", "simpleshot"])
def test_groups_are_whole_in_the_tests_and_a_cut_that_ignores_them_is_said(protocol: str) -> None:
    rows = rows_of(n=120)
    groups = [f"scene {row % 30}" for row in range(120)]
    table = table_of(rows.table.X, rows.table.y.tolist(), groups=groups)
    run = run_protocol(protocol, table, model="m")
    check(run, 120)
    assert run.result.leaks["shared_groups"] == 0
    assert any("no heed to groups" in note for note in run.result.notes) == (protocol == "dinov3-logreg")


@pytest.mark.parametrize("as_published", [False, True])
def test_a_class_whose_only_image_is_held_out_to_choose_on(as_published: bool) -> None:
    """The refit knows a class that the path did not."""
    order = np.arange(40)
    np.random.RandomState(0).shuffle(order)
    labels = np.array(["a", "b"] * 20 + ["a", "b"] * 10, dtype=object)
    labels[order[0]] = "rare"
    X = np.random.default_rng(0).standard_normal((60, 4))
    X[:, 0] += 3 * (labels == "a")
    table = table_of(X, labels.tolist(), ["train"] * 40 + ["test"] * 20)
    run = run_protocol("kornblith", table, model="m", as_published=as_published)
    check(run, 20)
    assert run.result.n_classes == 3
