"""probe by several protocols: what is run, in which order, and when the winner depends on the protocol."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from embedkit import probe
from embedkit.errors import LabelsError, UsageError
from embedkit.evaluation import disagreements_of
from embedkit.probes import PROTOCOLS
from embedkit.results import ProbeResult
from tests.probes.protocols.samples import rows_of


def result(model: str, protocol: str, value: float, half: float = 0.01, **others: Any) -> ProbeResult:
    given = {"floor": False, "estimator": "logistic"} | others
    return ProbeResult(
        model=model,
        protocol=protocol,
        metric="accuracy",
        value=value,
        interval=(value - half, value + half),
        n_train=10,
        n_test=10,
        n_classes=2,
        params={},
        at_edge=False,
        converged=True,
        selected_on="",
        reported_on="",
        **given,
    )


def test_a_winner_that_depends_on_the_protocol_is_said() -> None:
    (said,) = disagreements_of(
        [result("A", "clip", 0.9), result("B", "clip", 0.8), result("A", "voc-svm", 0.7), result("B", "voc-svm", 0.8)]
    )
    assert said.startswith("protocols disagree on the winner")
    assert "clip: A" in said
    assert "voc-svm: B" in said


def test_ties_within_intervals_are_no_disagreement() -> None:
    clip = [result("A", "clip", 0.9), result("B", "clip", 0.8)]
    assert disagreements_of([*clip, result("A", "voc-svm", 0.79), result("B", "voc-svm", 0.8)]) == []
    assert disagreements_of([*clip, result("A", "voc-svm", 0.8), result("B", "voc-svm", 0.7)]) == []
    assert disagreements_of(clip) == []


def test_floors_win_nothing_and_the_best_estimator_of_a_protocol_counts() -> None:
    floor = [result("pixels32", "clip", 0.99, floor=True), result("pixels32", "quick", 0.1, floor=True)]
    quick = [result("B", "quick", 0.5), result("B", "quick", 0.9, estimator="svm"), result("A", "quick", 0.7)]
    clip = [result("B", "clip", 0.9), result("A", "clip", 0.8)]
    assert disagreements_of([*floor, *quick, *clip]) == []


@pytest.fixture(scope="module")
def feature_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("protocols") / "t.h5"
    rows_of(n=120, validation=True).table.write(path)
    return str(path)


def test_several_protocols_come_in_the_order_asked_for(feature_file: str) -> None:
    asked = ["simpleshot", "quick", "clip"]
    report = probe(feature_file, protocol=asked, estimator=["knn", "logistic"], floors=False)
    assert [(r.protocol, r.estimator) for r in report.results if r.protocol != "quick"] == [
        ("simpleshot", "nearest-class-mean"),
        ("clip", "logistic"),
    ]
    assert [r.protocol for r in report.results] == ["simpleshot", "quick", "quick", "clip"]
    assert {r.estimator for r in report.results if r.protocol == "quick"} == {"knn", "logistic"}
    assert not any(r.as_published for r in report.results)


def test_as_published_is_for_published_protocols(feature_file: str) -> None:
    report = probe(feature_file, protocol=["quick", "kornblith"], as_published=True, floors=False)
    assert {r.protocol: r.as_published for r in report.results} == {"quick": False, "kornblith": True}
    with pytest.raises(UsageError, match="no original"):
        probe(feature_file, as_published=True)


def test_what_cannot_be_asked_for(feature_file: str) -> None:
    with pytest.raises(UsageError, match="'clop' is not known; use quick, clip, kornblith"):
        probe(feature_file, protocol="clop")
    with pytest.raises(UsageError, match="is not known"):
        probe(feature_file, protocol=[])
    with pytest.raises(UsageError, match="estimator of its own"):
        probe(feature_file, protocol="clip", estimator="svm")


def test_what_does_not_suit_the_labels_is_refused_before_any_protocol_runs(
    feature_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*args: Any, **options: Any) -> None:
        raise AssertionError("a protocol was run")

    monkeypatch.setattr("embedkit.workflows.probe.run_protocol", run)
    with pytest.raises(LabelsError, match=r"t\.h5: the labels are one class an image, and hest-ridge needs values"):
        probe(feature_file, protocol=["clip", "hest-ridge"])
    with pytest.raises(UsageError, match=r"t\.h5: estimator Ridge does not fit the labels"):
        probe(feature_file, protocol=["clip", "quick"], estimator="sklearn.linear_model.Ridge")


def test_the_command_line(feature_file: str, tmp_path: Any) -> None:
    from embedkit_cli.probe import command

    arguments = [feature_file, "--no-floors", "--store", str(tmp_path / "store")]
    ran = CliRunner().invoke(command, [*arguments, "--protocol", "kornblith,ridge-lsr", "--as-published", "--json"])
    record = json.loads(ran.stdout)
    assert [(r["protocol"], r["as_published"]) for r in record["results"]] == [("kornblith", True), ("ridge-lsr", True)]
    for one in record["results"]:
        assert {"value", "interval"} == set(one["metrics"]["mean_per_class_accuracy"])
        assert {"model", "estimator", "metric", "value", "interval", "params", "selected_on", "reported_on"} <= set(one)
    ran = CliRunner().invoke(command, [*arguments, "--estimator", "logistic", "--json"])
    [quick] = json.loads(ran.stdout)["results"]
    assert {"mean_per_class_accuracy", "macro_f1", "roc_auc", "log_loss", "ece"} <= set(quick["metrics"])
    ran = CliRunner().invoke(command, [*arguments, "--protocol", "clip,voc-svm"])
    said, table = ran.stdout.split("\n\n")[:2]
    assert "photos like the 30 tested" in said or "test photos" in said
    header, first, second = table.splitlines()[:3]
    assert header.split() == ["features", "protocol", "estimator", "metric", "value", "95", "%", "interval"] + [
        "chosen",
        "train",
        "test",
    ]
    assert first.split()[1] == "clip"
    assert second.split()[1:4] == ["voc-svm", "svm", "mAP"]
    assert "chosen on:   voc-svm: 3-fold cross-validation" in ran.stdout


def test_every_protocol_is_named_in_the_help() -> None:
    from embedkit_cli.probe import command

    text = " ".join(str(command.help).split())
    assert all(name in text for name in PROTOCOLS)
