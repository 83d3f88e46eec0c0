from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas
import polars
import pyarrow.ipc
import pyarrow.parquet
import pytest

from embedkit.errors import (
    DamagedFeatureFileError,
    FeatureFileFormatError,
    MissingExtraError,
    OutputExistsError,
    SpecMismatchError,
    StoreWriteError,
    UsageError,
)
from embedkit.files.commit import commit_to
from embedkit.tables.export import export, join
from embedkit.tables.head import Failure
from embedkit.tables.table import FeatureTable
from embedkit.tables.virtual import open_virtual
from tests.tables.table_samples import EVERYTHING, assert_same, make_spec, make_table

ROOT = Path(__file__).parents[2]


@pytest.fixture
def table() -> FeatureTable:
    return make_table(**EVERYTHING)


@pytest.fixture
def pieces(table: FeatureTable, tmp_path: Path) -> list[Path]:
    """Three files: two rows, none, four rows; the last in a folder of its own."""
    (tmp_path / "sub").mkdir()
    paths = [tmp_path / "a.h5", tmp_path / "empty.h5", tmp_path / "sub" / "b.h5"]
    for path, rows in zip(paths, (slice(2), slice(0), slice(2, 6)), strict=True):
        table[rows].write(path)
    return paths


def test_numpy(table: FeatureTable, tmp_path: Path) -> None:
    export(table, tmp_path / "t.npz")
    with np.load(tmp_path / "t.npz", allow_pickle=False) as archive:
        found = {name: archive[name] for name in archive.files}
    np.testing.assert_array_equal(found.pop("X"), table.X)
    np.testing.assert_array_equal(found.pop("digests"), table.digests)
    assert found.pop("keys").tolist() == table.keys
    assert found.pop("y").tolist() == ["cat", "dog", "", "cat", "dog", "newt"]
    assert found.pop("classes").tolist() == ["cat", "dog", "newt"]
    assert found.pop("split").tolist() == EVERYTHING["split"]
    assert found.pop("groups").tolist() == EVERYTHING["groups"]
    assert found.pop("target_type").item() == "class"
    assert found.pop("spec").item() == table.spec.canonical
    assert json.loads(found.pop("provenance").item()) == table.provenance
    assert found.pop("failures").tolist() == [["bad.jpg", "truncated after 12 bytes"], ["gone.jpg", "vanished"]]
    assert found.pop("columns/site").tolist() == EVERYTHING["columns"]["site"]
    assert found.pop("columns/count").dtype == np.int64
    assert found.pop("columns/indoor").dtype == bool
    np.testing.assert_array_equal(found.pop("columns/weight"), table.columns["weight"])
    assert found.pop("columns/odd %2F name %252F").tolist() == ["", "a", "", "", "", ""]
    assert found == {}


def test_no_member_of_an_archive_leaves_its_folder(tmp_path: Path) -> None:
    export(make_table(1, columns={"../../etc/x": ["a"]}), tmp_path / "t.npz")
    names = zipfile.ZipFile(tmp_path / "t.npz").namelist()
    assert "columns/..%2F..%2Fetc%2Fx.npy" in names
    assert not any(name.startswith("/") or "../" in name for name in names)


def test_archives_are_equal_byte_for_byte(table: FeatureTable, tmp_path: Path) -> None:
    for name in ("a", "b"):
        export(table, tmp_path / f"{name}.npz")
        export(table, tmp_path / f"{name}.csv")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_parquet(table: FeatureTable, tmp_path: Path) -> None:
    export(table, tmp_path / "t.parquet")
    frame = pandas.read_parquet(tmp_path / "t.parquet")
    np.testing.assert_array_equal(np.stack(frame["features"].to_list()), table.X)
    assert frame["key"].tolist() == table.keys
    assert frame["label"].tolist() == ["cat", "dog", "", "cat", "dog", "newt"]
    assert frame["digest"][3] == table.digests[3].tobytes()
    assert frame["count"].dtype == np.int64
    assert polars.read_parquet(tmp_path / "t.parquet")["site"].to_list() == EVERYTHING["columns"]["site"]
    described = json.loads(pyarrow.parquet.read_schema(tmp_path / "t.parquet").metadata[b"embedkit"])
    assert described["fingerprint"] == table.spec.fingerprint
    assert described["classes"] == ["cat", "dog", "newt"]
    assert described["target_type"] == "class"


def test_several_labels_a_row(tmp_path: Path) -> None:
    marks = np.array([[True, False, True], [False, False, False], [False, True, False]])
    table = make_table(3, labels=marks, classes=["a", "b", "c"])
    export(table, tmp_path / "t.parquet")
    export(table, tmp_path / "t.csv")
    export(table, tmp_path / "t.npz")
    assert [list(names) for names in pandas.read_parquet(tmp_path / "t.parquet")["label"]] == [["a", "c"], [], ["b"]]
    assert pandas.read_csv(tmp_path / "t.csv", keep_default_na=False)["label"].tolist() == ["a|c", "", "b"]
    np.testing.assert_array_equal(np.load(tmp_path / "t.npz")["y"], marks)


def test_arrow_is_mapped_and_has_what_parquet_has(table: FeatureTable, tmp_path: Path) -> None:
    export(table, tmp_path / "t.arrow")
    export(table, tmp_path / "t.parquet")
    with pyarrow.memory_map(str(tmp_path / "t.arrow")) as file:
        found = pyarrow.ipc.open_file(file).read_all()
        expected = pyarrow.parquet.read_table(tmp_path / "t.parquet")
        assert found.schema == expected.schema
        pandas.testing.assert_frame_equal(found.to_pandas(), expected.to_pandas())
        assert found.schema.metadata == pyarrow.parquet.read_schema(tmp_path / "t.parquet").metadata


def test_parquet_in_shards(table: FeatureTable, pieces: list[Path], tmp_path: Path) -> None:
    export(pieces, tmp_path / "all", shard_rows=4)
    names = [f"all-0000{place}-of-00002.parquet" for place in range(2)]
    assert sorted(os.listdir(tmp_path / "all")) == names
    export(table, tmp_path / "one.parquet")
    whole = pyarrow.parquet.read_table(tmp_path / "one.parquet")
    read = pyarrow.parquet.read_table(tmp_path / "all")
    assert read.select(["key", "label", "features"]).equals(whole.select(["key", "label", "features"]))
    assert [pyarrow.parquet.read_metadata(tmp_path / "all" / name).num_rows for name in names] == [4, 2]
    with pytest.raises(OutputExistsError, match="holds shards"):
        export(pieces, tmp_path / "all", shard_rows=4)
    export(pieces, tmp_path / "all", "parquet", shard_rows=6, force=True)
    assert os.listdir(tmp_path / "all") == ["all-00000-of-00001.parquet"]
    (tmp_path / "all" / "mine.txt").write_text("keep")
    with pytest.raises(OutputExistsError, match=r"mine\.txt"):
        export(pieces, tmp_path / "all", shard_rows=4, force=True)
    export(table[:0], tmp_path / "none", shard_rows=4)
    assert pyarrow.parquet.read_table(tmp_path / "none").num_rows == 0
    for wrong in ({"shard_rows": 0}, {"shard_rows": 3, "format": "csv"}):
        with pytest.raises(UsageError, match="shard_rows"):
            export(table, tmp_path / "x", **wrong)


def test_a_faiss_index_finds_rows_by_cosine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faiss = pytest.importorskip("faiss")
    table = make_table(50, 8)
    export(table, tmp_path / "t.faiss")
    index = faiss.read_index(str(tmp_path / "t.faiss"))
    unit = table.X / np.linalg.norm(table.X, axis=1, keepdims=True)
    cosines, rows = index.search(unit, 3)
    np.testing.assert_array_equal(rows, np.argsort(-(unit @ unit.T), axis=1, kind="stable")[:, :3])
    np.testing.assert_allclose(cosines[:, 0], 1, atol=1e-6)
    with (tmp_path / "t.faiss.csv").open(newline="") as file:
        assert [(int(row["row"]), row["key"]) for row in csv.DictReader(file)] == [*enumerate(table.keys)]
    with pytest.raises(OutputExistsError):
        export(table, tmp_path / "t.faiss")
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"embedkit\[search\]"):
        export(table, tmp_path / "other.faiss")


def test_parquet_without_pyarrow(table: FeatureTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'embedkit\[parquet\]'"):
        export(table, tmp_path / "t.parquet")
    assert list(tmp_path.iterdir()) == []


def test_csv(table: FeatureTable, tmp_path: Path) -> None:
    export(table, tmp_path / "t.csv")
    with open(tmp_path / "t.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == [
        *("key", "label", "split", "groups", "site", "weight", "count", "indoor", "odd / name %2F", "digest"),
        *("feature_0", "feature_1", "feature_2", "feature_3"),
    ]
    assert rows[1][:9] == ["images/0.jpg", "cat", "train", "p1", "A", "0.5", "1", "True", ""]
    assert rows[2][5:7] == ["", "-2"]
    assert rows[1][9] == table.digests[0].tobytes().hex()
    # The shortest text of a float32 gives back the float32.
    np.testing.assert_array_equal(np.array([row[10:] for row in rows[1:]], dtype=np.float32), table.X)


def test_a_spreadsheet_sees_no_formula(tmp_path: Path) -> None:
    bad = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "fine", "a=b"]
    table = make_table(keys=bad, labels=["=x"] * 9, columns={"=evil()": bad, "number": np.arange(9.0) - 9})
    export(table, tmp_path / "t.csv")
    with open(tmp_path / "t.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0][:4] == ["key", "label", "'=evil()", "number"]
    assert [row[0] for row in rows[1:]] == [f"'{text}" for text in bad[:7]] + bad[7:]
    assert [row[2] for row in rows[1:]] == [row[0] for row in rows[1:]]
    assert {row[1] for row in rows[1:]} == {"'=x"}
    assert rows[1][3] == "-9.0"  # a number is no formula


def test_columns_with_names_that_are_taken(tmp_path: Path) -> None:
    table = make_table(2, columns={"key": ["a", "b"], "feature_0": np.arange(2), "fine": ["c", "d"]})
    export(table, tmp_path / "t.csv")
    assert list(pandas.read_csv(tmp_path / "t.csv"))[:4] == ["key", "columns.key", "columns.feature_0", "fine"]
    export(table, tmp_path / "t.parquet")
    assert pandas.read_parquet(tmp_path / "t.parquet")["columns.key"].tolist() == ["a", "b"]


def test_several_files_become_one(table: FeatureTable, pieces: list[Path], tmp_path: Path) -> None:
    export(pieces, tmp_path / "joined.h5")
    joined = FeatureTable.open(tmp_path / "joined.h5")
    assert joined.provenance == {"joined": [table.provenance] * 3}
    joined.metadata.provenance = table.provenance
    joined.metadata.failures = joined.metadata.failures[:2]  # each piece has the same two
    assert_same(joined, table)
    for name in ("npz", "csv", "parquet", "arrow"):
        export(pieces, tmp_path / f"joined.{name}")
    np.testing.assert_array_equal(np.load(tmp_path / "joined.npz")["X"], table.X)
    assert pandas.read_csv(tmp_path / "joined.csv")["key"].tolist() == table.keys
    assert pandas.read_parquet(tmp_path / "joined.parquet")["key"].tolist() == table.keys
    np.testing.assert_array_equal(join([*pieces[:2], table[2:]]).X, table.X)


def test_one_table_exported_as_a_feature_file_is_itself(table: FeatureTable, tmp_path: Path) -> None:
    table.write(tmp_path / "a.h5")
    export(tmp_path / "a.h5", tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.parametrize(
    ("others", "error", "message"),
    [
        ({"spec": make_spec(layer=3)}, SpecMismatchError, "b.h5 holds other features than .*backbone.layer is 3"),
        ({"prefix": "images"}, UsageError, r"6 keys occur more than once \('images/0.jpg', .*\.\.\.\)"),
        (
            {"prefix": "b", "labels": ["x"] * 6},
            UsageError,
            "labels of the kind class in .*b.h5, none in .*a.h5; extract their images together",
        ),
        ({"prefix": "b", "split": ["x"] * 6}, UsageError, "split: text in .*b.h5, none in .*a.h5"),
        ({"prefix": "b", "columns": {"c": [1] * 6}}, UsageError, "c: int64 in .*b.h5, none in"),
    ],
)
def test_tables_that_cannot_be_joined(others: dict[str, Any], error: Any, message: str, tmp_path: Path) -> None:
    make_table().write(tmp_path / "a.h5")
    make_table(**others).write(tmp_path / "b.h5")
    for output in ("j.h5", "j.npz", "j.csv", "j.parquet"):
        with pytest.raises(error, match=message):
            export([tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / output)
    with pytest.raises(error, match=message):
        export([tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "v.h5", "virtual")
    assert sorted(os.listdir(tmp_path)) == ["a.h5", "b.h5"]


def test_multilabel_tables_with_other_classes_cannot_be_joined() -> None:
    first = make_table(1, labels=np.ones((1, 1), bool), classes=["a"])
    other = make_table(1, prefix="b", labels=np.ones((1, 1), bool), classes=["b"])
    with pytest.raises(UsageError, match="mark different classes"):
        join([first, other])


def test_classes_of_joined_tables_are_united() -> None:
    first = make_table(1, labels=["b"], failures=[Failure("b/0.jpg", "unreadable then")])
    joined = join([first, make_table(1, prefix="b", labels=["a"])])
    assert joined.classes == ["a", "b"]
    assert joined.failures == []  # it has a row now


def test_outputs(table: FeatureTable, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("mine")
    with pytest.raises(OutputExistsError, match="exists; name another output"):
        export(table, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "mine"
    export(table, tmp_path / "t.csv", force=True)
    assert (tmp_path / "t.csv").read_text().startswith("key,label")
    with pytest.raises(StoreWriteError, match="there is no folder"):
        export(table, tmp_path / "missing" / "t.csv")
    with pytest.raises(UsageError, match="name the format"):
        export(table, tmp_path / "t.txt")
    with pytest.raises(UsageError, match="format 'xlsx' is not known"):
        export(table, tmp_path / "t.xlsx", "xlsx")  # pyright: ignore
    with pytest.raises(UsageError, match="nothing to export"):
        export([], tmp_path / "t.npz")
    with pytest.raises(UsageError, match="nothing to join"):
        join([])
    export(table, tmp_path / "t.txt", "csv")
    assert (tmp_path / "t.txt").read_bytes() == (tmp_path / "t.csv").read_bytes()


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    code = f"""
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        from embedkit.errors import StoreWriteError
        from embedkit.tables.export import export
        from tests.tables.table_samples import make_table
        for name in ("npz", "csv", "parquet", "arrow"):
            try:
                export(make_table(2000, 1000), {str(tmp_path)!r} + "/t." + name)
            except StoreWriteError as error:
                print(error.errno)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "27\n27\n27\n27\n", done.stderr
    assert list(tmp_path.iterdir()) == []


def test_exports_are_streamed(tmp_path: Path) -> None:
    # 64 MB of features, a few megabytes at a time.
    make_table(16384, 1024).write(tmp_path / "t.h5")
    code = f"""
        import sys, tracemalloc
        from embedkit.tables.export import export
        from tests.tables.table_samples import make_table
        export(make_table(), {str(tmp_path)!r} + "/small." + sys.argv[1])  # what importing pyarrow takes is not counted
        tracemalloc.start()
        export({str(tmp_path / "t.h5")!r}, {str(tmp_path)!r} + "/t." + sys.argv[1])
        print(tracemalloc.get_traced_memory()[1])
    """
    for name in ("npz", "parquet", "arrow"):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), name], capture_output=True, text=True, cwd=ROOT, check=True
        )
        assert int(done.stdout) < 40_000_000


# Virtual tables


def test_a_virtual_table_shows_the_features_of_its_sources(
    table: FeatureTable, pieces: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = tmp_path / "sub" / "view.h5"
    export(pieces, view, "virtual")
    monkeypatch.chdir("/")
    with h5py.File(view) as file:
        np.testing.assert_array_equal(file["features"][:], table.X)
        assert file["key"].asstr()[:].tolist() == table.keys
        assert file["split"].asstr()[:].tolist() == table.split.tolist()
    tables = open_virtual(view)
    assert [len(each) for each in tables] == [2, 0, 4]
    np.testing.assert_array_equal(join(tables).X, table.X)
    # It is found wherever the folder goes.
    tmp_path.rename(tmp_path.with_name("moved"))
    assert sum(map(len, open_virtual(tmp_path.with_name("moved") / "sub" / "view.h5"))) == 6
    tmp_path.with_name("moved").rename(tmp_path)


def test_a_virtual_table_without_rows(tmp_path: Path) -> None:
    make_table(0).write(tmp_path / "a.h5")
    export(tmp_path / "a.h5", tmp_path / "v.h5", "virtual")
    with h5py.File(tmp_path / "v.h5") as file:
        assert file["features"].shape == (0, 4)
    assert [len(each) for each in open_virtual(tmp_path / "v.h5")] == [0]


def test_a_lost_source_is_nan_to_others_and_an_error_here(pieces: list[Path], tmp_path: Path) -> None:
    view = tmp_path / "view.h5"
    export(pieces, view, "virtual")
    pieces[0].unlink()
    with h5py.File(view) as file:
        assert np.isnan(file["features"][:]).all(axis=1).tolist() == [True, True, False, False, False, False]
    with pytest.raises(DamagedFeatureFileError, match=r"view.h5 cannot be read whole: no feature file at .*a\.h5"):
        open_virtual(view)


def test_a_source_that_changed_is_an_error(table: FeatureTable, pieces: list[Path], tmp_path: Path) -> None:
    view = tmp_path / "view.h5"
    export(pieces, view, "virtual")
    table[:3].write(pieces[0], force=True)
    with pytest.raises(DamagedFeatureFileError, match="shows 2 rows of .*a.h5, which has changed"):
        open_virtual(view)
    make_table(2, seed=9).write(pieces[0], force=True)
    with pytest.raises(DamagedFeatureFileError, match="which has changed"):
        open_virtual(view)


def test_a_virtual_table_is_no_feature_file_and_the_other_way_round(pieces: list[Path], tmp_path: Path) -> None:
    view = tmp_path / "view.h5"
    export(pieces, view, "virtual")
    with pytest.raises(FeatureFileFormatError, match="not a feature file"):
        FeatureTable.open(view)
    with pytest.raises(FeatureFileFormatError, match="not a virtual table"):
        open_virtual(pieces[0])
    with pytest.raises(OutputExistsError):
        export(pieces, view, "virtual")
    with pytest.raises(UsageError, match="name their paths"):
        export(FeatureTable.open(pieces[0]), tmp_path / "w.h5", "virtual")


def test_a_virtual_table_with_a_damaged_list(pieces: list[Path], tmp_path: Path) -> None:
    view = tmp_path / "view.h5"

    def with_sources(record: Any) -> None:
        export(pieces, view, "virtual", force=True)
        with h5py.File(view, "r+") as file:
            del file["sources"]
            file["sources"] = np.frombuffer(json.dumps(record).encode(), np.uint8)
        commit_to(view, [view.read_bytes()])

    for record in (3, [3], [{"path": "a.h5"}], [{"path": "a.h5", "rows": "x", "sha256": ""}]):
        with_sources(record)
        with pytest.raises(FeatureFileFormatError, match="cannot be understood"):
            open_virtual(view)
    with_sources([])
    with pytest.raises(DamagedFeatureFileError, match="has 6 keys, and its sources 0 rows"):
        open_virtual(view)
