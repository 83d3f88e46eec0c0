from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from embedkit.errors import (
    DamagedFeatureFileError,
    FeatureFileError,
    FeatureFileFormatError,
    FeatureFileNotFoundError,
    OutputExistsError,
    StoreWriteError,
    UsageError,
)
from embedkit.files.commit import Disk, commit_to
from embedkit.specs import FORMAT_VERSION
from embedkit.tables import feature_file, feature_output
from embedkit.tables.feature_file import info, read_feature_file
from embedkit.tables.feature_layout import lay_out
from embedkit.tables.feature_output import check_output, write_feature_file
from embedkit.tables.head import TableHead
from embedkit.tables.table import FeatureTable
from tests.tables.table_samples import EVERYTHING, assert_same, make_digests, make_features, make_spec, make_table

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    make_table(**EVERYTHING).write(tmp_path / "t.h5")
    return tmp_path / "t.h5"


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def run_python(code: str, **limits: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=ROOT, timeout=120, **limits
    )


# What is in a file


def test_plain_h5py_reads_everything_without_embedkit(path: Path) -> None:
    table = make_table(**EVERYTHING)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["features"][:], table.X)
        assert [key.decode() for key in file["key"][:]] == table.keys
        assert file["key"].asstr()[0] == "images/0.jpg"
        np.testing.assert_array_equal(file["digest"][:], table.digests)
        assert file["label"].asstr()[:].tolist() == ["cat", "dog", "", "cat", "dog", "newt"]
        assert file["label_classes"].asstr()[:].tolist() == ["cat", "dog", "newt"]
        assert file["split"].asstr()[:].tolist() == EVERYTHING["split"]
        assert file["groups"].asstr()[:].tolist() == EVERYTHING["groups"]
        assert sorted(file["columns"]) == ["count", "indoor", "odd %2F name %252F", "site", "weight"]
        np.testing.assert_array_equal(file["columns/weight"][:], table.columns["weight"])
        np.testing.assert_array_equal(file["columns/count"][:], table.columns["count"])
        assert file["columns/indoor"].dtype == bool
        assert file["failures/key"].asstr()[:].tolist() == ["bad.jpg", "gone.jpg"]
        assert file["failures/reason"].asstr()[0] == "truncated after 12 bytes"
        assert file["failures/digest"][0].tobytes() == bytes(range(32))
        assert not file["failures/digest"][1].any()
        assert bytes(file["spec"][:]) == table.spec.canonical.encode()
        assert json.loads(bytes(file["provenance"][:])) == EVERYTHING["provenance"]
        assert file.attrs["format"] == b"embedkit feature file"
        assert (file.attrs["format_major"], file.attrs["format_minor"]) == (FORMAT_VERSION, 0)
        assert file.attrs["fingerprint"].decode() == table.spec.fingerprint
        assert file.attrs["target_type"] == b"class"


def test_every_text_is_of_fixed_length(path: Path) -> None:
    found: list[str] = []

    def look(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            found.append(name)
            assert h5py.check_vlen_dtype(item.dtype) is None
            string = h5py.check_string_dtype(item.dtype)
            assert string is None or (string.encoding == "utf-8" and string.length is not None)

    with h5py.File(path) as file:
        file.visititems(look)
    assert len(found) == 17


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("rows", [0, 1, 3, 100])
def test_features_are_the_last_bytes_before_the_trailer(rows: int, dtype: Any, tmp_path: Path) -> None:
    table = make_table(rows, 5, dtype, columns={f"c{i}": np.arange(rows) for i in range(20)})
    table.write(tmp_path / "t.h5")
    data = (tmp_path / "t.h5").read_bytes()
    features = make_features(rows, 5, dtype).tobytes()
    assert data[: len(data) - 48].endswith(features)
    assert data[-48:-40] == b"EMBEDKIT"
    assert int.from_bytes(data[-40:-32], "little") == len(data) - 48
    with h5py.File(tmp_path / "t.h5") as file:
        assert file["features"].chunks is None
        offset = file["features"].id.get_offset()
        assert (offset is None) if rows == 0 else (offset % 64 == 0 and offset == len(data) - 48 - len(features))


def test_equal_tables_give_equal_bytes(path: Path, tmp_path: Path) -> None:
    time.sleep(1.1)  # HDF5 keeps times in seconds
    make_table(**EVERYTHING).write(tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == path.read_bytes()
    code = """
        from tests.tables.table_samples import EVERYTHING, make_table
        make_table(**EVERYTHING).write({!r})
    """
    assert run_python(code.format(str(tmp_path / "other.h5"))).returncode == 0
    assert (tmp_path / "other.h5").read_bytes() == path.read_bytes()


def test_info_does_not_look_at_features(path: Path) -> None:
    found = info(path)
    assert found.to_dict() == {
        "path": str(path),
        "model": "resnet18.a1_in1k",
        "rows": 6,
        "width": 4,
        "dtype": "float32",
        "target_type": "class",
        "classes": 3,
        "splits": {"": 1, "test": 2, "train": 2, "val": 1},
        "columns": ["count", "indoor", "odd / name %2F", "site", "weight"],
        "failures": 2,
        "fingerprint": make_spec().fingerprint,
        "bytes": path.stat().st_size,
        "source": "/photos",
        "created": "2026-11-21T00:00:00+00:00",
        "format": "1.0",
        "spec": make_spec().to_dict(),
        "read": None,
    }
    json.dumps(found.to_dict())
    data = bytearray(path.read_bytes())
    data[-60] ^= 1  # a feature
    path.write_bytes(data)
    assert info(path) == found
    with pytest.raises(DamagedFeatureFileError):
        info(path, verify="always")


def test_info_of_a_table_with_nothing(tmp_path: Path) -> None:
    make_table(0).write(tmp_path / "t.h5")
    found = info(tmp_path / "t.h5")
    assert (found.rows, found.model, found.splits, found.classes, found.source) == (0, "resnet18", {}, 0, None)


# Files that are not whole


def test_every_flipped_byte_is_refused(tmp_path: Path) -> None:
    make_table(2, 3, labels=["a", "b"], split=["train", "test"]).write(tmp_path / "t.h5")
    whole = (tmp_path / "t.h5").read_bytes()
    refused = 0
    random = np.random.default_rng(0)
    positions = set(random.integers(0, len(whole), 1500).tolist()) | set(range(len(whole) - 100, len(whole)))
    for position in sorted(positions):
        data = bytearray(whole)
        data[position] ^= 1 << int(random.integers(8))
        (tmp_path / "t.h5").write_bytes(data)
        with pytest.raises((DamagedFeatureFileError, FeatureFileFormatError), match=r"t\.h5"):
            FeatureTable.open(tmp_path / "t.h5")
        refused += 1
    assert refused == len(positions) > 1000


def test_every_truncation_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for size in [*range(0, len(whole), 97), *range(len(whole) - 64, len(whole))]:
        path.write_bytes(whole[:size])
        with pytest.raises((DamagedFeatureFileError, FeatureFileFormatError)):
            read_feature_file(path, "size")
    path.write_bytes(whole + b"\0")
    with pytest.raises(DamagedFeatureFileError):
        read_feature_file(path, "size")


def test_a_file_that_another_program_opened_for_writing_says_so(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["note"] = "mine"
    with pytest.raises(DamagedFeatureFileError, match="no trailer.*another program opened it for writing"):
        FeatureTable.open(path)
    with pytest.raises(OSError, match="no trailer"):
        info(path)


def test_what_is_no_feature_file(tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["features"] = np.zeros((2, 3))
    (tmp_path / "text.h5").write_text("hello")
    (tmp_path / "empty.h5").write_bytes(b"")
    for name in ("other.h5", "text.h5", "empty.h5"):
        with pytest.raises(FeatureFileFormatError, match="not a feature file of embedkit"):
            FeatureTable.open(tmp_path / name)
    commit_to(tmp_path / "sealed.h5", [other.read_bytes()])
    with pytest.raises(FeatureFileFormatError, match="not a feature file of embedkit"):
        FeatureTable.open(tmp_path / "sealed.h5")
    commit_to(tmp_path / "sealed.txt", [b"hello"])
    with pytest.raises(FeatureFileFormatError, match="cannot be read as HDF5"):
        FeatureTable.open(tmp_path / "sealed.txt")
    with pytest.raises(FeatureFileFormatError, match="is not a file"):
        FeatureTable.open(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FeatureFileFormatError, match="is not a file"):
        FeatureTable.open(tmp_path / "pipe")
    with pytest.raises(FeatureFileNotFoundError):
        info(tmp_path / "none.h5")


def rewritten(path: Path, change: Any) -> Path:
    """Change a feature file with h5py and seal it again, as somebody with intent would."""
    with h5py.File(path, "r+") as file:
        change(file)
    data = path.read_bytes()
    commit_to(path, [data])
    return path


def test_a_newer_major_version_is_refused_and_a_newer_minor_read(path: Path) -> None:
    def minor(file: h5py.File) -> None:
        file.attrs["format_minor"] = np.int64(7)
        file["thumbnails"] = np.zeros((6, 8, 8), np.uint8)
        file.create_group("more/inside")["x"] = np.arange(3)
        file["columns"].create_group("nested")["y"] = np.arange(3)

    assert_same(FeatureTable.open(rewritten(path, minor)), make_table(**EVERYTHING))
    assert info(path).format == "1.7"

    def major(file: h5py.File) -> None:
        file.attrs["format_major"] = np.int64(FORMAT_VERSION + 1)
        file.create_dataset("zstandard", data=np.zeros(9), chunks=(9,), compression="lzf")

    with pytest.raises(FeatureFileFormatError, match=r"of format 2\.7.*reads up to 1.*install a newer embedkit"):
        FeatureTable.open(rewritten(path, major))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.__delitem__("key"), "it has no key"),
        (lambda file: file.__delitem__("features"), "it has no features"),
        (lambda file: file.__delitem__("spec"), "it has no spec"),
        (lambda file: file.attrs.__setitem__("fingerprint", np.bytes_("0" * 64)), "has the fingerprint 000"),
        (lambda file: file.attrs.__setitem__("target_type", np.bytes_("tags")), "target type 'tags'"),
        (lambda file: file.attrs.__setitem__("target_type", np.bytes_("value")), "label is not float64"),
        (lambda file: file.attrs.__setitem__("format_major", np.zeros(3)), "no short string or integer"),
        (lambda file: file["spec"].__setitem__(0, ord("[")), "spec is no JSON"),
        (lambda file: replace(file, "spec", np.frombuffer(b"{}", np.uint8)), "spec that cannot be understood"),
        (lambda file: replace(file, "spec", np.frombuffer(b"[" * 100_000, np.uint8)), "spec is no JSON"),
        (lambda file: replace(file, "provenance", np.frombuffer(b"[]", np.uint8)), "no JSON object"),
        (lambda file: replace(file, "digest", np.zeros((6, 31), np.uint8)), "digests are uint8"),
        (lambda file: replace(file, "digest", np.zeros((6, 32), np.int16)), "digest is not uint8"),
        (lambda file: replace(file, "features", np.zeros((6, 5), np.float32)), "its spec says float32"),
        (lambda file: replace(file, "features", np.zeros((5, 4), np.float32)), "5 features and 6 keys"),
        (lambda file: replace(file, "features", np.zeros((6, 4), np.float16)), "its spec says float32"),
        (lambda file: replace(file, "features", np.zeros((6, 4), ">f4")), "features is not float32"),
        (lambda file: replace(file, "key", np.zeros((6,), "S3")), "key is not chunked and deflated"),
        (lambda file: file["key"].__setitem__(1, b"images/0.jpg"), "occur more than once"),
        (lambda file: file["key"].__setitem__(1, b"a\0b"), "NUL"),
        (lambda file: replace(file, "columns/site", np.arange(6, dtype=np.int32)), "columns/site is not float64"),
        (lambda file: replace(file, "failures/digest", np.zeros((1, 32), np.uint8)), "different lengths"),
    ],
)
def test_files_that_do_not_follow_the_format(path: Path, change: Any, message: str) -> None:
    with pytest.raises(FeatureFileFormatError, match=message) as caught:
        FeatureTable.open(rewritten(path, change))
    assert "\n" not in str(caught.value)


def replace(file: h5py.File, name: str, value: Any) -> None:
    del file[name]
    file[name] = value


def test_keys_that_are_not_utf8(path: Path) -> None:
    def change(file: h5py.File) -> None:
        file["key"].id.write(h5py.h5s.ALL, h5py.h5s.ALL, np.full(6, b"\xff\xfe", "S12"), file["key"].id.get_type())

    with pytest.raises(FeatureFileFormatError, match="key is not UTF-8 in rows 0 to"):
        FeatureTable.open(rewritten(path, change))


# Verification


def age(path: Path) -> None:
    """Wait until a file's times are old enough to tell it from one written in the same moment."""
    time.sleep(max(0.0, 2.1 - (time.time() - path.stat().st_ctime)))


def test_first_hashes_a_file_once_and_again_after_a_change(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[int] = []
    check = feature_file.check_trailer
    monkeypatch.setattr(feature_file, "check_trailer", lambda file: hashed.append(1) or check(file))
    FeatureTable.open(path)
    FeatureTable.open(path)
    assert len(hashed) == 2  # too young to be remembered
    age(path)
    FeatureTable.open(path)
    FeatureTable.open(path)
    assert len(hashed) == 3
    FeatureTable.open(path, verify="always")
    assert len(hashed) == 4
    FeatureTable.open(path, verify="size")
    assert len(hashed) == 4
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[-60] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # the change time still tells
    FeatureTable.open(path, verify="size")
    with pytest.raises(DamagedFeatureFileError, match="do not match the SHA-256"):
        FeatureTable.open(path)
    with pytest.raises(UsageError, match="expected 'first', 'always' or 'size'"):
        FeatureTable.open(path, verify="never")  # pyright: ignore


def test_an_open_table_outlives_its_file(path: Path, tmp_path: Path) -> None:
    table = FeatureTable.open(path)
    make_table(6, seed=1, labels=["z"] * 6).write(path, force=True)
    np.testing.assert_array_equal(table.X, make_features(6))
    path.unlink()
    np.testing.assert_array_equal(table[2:4].X, make_features(6)[2:4])


# Writing


def test_an_output_is_replaced_by_a_superset_only(path: Path) -> None:
    before = path.read_bytes()
    table = make_table(**EVERYTHING)
    more = make_table(keys=["new.jpg", *table.keys])
    more.metadata.digests[1:] = table.digests
    more.write(path)
    assert info(path).rows == 7
    more.write(path)
    path.write_bytes(before)

    with pytest.raises(OutputExistsError, match=r"holds 1 row \('images/5\.jpg'\) that the new table lacks.*--force"):
        table[:5].write(path)
    with pytest.raises(OutputExistsError, match=r"6 rows \('images/0.jpg', .*, \.\.\.\) made from other images"):
        make_table(6, seed=3).write(path)
    other = make_table(6, spec=make_spec(layer=3, pool="cls"))
    with pytest.raises(OutputExistsError, match="backbone.layer is 3, expected None; backbone.pool is 'cls'"):
        other.write(path)
    assert path.read_bytes() == before
    assert names_in(path.parent) == ["t.h5"]
    other.write(path, force=True)
    assert_same(FeatureTable.open(path), other)


def test_what_cannot_be_compared_is_not_replaced(tmp_path: Path) -> None:
    notes = tmp_path / "notes.h5"
    notes.write_text("my notes")
    with pytest.raises(FileExistsError, match="exists and cannot be compared"):
        make_table().write(notes)
    assert notes.read_text() == "my notes"
    make_table().write(notes, force=True)
    assert len(FeatureTable.open(notes)) == 6
    with pytest.raises(OutputExistsError, match="is a folder or a device"):
        make_table().write(tmp_path, force=True)
    with pytest.raises(OutputExistsError, match="is a folder or a device"):
        make_table().write("/dev/null", force=True)


def test_a_link_is_followed(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "latest.h5"
    link.symlink_to(path.name)
    make_table(**EVERYTHING).write(link)
    make_table(seed=5).write(link, force=True)
    assert link.is_symlink()
    assert_same(FeatureTable.open(path), make_table(seed=5))


def test_check_output_before_any_work(path: Path, tmp_path: Path) -> None:
    check_output(tmp_path / "new.h5")
    check_output(path, make_spec(), [*make_table().keys, "more.jpg"])
    check_output(path, make_spec(8), ["other"], force=True)
    with pytest.raises(OutputExistsError, match="backbone.width is 8, expected 4"):
        check_output(path, make_spec(8))
    with pytest.raises(OutputExistsError, match="6 rows"):
        check_output(path, make_spec(), [])
    with pytest.raises(StoreWriteError, match=r"there is no folder .*missing; create it"):
        check_output(tmp_path / "missing" / "t.h5")
    assert names_in(tmp_path) == ["t.h5"]


class ReadOnly(Disk):
    def create(self, path: Path, at: int | None = None) -> int:
        raise PermissionError(13, "Permission denied")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(StoreWriteError, match="Permission denied.*make the folder writable"):
        check_output(tmp_path / "t.h5", disk=ReadOnly())
    head = make_table().metadata
    with pytest.raises(StoreWriteError, match="Permission denied"):
        write_feature_file(tmp_path / "t.h5", head, iter([]), disk=ReadOnly())


def test_batches_that_are_not_what_the_head_says(path: Path) -> None:
    before = path.read_bytes()
    table = make_table(**EVERYTHING)
    for batches, message in [
        ([table.X[:5]], "hold 5 rows, and there are 6 keys"),
        ([table.X, table.X], "hold more rows, and there are 6 keys"),
        ([], "hold 0 rows"),
        ([table.X[:, :3]], r"a batch of features is float32 \(6, 3\); the spec says float32 \(rows, 4\)"),
        ([table.X.astype(np.float64)], "float64"),
        ([table.X.astype(np.float16)], "float16"),
        ([table.X[0]], r"float32 \(4,\)"),
    ]:
        with pytest.raises(UsageError, match=message):
            write_feature_file(path, table.metadata, batches)
        assert path.read_bytes() == before
        assert names_in(path.parent) == ["t.h5"]


def test_batches_may_be_views_of_any_order(tmp_path: Path) -> None:
    table = make_table(6)
    write_feature_file(tmp_path / "t.h5", table.metadata, [np.asfortranarray(table.X[:4]), table.X[:0], table.X[4:]])
    np.testing.assert_array_equal(FeatureTable.open(tmp_path / "t.h5").X, table.X)


def test_a_failing_source_of_batches_leaves_nothing(tmp_path: Path) -> None:
    def batches() -> Iterator[Any]:
        yield make_features(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_feature_file(tmp_path / "t.h5", make_table(6).metadata, batches())
    assert names_in(tmp_path) == []


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"

    def batches() -> Iterator[Any]:
        yield make_features(6)
        path.write_text("somebody else's")

    with pytest.raises(OutputExistsError, match="appeared while it was being written"):
        write_feature_file(path, make_table(6).metadata, batches())
    assert path.read_text() == "somebody else's"
    assert names_in(tmp_path) == ["t.h5"]


def test_space_is_checked_before_anything_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 1000

    before = path.read_bytes()
    monkeypatch.setattr(feature_output.shutil, "disk_usage", lambda _: Usage)
    with pytest.raises(StoreWriteError, match=r"needs \d+ bytes and the disk has 1000; free some space"):
        make_table(**EVERYTHING).write(path)
    assert path.read_bytes() == before


def test_a_disk_that_fills_up_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    make_table(6).write(tmp_path / "t.h5")
    before = (tmp_path / "t.h5").read_bytes()
    limit = 300_000
    code = f"""
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        from embedkit.errors import StoreWriteError
        from tests.tables.table_samples import make_table
        table = make_table(1000, 1000)
        for target in ({str(tmp_path / "t.h5")!r}, {str(tmp_path / "new.h5")!r}):
            try:
                table.write(target, force=True)
            except StoreWriteError as error:
                print(error.errno, error)
    """
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("27 ") and "File too large" in line for line in lines)
    assert names_in(tmp_path) == ["t.h5"]
    assert (tmp_path / "t.h5").read_bytes() == before


def test_a_table_larger_than_memory_is_written_and_read_in_pieces(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("RLIMIT_DATA bounds mapped memory on Linux only")
    # 256 MB of features within 96 MB of memory beyond what the imports take; file-backed maps do not count.
    code = f"""
        import resource
        import numpy as np
        from embedkit.tables.feature_output import write_feature_file
        from embedkit.tables.head import TableHead
        from embedkit.tables.table import FeatureTable
        from tests.tables.table_samples import make_digests, make_spec
        rows, width = 65536, 1024
        head = TableHead(spec=make_spec(width), keys=[f"k{{i}}" for i in range(rows)], digests=make_digests(rows))
        used = int(open("/proc/self/statm").read().split()[5]) * 4096
        resource.setrlimit(resource.RLIMIT_DATA, (used + 96 * 2**20,) * 2)
        write_feature_file({str(tmp_path / "t.h5")!r}, head, (np.full((1024, width), i, np.float32) for i in range(64)))
        table = FeatureTable.open({str(tmp_path / "t.h5")!r})
        total = rows_seen = 0
        for X, y in table.iter_batches(1000):
            total += float(X[:, 0].sum())
            rows_seen += len(X)
        assert rows_seen == rows and total == 1024 * sum(range(64)), (rows_seen, total)
        part = table.select(keys=["k65535", "k0", "k1024"])
        assert part.X[:, 5].tolist() == [63.0, 0.0, 1.0]
        assert len(table.select(keys=[f"k{{i}}" for i in range(0, rows, 7)])[::100].X) == 94
        try:
            table.X
        except MemoryError:
            print("too large for memory")
    """
    done = run_python(code)
    assert (done.returncode, done.stdout) == (0, "too large for memory\n"), done.stderr


def test_the_head_of_a_large_file_takes_little_memory() -> None:
    keys = [f"k{i}" for i in range(100)]
    head = TableHead(spec=make_spec(10_000_000), keys=keys, digests=make_digests(100))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    front = lay_out(head)
    assert front.features == 4_000_000_000
    assert len(front.data) < 20_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kilobytes


def test_errors_are_of_the_trees(tmp_path: Path) -> None:
    assert issubclass(DamagedFeatureFileError, OSError)
    with pytest.raises(FeatureFileError):
        FeatureTable.open(tmp_path / "none.h5")
