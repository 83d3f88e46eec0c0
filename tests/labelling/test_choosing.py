"""What is chosen to be labelled: typical images of clusters, then those in doubt; and what labels will bring."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedkit.errors import LabelsError
from embedkit.labelling import choose, in_few_directions, outlook, read_answers
from tests.probes.samples import blobs


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(2, 15),
    known=st.integers(0, 12),
    budget=st.integers(1, 20),
    copies=st.booleans(),
    seed=st.integers(0, 3),
)
def test_each_choice_is_a_candidate_once_and_the_budget_is_kept(rows, known, budget, copies, seed):
    X, y = blobs(rows, "abc")
    if copies:
        X[:] = X[0]
    labels = np.full(len(y), "", y.dtype)
    order = np.random.default_rng(seed).permutation(len(y))
    labels[order[:known]] = y[order[:known]]
    candidates = np.sort(order[known:])
    chosen, strategy = choose(in_few_directions(X), labels, candidates, budget, random_state=seed)
    found = [one.row for one in chosen]
    assert len(set(found)) == len(found) == min(budget, len(candidates))
    assert set(found) <= set(candidates.tolist())
    assert strategy == ("uncertain" if len(set(labels) - {""}) > 1 else "typical")
    assert all(one.reason for one in chosen)
    again, _ = choose(in_few_directions(X), labels, candidates, budget, random_state=seed)
    assert again == chosen


def test_the_first_choices_are_of_every_cluster_and_in_its_middle():
    X, y = blobs(30, "abcdef", width=16, spread=0.1)
    chosen, strategy = choose(in_few_directions(X), np.full(len(y), ""), np.arange(len(y)), 6)
    rows = [one.row for one in chosen]
    assert sorted(y[rows]) == list("abcdef")
    assert chosen[0].reason == "typical of 30 that are alike"
    Z = in_few_directions(X)
    for row in rows:
        middle = Z[y == y[row]].mean(axis=0)
        distances = np.linalg.norm(Z[y == y[row]] - middle, axis=1)
        assert np.linalg.norm(Z[row] - middle) < np.quantile(distances, 0.4)
    # A cluster with a label is asked for last.
    labels = np.full(len(y), "", y.dtype)
    labels[0] = "a"
    more, _ = choose(Z, labels, np.arange(1, len(y)), 5)
    assert sorted(y[[one.row for one in more]]) == list("bcdef")


def test_then_those_between_two_classes():
    X, y = blobs(40, "ab", width=4, spread=0.2)
    between = (X[:10] + X[40:50]) / 2  # half one and half the other
    Z = in_few_directions(np.concatenate([X, between]))
    labels = np.array([*y[:20], *[""] * 20, *y[40:60], *[""] * 20, *[""] * 10])
    chosen, strategy = choose(Z, labels, np.flatnonzero(labels == ""), 4)
    assert strategy == "uncertain"
    assert sum(one.row >= 80 for one in chosen) >= 3
    assert " or " in chosen[0].reason


def test_doubt_is_the_margin_of_scikit_activeml():
    skactiveml = pytest.importorskip("skactiveml")
    from skactiveml.classifier import SklearnClassifier
    from skactiveml.pool import UncertaintySampling
    from sklearn.linear_model import LogisticRegression

    assert skactiveml
    X, y = blobs(40, "abc", spread=1.5)
    Z, codes = in_few_directions(X), np.unique(y, return_inverse=True)[1].astype(float)
    labels, known = np.full(len(y), "", y.dtype), np.arange(0, len(y), 4)
    labels[known] = y[known]
    targets = np.full(len(y), np.nan)
    targets[known] = codes[known]
    _, utilities = UncertaintySampling(method="margin_sampling", random_state=0).query(
        X=Z, y=targets, clf=SklearnClassifier(LogisticRegression(), classes=[0, 1, 2]), return_utilities=True
    )
    candidates = np.flatnonzero(labels == "")
    # Of a budget of one, the five rows of the least margin are looked at, and the one nearest to their middle is taken.
    [chosen], _ = choose(Z, labels, candidates, 1)
    assert chosen.row in np.argsort(-np.nan_to_num(utilities[0], nan=-np.inf))[:5]


def test_what_labels_will_bring_follows_the_square_root():
    X, y = blobs(60, "abcd", width=12, spread=2.5)
    few, many = (outlook(in_few_directions(X[::step]), y[::step], 40) for step in (6, 1))
    assert few.gain > many.gain >= 0
    assert few.interval[0] <= few.gain <= few.interval[1]
    assert 0 < few.accuracy <= 1
    every = np.array([f"class {row}" for row in range(24)])
    assert outlook(X[:24], every, 10).accuracy == 0  # and no warning that they are many
    assert outlook(X[:19], y[:19], 10) is None
    assert outlook(X[:60], y[:60], 10) is None
    alike, same = blobs(30, "ab", width=6, spread=0.01)
    assert outlook(in_few_directions(alike), same, 50).gain < 0.005


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("path,label\na.jpg,cat\nb.jpg,\n", {"a.jpg": "cat"}),
        ("\ufeffPath;Label;reason\r\na.jpg; cat ;\r\n", {"a.jpg": "cat"}),
        ("label,key\ncat,a.jpg\ncat,a.jpg\n", {"a.jpg": "cat"}),
        ("path,label\n'=b.jpg,dog\n", {"=b.jpg": "dog"}),
        ('path,label\n"c,d.jpg","a ""b"""\n', {"c,d.jpg": 'a "b"'}),
    ],
)
def test_answers(tmp_path, content, said):
    (tmp_path / "a.csv").write_text(content, "utf-8", newline="")
    assert read_answers(tmp_path / "a.csv", {"a.jpg", "b.jpg", "=b.jpg", "c,d.jpg"}) == said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected path and label"),
        (b"name,class\na,b\n", "expected path and label"),
        (b"path,label\ngone.jpg,cat\n", "name 'gone.jpg', which the target does not have"),
        (b"path,label\na.jpg,cat\na.jpg,dog\n", "twice, as 'cat' and 'dog'"),
        (b"path,label\na.jpg," + b"x" * 2000, "a label of 2000 characters"),
        (b"\xff\xfe\x00", "save them as CSV in UTF-8"),
        (b'path,label\na.jpg,"' + b"x" * 200_000, "are no CSV"),
    ],
)
def test_answers_that_are_none(tmp_path, content, said):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(LabelsError, match=said):
        read_answers(tmp_path / "a.csv", {"a.jpg"})


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_answers_or_refused(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("answers") / "a.csv"
    file.write_bytes(b"path,label\n" + content)
    try:
        found = read_answers(file, {"a", "b"})
    except LabelsError:
        return
    assert set(found) <= {"a", "b"}
