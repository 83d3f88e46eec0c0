from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedkit.errors import FeatureFileNotFoundError, UsageError
from embedkit.tables.head import Failure, TableHead
from embedkit.tables.table import FeatureTable
from tests.tables.table_samples import EVERYTHING, assert_same, make_digests, make_features, make_spec, make_table


@pytest.fixture
def table() -> FeatureTable:
    return make_table(**EVERYTHING)


def test_a_table_says_what_it_holds(table: FeatureTable) -> None:
    assert len(table) == 6
    assert table.X.dtype == np.float32
    assert table.X.shape == (6, 4)
    assert table.target_type == "class"
    assert table.classes == ["cat", "dog", "newt"]
    assert table.y.dtype.kind == "U"
    assert table.y.tolist() == ["cat", "dog", "", "cat", "dog", "newt"]
    assert table.labelled.tolist() == [True, True, False, True, True, True]
    assert table.keys[0] == "images/0.jpg"
    assert (table.split == "train").tolist() == [True, True, False, False, False, False]
    assert table.columns["count"].dtype == np.int64
    assert table.failures[1] == Failure("gone.jpg", "vanished", None)


@pytest.mark.parametrize("from_file", [False, True])
def test_rows_of_a_table_are_tables(table: FeatureTable, from_file: bool, tmp_path: Path) -> None:
    X, keys = table.X, table.keys
    if from_file:
        table.write(tmp_path / "t.h5")
        table = FeatureTable.open(tmp_path / "t.h5")
    for rows in (slice(1, 4), slice(None, None, -2), [4, 0, 2], np.array([5, -6]), np.arange(6) % 2 == 0, [], slice(0)):
        part = table[rows]
        assert type(part) is FeatureTable
        expected = np.arange(6)[np.asarray(rows, dtype=np.intp) if isinstance(rows, list) else rows]
        assert part.keys == [keys[row] for row in expected]
        np.testing.assert_array_equal(part.X, X[expected])
        np.testing.assert_array_equal(part.digests, table.digests[expected])
        assert part.y.tolist() == table.y[expected].tolist()
        assert part.columns["site"].tolist() == table.columns["site"][expected].tolist()
        assert part.failures == table.failures
        np.testing.assert_array_equal(np.concatenate([X[:0], *(X for X, _ in part.iter_batches(2))]), part.X)
    np.testing.assert_array_equal(table[1:5][[3, 0]].X, X[[4, 1]])


def test_rows_that_cannot_be_taken(table: FeatureTable) -> None:
    with pytest.raises(TypeError, match=r"table\['a'\]"):
        table["a"]  # pyright: ignore
    with pytest.raises(IndexError):
        table[6]
    with pytest.raises(TypeError):
        list(table)  # pyright: ignore
    with pytest.raises(TypeError, match="float64"):
        table[np.array([0.5])]
    with pytest.raises(IndexError):
        table[[6]]
    with pytest.raises(UsageError, match="twice"):
        table[[1, 1]]
    with pytest.raises(UsageError, match="twice"):
        table[[0, -6]]
    with pytest.raises(UsageError, match="mask"):
        table[np.ones(5, bool)]


def test_a_table_is_no_array(table: FeatureTable) -> None:
    # scikit-learn would convert it again at every step of every pipeline.
    assert not hasattr(table, "__array__")
    assert not isinstance(table, Iterable)
    with pytest.raises(TypeError):
        np.asarray(table)


def test_rows_by_number_are_tables(table: FeatureTable) -> None:
    for row in (2, -4, np.int64(2), np.uint8(2)):
        assert table[row].keys == table.keys[2:3]
        np.testing.assert_array_equal(table[row].X, table.X[2:3])
    assert table.head(2).keys == table.keys[:2]
    assert table.head().keys == table.keys[:5]
    assert len(table.head(0)) == len(table.head(-3)) == 0
    assert len(table.head(99)) == len(table)


def test_scikit_learn_splits_a_table(table: FeatureTable) -> None:
    from sklearn.model_selection import train_test_split

    train, test, keys, _ = train_test_split(table, table.keys, test_size=2, random_state=0)
    assert type(train) is type(test) is FeatureTable
    assert train.keys == keys
    assert sorted(train.keys + test.keys) == sorted(table.keys)
    np.testing.assert_array_equal(test.X, table.select(keys=test.keys).X)


def test_a_data_frame_of_a_table(table: FeatureTable) -> None:
    frame = table.to_pandas()
    assert frame.index.tolist() == table.keys
    assert frame["label"].tolist() == table.y.tolist()
    assert frame["split"].tolist() == table.split.tolist()
    np.testing.assert_array_equal(frame[[f"feature_{i}" for i in range(table.shape[1])]], table.X)
    assert "feature_0" not in table.to_pandas(features=False)


def test_a_description_counts(table: FeatureTable) -> None:
    found = table.describe()
    assert found.classes == {name: int((table.y == name).sum()) for name in table.classes}
    assert sum(found.classes.values()) + found.unlabelled == len(table)
    assert found.splits == {name: table.split.tolist().count(name) for name in sorted(set(table.split.tolist()))}
    assert sum(found.failures.values()) == len(table.failures)
    for name, count in found.classes.items():
        assert f"{name} {count}" in repr(found)
        assert f"{name} {count}" in table._repr_html_()


def test_select_by_split_mask_and_column(table: FeatureTable) -> None:
    assert table.select(split="train").keys == table.keys[:2]
    assert table.select(split=["val", "test"]).keys == [table.keys[i] for i in (2, 3, 5)]
    assert table.select(where={"site": "A"}).keys == [table.keys[i] for i in (0, 2, 4)]
    assert table.select(where={"site": ["A", "B"], "indoor": True}).keys == [table.keys[i] for i in (0, 2, 3)]
    assert table.select(where={"count": {3, 0}}).keys == [table.keys[i] for i in (2, 4)]
    assert table.select(mask=table.y == "cat", split="test").keys == [table.keys[3]]
    assert len(table.select(mask=[False] * 6)) == 0
    assert table.select().keys == table.keys


def test_select_by_keys_keeps_their_order(table: FeatureTable) -> None:
    asked = [table.keys[i] for i in (4, 1, 3)]
    assert table.select(keys=asked).keys == asked
    np.testing.assert_array_equal(table.select(keys=asked).X, table.X[[4, 1, 3]])
    assert table.select(keys=asked, where={"site": "B"}).keys == [table.keys[1], table.keys[3]]
    assert table.select(keys=[]).keys == []


def test_select_what_is_not_there(table: FeatureTable) -> None:
    with pytest.raises(UsageError, match="no split 'trian'; the splits are: 'test', 'train', 'val'"):
        table.select(split="trian")
    with pytest.raises(UsageError, match="no column 'place'"):
        table.select(where={"place": "A"})
    with pytest.raises(UsageError, match=r"2 keys are not in the table, such as 'x\.jpg'"):
        table.select(keys=["images/0.jpg", "x.jpg", "y.jpg"])
    with pytest.raises(UsageError, match="twice"):
        table.select(keys=["images/0.jpg", "images/0.jpg"])
    with pytest.raises(UsageError, match="no splits"):
        make_table().select(split="train")


def test_labels_from_another_column(table: FeatureTable) -> None:
    by_site = table.with_label("site")
    assert by_site.y.tolist() == ["A", "B", "A", "B", "A", ""]
    assert by_site.classes == ["A", "B"]
    assert by_site.columns["label"].tolist() == table.y.tolist()
    assert by_site.with_label("label").y.tolist() == table.y.tolist()
    assert by_site.with_label("weight").with_label("label").classes == table.classes
    assert table.with_label("label") is not table
    assert table.with_label("label").y.tolist() == table.y.tolist()
    np.testing.assert_array_equal(by_site.X, table.X)


def test_labels_from_columns_of_numbers() -> None:
    columns = {
        "age": np.array([1.5, 2.0, np.nan]),
        "grade": np.array([1.0, 2.0, np.nan]),
        "code": np.array([7, 12, 7]),
        "text": ["a", "b", "c"],
    }
    table = make_table(3, columns=columns, split=["train", "train", "test"])
    assert table.target_type == "none"
    assert table.with_label("age").target_type == "value"
    np.testing.assert_array_equal(table.with_label("age").y, columns["age"])
    assert table.with_label("age").labelled.tolist() == [True, True, False]
    assert table.with_label("age", "class").y.tolist() == ["1.5", "2", ""]
    assert table.with_label("grade").y.tolist() == ["1", "2", ""]
    assert table.with_label("grade", "value").target_type == "value"
    assert table.with_label("code").classes == ["12", "7"]
    assert table.with_label("code", "value").y.tolist() == [7.0, 12.0, 7.0]
    assert table.with_label("split").classes == ["test", "train"]
    with pytest.raises(UsageError, match="text, not values"):
        table.with_label("text", "value")
    with pytest.raises(UsageError, match="no column 'colour'.*'age', 'grade', 'code', 'text'"):
        table.with_label("colour")


def test_open_with_a_label_column(table: FeatureTable, tmp_path: Path) -> None:
    table.write(tmp_path / "t.h5")
    assert FeatureTable.open(tmp_path / "t.h5", label_column="site").classes == ["A", "B"]
    with pytest.raises(UsageError, match="no column 'sight'"):
        FeatureTable.open(tmp_path / "t.h5", label_column="sight")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_batches_of_a_file_are_the_table(dtype: Any, tmp_path: Path) -> None:
    table = make_table(101, 7, dtype, labels=[f"c{i % 3}" for i in range(101)])
    table.write(tmp_path / "t.h5")
    opened = FeatureTable.open(tmp_path / "t.h5")
    batches = list(opened.iter_batches(32))
    assert [len(X) for X, _ in batches] == [32, 32, 32, 5]
    assert {X.dtype for X, _ in batches} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(np.concatenate([X for X, _ in batches]), table.X)
    assert np.concatenate([y for _, y in batches]).tolist() == table.y.tolist()
    with pytest.raises(UsageError, match="at least 1"):
        next(opened.iter_batches(0))
    assert next(make_table(3).iter_batches(2))[1] is None


def test_features_are_read_once_and_belongs_to_the_caller(tmp_path: Path) -> None:
    make_table(5).write(tmp_path / "t.h5")
    table = FeatureTable.open(tmp_path / "t.h5")
    X = table.X
    assert table.X is X
    assert X.flags.writeable
    X[:] = 0  # neither the file nor a table of it changes
    assert (FeatureTable.open(tmp_path / "t.h5").X != 0).all()


def test_float16_is_widened_exactly(tmp_path: Path) -> None:
    table = make_table(5, dtype="float16")
    table.write(tmp_path / "t.h5")
    opened = FeatureTable.open(tmp_path / "t.h5")
    assert opened.X.dtype == np.float32
    np.testing.assert_array_equal(opened.X.astype(np.float16), make_features(5, dtype="float16"))
    opened.write(tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "t.h5").read_bytes()


def test_multilabel_and_values(tmp_path: Path) -> None:
    marks = np.array([[True, False, True], [False, False, False]])
    table = make_table(2, labels=marks, classes=["a", "b", "c"])
    assert table.target_type == "multilabel"
    assert table.labelled.tolist() == [True, True]
    values = make_table(2, labels=np.array([1.5, np.nan], dtype=np.float32))
    assert values.target_type == "value"
    assert values.y.dtype == np.float64
    for i, each in enumerate((table, values)):
        each.write(tmp_path / f"{i}.h5")
        assert_same(FeatureTable.open(tmp_path / f"{i}.h5"), each)


def test_a_table_survives_pickling(table: FeatureTable, tmp_path: Path) -> None:
    table.write(tmp_path / "t.h5")
    assert_same(pickle.loads(pickle.dumps(FeatureTable.open(tmp_path / "t.h5")[1:3])), table[1:3])


def test_repr_is_one_line_and_html_is_escaped() -> None:
    table = make_table(2, provenance={"model": "<script>alert(1)</script>"}, labels=["a", "b"])
    assert repr(table).startswith("<FeatureTable 2 x 4 float32, 2 classes, ")
    assert "\n" not in repr(table)
    assert "<script>" not in table._repr_html_()
    assert "&lt;script&gt;" in table._repr_html_()


def test_importing_and_opening_loads_no_learning_library(table: FeatureTable, tmp_path: Path) -> None:
    table.write(tmp_path / "t.h5")
    code = (
        "import sys; from embedkit.tables.table import FeatureTable; import embedkit.tables.export;"
        f"FeatureTable.open({str(tmp_path / 't.h5')!r}).X;"
        "print([name for name in ('torch', 'timm', 'sklearn', 'scipy', 'PIL', 'pyarrow') if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert found.stdout == "[]\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keys": ["a", "a"]}, "1 keys occur more than once.*'a'"),
        ({"keys": ["a", "b\0"]}, "NUL"),
        ({"keys": ["a", "b\udc80"]}, "not valid Unicode"),
        ({"keys": ["a", 3]}, "is 3; expected text"),
        ({"keys": ["a", "x" * (2**20 + 1)]}, "1048577 bytes"),
        ({"keys": ["a", "b", "c"]}, r"digests are uint8 \(2, 32\), expected uint8 \(3, 32\)"),
        ({"digests": np.zeros((2, 32), np.int64)}, "digests are int64"),
        ({"labels": ["x"]}, "1 labels for 2 rows"),
        ({"labels": ["x", None]}, "is None; expected text"),
        ({"labels": np.array([1, 2])}, "is 1; expected text"),
        ({"labels": ["x", "y"], "classes": ["x"]}, r"\['y'\] are not among the 1 classes"),
        ({"labels": ["x", "x"], "classes": ["x", "x"]}, "named twice"),
        ({"labels": ["x", "l" * 1025]}, "more than 1024 characters"),
        ({"labels": np.zeros((2, 3), bool), "classes": ["x"]}, "mark 3 classes, and 1 classes are named"),
        ({"split": ["train"]}, "split has 1 entries for 2 rows"),
        ({"groups": ["a", None]}, "groups is None"),
        ({"columns": {"c": [1, 2, 3]}}, r"shape \(3,\), expected \(2,\)"),
        ({"columns": {"c": ["a", 1]}}, "is 1; expected text"),
        ({"columns": {"c": [1.0, None]}}, "is 1.0; expected text"),
        ({"columns": {"c": np.array([1, 2], "M8[s]")}}, "expected text, floats"),
        ({"columns": {"c": np.array([1, 2**63], np.uint64)}}, "64 bits"),
        ({"columns": {"c": np.zeros((2, 2))}}, r"shape \(2, 2\)"),
        ({"columns": {"": ["a", "b"]}}, "name has 0 characters"),
        ({"columns": {"a\0": ["a", "b"]}}, "NUL"),
        ({"failures": [Failure("z", "bad", b"short")]}, "5 bytes, expected 32"),
        ({"provenance": {"drift": float("nan")}}, "provenance is not JSON"),
        ({"provenance": {"when": object()}}, "provenance is not JSON"),
    ],
)
def test_a_head_that_cannot_be(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"spec": make_spec(), "keys": ["a", "b"], "digests": make_digests(2)}
    with pytest.raises(UsageError, match=message) as caught:
        TableHead(**{**arguments, **change})
    assert "\n" not in str(caught.value)


def test_features_that_are_not_what_the_head_says() -> None:
    head = TableHead(spec=make_spec(4), keys=["a"], digests=make_digests(1))
    for features in (np.zeros((1, 3), np.float32), np.zeros((2, 4), np.float32), np.zeros((1, 4), np.float16)):
        with pytest.raises(UsageError, match="the spec and the keys say"):
            FeatureTable(head, features)


def test_reasons_of_failures_are_made_storable(tmp_path: Path) -> None:
    failures = [Failure("a\udc80.jpg", "two\nlines \0 and \udc80" + "x" * 5000)]
    table = make_table(1, keys=["k"], failures=failures)
    assert table.failures[0].key == "a\\udc80.jpg"
    assert table.failures[0].reason.startswith("two lines \\0 and \\udc80xxx")
    assert len(table.failures[0].reason) == 2000
    table.write(tmp_path / "t.h5")
    assert_same(FeatureTable.open(tmp_path / "t.h5"), table)


def test_open_nothing(tmp_path: Path) -> None:
    with pytest.raises(FeatureFileNotFoundError, match="no feature file at"):
        FeatureTable.open(tmp_path / "none.h5")
    with pytest.raises(FileNotFoundError):
        FeatureTable.open(tmp_path / "none.h5")


def test_a_pickle_holds_the_rows_of_the_table_once() -> None:
    table = make_table(rows=2000)
    size = len(pickle.dumps(table))
    assert table.X is table.X
    assert len(pickle.dumps(table)) == size
    assert len(pickle.dumps(table[:5])) < size / 10
    assert_same(pickle.loads(pickle.dumps(table[:5])), table[:5])


def test_one_key_may_be_asked_for_alone(table: FeatureTable) -> None:
    assert table.select(keys=table.keys[1]).keys == [table.keys[1]]
