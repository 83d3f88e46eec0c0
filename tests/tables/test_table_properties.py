"""Whatever a table may hold, its file gives back."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embedkit.errors import UsageError
from embedkit.tables.export import export, join
from embedkit.tables.head import Failure, TableHead
from embedkit.tables.table import FeatureTable
from tests.tables.table_samples import assert_same, make_digests, make_spec

# Unicode as file names and people write it, with what trips readers up.
TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40),
    st.sampled_from(["", " ", "..", "../../x", "/", "a/b", "a\\b", "\n", "a\r\nb", "\t", "é", "e\u0301", "日本.jpg"]),
    st.sampled_from(["\U0001f431", "\u202e.jpg", "\ufeff", "nan", "=1+1", "%2F", ".", "x" * 4096, "\uffff", "\x01"]),
)
NAMES = st.one_of(TEXT.filter(lambda text: 0 < len(text) <= 1024), st.just("."), st.just("label"), st.just("key"))
ROWS = st.integers(0, 12)


@st.composite
def tables(draw: st.DrawFn) -> FeatureTable:
    rows, width = draw(ROWS), draw(st.integers(1, 5))
    dtype: Any = draw(st.sampled_from(["float32", "float16"]))

    def texts(of: st.SearchStrategy[str] = TEXT) -> st.SearchStrategy[list[str]]:
        return st.lists(of, min_size=rows, max_size=rows)

    def arrays(of: Any) -> st.SearchStrategy[Any]:
        return hnp.arrays(of, rows)

    classes = draw(st.lists(TEXT.filter(lambda text: 0 < len(text) <= 1024), max_size=4, unique=True))
    kind = draw(st.sampled_from(["none", "class", "value", "multilabel"]))
    labels: Any = {
        "none": st.none(),
        "class": texts(st.sampled_from(["", *classes])),
        "value": arrays(np.float64),
        "multilabel": hnp.arrays(np.bool_, (rows, len(classes))),
    }[kind]
    head = TableHead(
        spec=make_spec(width, dtype),
        keys=draw(st.lists(TEXT, min_size=rows, max_size=rows, unique=True)),
        digests=draw(hnp.arrays(np.uint8, (rows, 32))),
        labels=draw(labels),
        classes=classes if kind in ("class", "multilabel") else None,
        split=draw(st.none() | texts()),
        groups=draw(st.none() | texts()),
        columns=draw(
            st.dictionaries(
                NAMES, st.one_of(texts(), arrays(np.float64), arrays(np.int64), arrays(np.bool_)), max_size=4
            )
        ),
        failures=draw(st.lists(st.builds(Failure, TEXT, TEXT, st.none() | st.just(b"\1" * 32)), max_size=3)),
        provenance=draw(
            st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5), max_size=3)
        ),
    )
    return FeatureTable(head, draw(hnp.arrays(np.dtype(dtype), (rows, width))))


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(table=tables(), data=st.data())
def test_a_file_gives_back_its_table(table: FeatureTable, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.h5"
        table.write(path)
        opened = FeatureTable.open(path)
        assert_same(opened, table)
        with h5py.File(path) as file:  # and so does plain h5py
            assert [key.decode() for key in file["key"][:].tolist()] == table.keys
            assert file["features"].shape == table.X.shape
        again = Path(folder) / "again.h5"
        opened.write(again)
        assert again.read_bytes() == path.read_bytes()
        rows = data.draw(st.lists(st.integers(0, len(table) - 1), unique=True) if len(table) else st.just([]))
        assert_same(opened[rows], table[rows])
        assert_same(opened.select(keys=[table.keys[row] for row in rows]), table[rows])


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(table=tables(), data=st.data())
def test_a_table_joined_from_its_pieces_is_the_table(table: FeatureTable, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(table)), max_size=3)))
    pieces = [table[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(table)], strict=True)]
    joined = join(pieces)
    np.testing.assert_array_equal(joined.X, table.X)
    assert joined.keys == table.keys
    assert joined.classes == table.classes
    if table.y is None:
        assert joined.y is None
    else:
        np.testing.assert_array_equal(joined.y, table.y)
    for name, column in table.columns.items():
        np.testing.assert_array_equal(joined.columns[name], column)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(table=tables())
def test_numpy_reads_every_table_without_pickles(table: FeatureTable) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.npz"
        export(table, path)
        with np.load(path, allow_pickle=False) as archive:
            np.testing.assert_array_equal(archive["X"], table.X)
            assert archive["keys"].tolist() == table.keys
            np.testing.assert_array_equal(archive["digests"], table.digests)
            if table.y is not None:
                np.testing.assert_array_equal(archive["y"], table.y)
            assert len([name for name in archive.files if name.startswith("columns/")]) == len(table.columns)


@given(text=st.text(st.characters(categories=["Cs"]), min_size=1, max_size=3))
def test_text_that_is_not_unicode_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not valid Unicode"):
        TableHead(spec=make_spec(), keys=[text], digests=make_digests(1))
