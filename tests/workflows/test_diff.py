"""The difference of two feature files: what was planted is found, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from embedkit import FeatureTable, diff
from embedkit.render import as_text
from embedkit.results import ChangedRow, ChangedSetting
from embedkit.tables import TableHead
from tests.tables.table_samples import EVERYTHING, make_digests, make_features, make_spec, make_table

KEYS = [f"{row}.jpg" for row in range(40)]
COLUMNS = {"labels": ["cat", "dog"] * 20, "split": ["train", "test"] * 20, "columns": {"site": ["a"] * 40}}


def table_of(X=None, *, keys=KEYS, digests=None, spec=None, **head):
    X = make_features(40, 8) if X is None else X
    digests = make_digests(40) if digests is None else digests
    made = TableHead(spec=spec or make_spec(8), keys=keys, digests=digests, **{**COLUMNS, **head})
    return FeatureTable(made, X)


@pytest.fixture
def table():
    return table_of()


def test_equal_files_have_no_difference(table):
    found = diff(table, table[::-1])
    assert (found.added, found.removed, found.changed, found.settings) == ([], [], [], [])
    assert (found.compared, found.unequal, found.worst) == (40, 0, 1.0)
    assert "equal to the last bit in all 40 rows" in as_text(found)
    everything = make_table(**EVERYTHING)  # unknown values are equal to themselves
    assert diff(everything, everything).changed == []


def test_rows_that_came_went_and_changed(table):
    digests = table.digests.copy()
    digests[3] = 7
    labels, split = list(COLUMNS["labels"]), list(COLUMNS["split"])
    labels[5], split[5], labels[6] = "newt", "", "dog"
    other = table_of(digests=digests, labels=labels, split=split, columns={})
    found = diff(table[:38], other[2:])
    assert (found.added, found.removed) == (["38.jpg", "39.jpg"], ["0.jpg", "1.jpg"])
    changed = {one.key: one.fields for one in found.changed}
    assert changed["3.jpg"] == ["image", "site"]
    assert changed["5.jpg"] == ["label", "split", "site"]
    assert changed["6.jpg"] == ["label", "site"]
    assert set(map(tuple, (fields for key, fields in changed.items() if key not in ("3.jpg", "5.jpg", "6.jpg")))) == {
        ("site",)
    }
    assert found.compared == 35  # the row of another image aside
    assert found.table()[0] == {"change": "added", "key": "38.jpg", "fields": ""}


def test_an_image_under_another_key_has_moved_and_its_features_are_compared(table):
    digests = table.digests.copy()
    digests[9] = 7  # another image
    other = table_of(keys=[f"photos.zip/{key}" for key in KEYS[:30]] + KEYS[30:], digests=digests)
    found = diff(table, other)
    assert (len(found.added), len(found.removed), found.compared) == (30, 30, 39)
    assert {one.first: one.second for one in found.moved} == {
        key: f"photos.zip/{key}" for key in KEYS[:30] if key != KEYS[9]
    }
    text = as_text(found)
    assert "moved     29: 0.jpg -> photos.zip/0.jpg, " in text
    assert "equal to the last bit in all 39 rows" in text
    assert "\nmoved" not in as_text(diff(table, table))
    # Of several copies, each is paired with one.
    twice = table_of(
        table.X[[0, 0, 1]], keys=["a", "b", "c"], digests=table.digests[[0, 0, 1]], labels=None, split=None, columns={}
    )
    once = table_of(table.X[[0]], keys=["z"], digests=table.digests[[0]], labels=None, split=None, columns={})
    assert [(one.first, one.second) for one in diff(twice, once).moved] == [("a", "z")]
    assert [(one.first, one.second) for one in diff(once, twice).moved] == [("z", "a")]


def test_the_label_of_a_file_with_others_is_compared_by_name():
    marks = np.zeros((40, 2), bool)
    marks[:, 0] = True
    one = table_of(labels=marks, classes=["a", "b"])
    other = table_of(labels=marks[:, ::-1], classes=["b", "a"])
    assert diff(one, other).changed == []
    assert diff(one, table_of(labels=marks[:, ::-1], classes=["a", "b"])).changed[0] == ChangedRow(
        key="0.jpg", fields=["label"]
    )


def test_drift_is_that_of_the_worst_row(table):
    X = table.X + np.random.default_rng(1).normal(scale=0.01, size=table.X.shape).astype(np.float32)
    X[11] = -X[11]
    other = table_of(X, spec=make_spec(8, precision="bf16"))
    found = diff(table, other)
    assert found.settings == [ChangedSetting(name="backbone.precision", first='"fp32"', second='"bf16"')]
    assert found.same_backbone
    assert (found.compared, found.unequal, found.worst_key) == (40, 40, "11.jpg")
    centred = [part.astype(np.float64) - table.X.mean(axis=0, dtype=np.float64) for part in (table.X, X)]
    expected = np.sum(centred[0] * centred[1], axis=1) / np.prod(
        [np.linalg.norm(one, axis=1) for one in centred], axis=0
    )
    assert found.worst == pytest.approx(expected.min())
    assert found.mean == pytest.approx(expected.mean())
    assert "worst cosine" in as_text(found)


def test_features_of_other_backbones_are_not_compared(table):
    found = diff(table, table_of(spec=make_spec(8, architecture="resnet34")))
    assert not found.same_backbone
    assert (found.compared, found.worst, found.mean) == (0, None, None)
    assert "other backbones" in as_text(found)
    narrow = diff(table, make_table(4, 3))
    assert (len(narrow.added), len(narrow.removed), narrow.compared) == (4, 40, 0)
