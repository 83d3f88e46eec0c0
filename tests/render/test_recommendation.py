"""What is recommended is chosen by the rows that choose, never by the tested ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from embedkit.render import as_text
from embedkit.results import Candidate, ProbeReport, ProbeResult, Rows, recommended_of


def result(estimator, value, chosen, *, floor=False, protocol="quick"):
    return ProbeResult(
        model="pixels32" if floor else "net",
        protocol=protocol,
        estimator=estimator,
        metric="accuracy",
        value=value,
        interval=(value - 0.05, value + 0.05),
        n_train=100,
        n_test=100,
        n_classes=2,
        params={},
        at_edge=False,
        converged=True,
        selected_on="validation split (20 images)",
        reported_on="test split (100 images)",
        floor=floor,
        candidates=[Candidate(params={"C": float(place)}, score=score) for place, score in enumerate(chosen)],
    )


SVM, LOGISTIC = result("svm", 0.75, [0.6, 0.7]), result("logistic", 0.7, [0.8, 0.5])
FLOOR = result("logistic", 0.9, [0.99], floor=True)


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([SVM, LOGISTIC], 1),
        ([FLOOR, SVM, LOGISTIC], 2),
        ([SVM, result("lda", 0.7, [0.7])], 0),  # the first of equals
        ([SVM, result("GaussianNB", 0.99, [])], 0),
        ([result("GaussianNB", 0.99, []), result("SVC", 0.5, [])], None),
        ([result("GaussianNB", 0.99, [])], 0),
        ([FLOOR], None),
        ([result("logistic", 0.9, [0.9], protocol="clip")], None),
    ],
)
def test_the_rows_that_choose_decide(results, expected):
    assert recommended_of(results) == expected


def test_the_text_marks_the_best_of_several_and_recommends_another():
    text = as_text(ProbeReport(results=[FLOOR, SVM, LOGISTIC], recommended=2))
    assert "75.0 % (best of 2 by the test rows)" in text
    assert text.count("best of 2") == 2
    assert text.splitlines()[-1] == (
        "recommended: logistic on net, chosen on the rows that choose; its test accuracy is 70.0 % (65.0 - 75.0 %); "
        "the best of 2 by the test rows (svm on net) would flatter"
    )


def test_the_text_says_when_nothing_can_be_recommended():
    unchosen = [result("GaussianNB", 0.9, []), result("SVC", 0.5, [])]
    last = as_text(ProbeReport(results=unchosen)).splitlines()[-1]
    assert last.startswith("recommended: none, since no estimator had candidates")


def test_the_text_begins_with_a_plain_sentence():
    floors = [
        dataclasses.replace(FLOOR, model=name, value=value)
        for name, value in (("net random weights", 0.06), ("pixels32", 0.104), ("colour-histogram", 0.298))
    ]
    rows = Rows(
        keys=["a", "b", "c", "d"],
        y_true=np.array(["x", "x", "x", "y"]),
        y_pred=np.array(["x", "x", "x", "x"]),
        scores=None,
        classes=["x", "y"],
        fold=np.zeros(4, np.int64),
    )
    said = as_text(ProbeReport(results=[dataclasses.replace(SVM, rows=rows), *floors])).splitlines()[0]
    assert said == (
        "Of 100 photos like the 100 tested, 75 are named right (70 to 80); guessing the commonest class gives 75, "
        "colours alone 30, raw pixels 10, random weights 6. (svm on net; in brackets the 95 % interval.)"
    )
    values = dataclasses.replace(SVM, metric="r2")
    assert as_text(ProbeReport(results=[values])).startswith(
        "75 % of the variance of the values is explained (70 to 80); guessing their mean explains 0. (svm on net"
    )
