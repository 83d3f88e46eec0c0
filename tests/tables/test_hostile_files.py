"""Files that somebody made on purpose: each has a correct trailer, so that only the contents can give it away."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import textwrap
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from embedkit.errors import EmbedkitError, FeatureFileFormatError, UnsafeFeatureFileError
from embedkit.files.commit import commit_to, seal
from embedkit.hdf5 import inspection, untrusted
from embedkit.tables.feature_file import info
from embedkit.tables.table import FeatureTable
from tests.tables.table_samples import EVERYTHING, assert_same, make_features, make_table

ROOT = Path(__file__).parents[2]
SECRET = b"secret of another file, 32 bytes!" * 4


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "secret.bin").write_bytes(SECRET)
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["features"] = make_features(6)
    make_table(**EVERYTHING).write(tmp_path / "t.h5")
    return tmp_path / "t.h5"


def reseal(path: Path, change: Callable[[h5py.File], Any]) -> None:
    with h5py.File(path, "r+") as file:
        change(file)
    commit_to(path, [path.read_bytes()])


def refused(path: Path, message: str, error: type[EmbedkitError] = UnsafeFeatureFileError) -> None:
    for opening in (FeatureTable.open, info):
        with pytest.raises(error, match=message) as caught:
            opening(path)
        assert "\n" not in str(caught.value)


def instead(name: str, make: Callable[[h5py.File, str], Any]) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        make(file, name)

    return change


def soft_link(file: h5py.File, name: str) -> None:
    file[name] = h5py.SoftLink("/digest")


def dangling_link(file: h5py.File, name: str) -> None:
    file[name] = h5py.SoftLink("/nowhere")


def external_link(file: h5py.File, name: str) -> None:
    file[name] = h5py.ExternalLink("secret.h5", "/features")


def virtual_dataset(file: h5py.File, name: str) -> None:
    layout = h5py.VirtualLayout((6, 4), "<f4")
    layout[:] = h5py.VirtualSource("secret.h5", "features", (6, 4))
    file.create_virtual_dataset(name, layout)


def external_storage(file: h5py.File, name: str) -> None:
    file.create_dataset(name, (6, 4), "<f4", external=[("secret.bin", 0, 96)])


def committed_type(file: h5py.File, name: str) -> None:
    file[name] = np.dtype("<f4")


# What is refused wherever it is, in the place of something that is needed or beside it.


@pytest.mark.parametrize("name", ["features", "key", "label", "split", "columns/site", "failures/key", "extra/deep/x"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (soft_link, "soft, external or user-defined link"),
        (dangling_link, "soft, external or user-defined link"),
        (external_link, "may hold external and user-defined links"),
        (virtual_dataset, "is a virtual dataset"),
        (external_storage, "has external storage"),
        (committed_type, "neither a group nor a dataset"),
    ],
)
def test_ways_out_of_the_file(path: Path, name: str, make: Any, message: str) -> None:
    reseal(path, instead(name, make))
    refused(path, message)


def test_plain_hdf5_would_have_read_the_other_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The control: without the refusal, a stranger's file shows the bytes of another one.
    monkeypatch.chdir(path.parent)
    reseal(path, instead("features", external_storage))
    with h5py.File(path) as file:
        assert file["features"][:].tobytes() == SECRET[:96]
    refused(path, "external storage")


def test_groups_and_attributes_in_heaps(path: Path, tmp_path: Path) -> None:
    # Only groups of the newer kind hold user-defined links, and a damaged heap of links ends HDF5 1.14 by SIGSEGV.
    with h5py.File(tmp_path / "new.h5", "w", libver="latest") as file:
        file.attrs["format"] = np.bytes_("embedkit feature file")
    commit_to(tmp_path / "new.h5", [(tmp_path / "new.h5").read_bytes()])
    refused(tmp_path / "new.h5", "'/' is a group that may hold external")

    with h5py.File(path, "r+", libver="latest") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_attr_phase_change(0, 0)
        space = h5py.h5s.create_simple((1,))
        extra = h5py.Dataset(h5py.h5d.create(file.id, b"extra", h5py.h5t.STD_I8LE, space, dcpl=properties))
        extra.attrs["x"] = 1
    commit_to(path, [path.read_bytes()])
    refused(path, "'extra' keeps attributes in a heap")


@pytest.mark.parametrize(
    "dtype",
    [
        h5py.string_dtype(),
        h5py.vlen_dtype(np.int64),
        np.dtype([("x", "<f4"), ("y", "<i8")]),
        np.dtype("V2"),
        np.dtype(("<f4", (3,))),
        h5py.ref_dtype,
        h5py.regionref_dtype,
        np.dtype("<c16"),
    ],
    ids=["text", "vlen", "compound", "opaque", "array", "reference", "region", "complex"],
)
@pytest.mark.parametrize("name", ["extra", "key", "columns/site"])
def test_types_that_are_not_plain(path: Path, name: str, dtype: Any) -> None:
    reseal(path, instead(name, lambda file, name: file.create_dataset(name, (6,), dtype)))
    refused(path, "variable-length, reference, compound or opaque type")


def lzf(file: h5py.File, name: str) -> None:
    file.create_dataset(name, data=np.zeros((6, 4), "<f4"), chunks=(6, 4), compression="lzf")


def scale_offset(file: h5py.File, name: str) -> None:
    file.create_dataset(name, data=np.zeros((6, 4), "<i8"), chunks=(6, 4), scaleoffset=4)


def deflate_twice(file: h5py.File, name: str) -> None:
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((6, 4))
    properties.set_deflate(9)
    properties.set_deflate(9)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((6, 4)), dcpl=properties)


@pytest.mark.parametrize("name", ["features", "extra"])
@pytest.mark.parametrize("make", [lzf, scale_offset, deflate_twice])
def test_filters(path: Path, name: str, make: Any) -> None:
    reseal(path, instead(name, make))
    refused(path, r"has the filters \[.*\]; deflate, shuffle and fletcher32 once each are allowed")


def test_allowed_filters_of_what_is_not_known_are_fine(path: Path) -> None:
    def make(file: h5py.File) -> None:
        options = {"chunks": (50,), "compression": "gzip", "shuffle": True, "fletcher32": True}
        file.create_dataset("extra", data=np.arange(100), **options)

    reseal(path, make)
    assert_same(FeatureTable.open(path), make_table(**EVERYTHING))


# Sizes


def sparse(shape: tuple[int, ...], dtype: Any, **options: Any) -> Callable[[h5py.File, str], None]:
    return lambda file, name: file.create_dataset(name, shape, dtype, **options)


def deflated(rows: int, width: int, chunk: int) -> Callable[[h5py.File, str], None]:
    return sparse((rows,), f"S{width}", chunks=(chunk,), compression="gzip")


@pytest.mark.parametrize(
    ("name", "make", "message", "error"),
    [
        # 82 GB in a few kilobytes, as chunks that were never written or as storage that was never allocated
        ("features", sparse((5_000_000_000, 4), "<f4", chunks=(1024, 4)), "not contiguous", FeatureFileFormatError),
        ("features", sparse((5_000_000_000, 4), "<f4"), "claims 80000000000 bytes", UnsafeFeatureFileError),
        ("features", sparse((2**60, 4), "<f2"), None, UnsafeFeatureFileError),
        ("digest", sparse((10**12, 32), "u1"), "claims 32000000000000 bytes", UnsafeFeatureFileError),
        ("columns/count", sparse((10**12,), "<i8"), "claims 8000000000000 bytes", UnsafeFeatureFileError),
        ("spec", sparse((10**12,), "u1"), "bytes of JSON", UnsafeFeatureFileError),
        ("provenance", sparse((10**7,), "u1"), "claims 10000000 bytes", UnsafeFeatureFileError),
        ("key", deflated(10**9, 100, 1000), "claims 100000000000", UnsafeFeatureFileError),
        ("key", deflated(6, 100, 6), "no stored chunk at row 0", UnsafeFeatureFileError),
        ("key", deflated(6, 2**20 + 1, 1), "strings of 1048577", UnsafeFeatureFileError),
        ("key", sparse((6,), "S100", chunks=(6,)), "not chunked and deflated", FeatureFileFormatError),
        ("key", deflated(9_000_000, 1, 9_000_000), "in chunks of 9000000", UnsafeFeatureFileError),
        ("key", sparse((), "S4"), "not a list of strings", FeatureFileFormatError),
        ("key", sparse((6, 1), "S4"), "not a list of strings", FeatureFileFormatError),
        ("key", lambda file, name: file.create_dataset(name, data=h5py.Empty("S4")), None, FeatureFileFormatError),
        ("features", sparse((24,), "<f4"), None, EmbedkitError),
        ("features", sparse((), "<f4"), None, EmbedkitError),
    ],
)  # fmt: skip
def test_claimed_sizes(path: Path, name: str, make: Any, message: str, error: Any) -> None:
    reseal(path, instead(name, make))
    assert path.stat().st_size < 200_000
    tracemalloc.start()
    try:
        with pytest.raises(error, match=message):
            FeatureTable.open(path)
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()


def chunk_of(packed: bytes, rows: int = 6, width: int = 12) -> Callable[[h5py.File, str], None]:
    def make(file: h5py.File, name: str) -> None:
        dataset = file.create_dataset(name, (rows,), f"S{width}", chunks=(rows,), compression="gzip")
        dataset.id.write_direct_chunk((0,), packed)

    return make


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (zlib.compress(bytes(60_000_000), 9), "inflates to another size than 72 bytes"),
        (zlib.compress(bytes(73)), "inflates to another size"),
        (zlib.compress(bytes(71)), "inflates to another size"),
        (zlib.compress(b"abcdefghijkl" * 6)[:-6], "inflates to another size"),
        (b"not deflated at all", "does not inflate"),
    ],
    ids=["bomb", "long", "short", "cut", "noise"],
)
def test_chunks_that_inflate_to_something_else(path: Path, packed: bytes, message: str) -> None:
    reseal(path, instead("key", chunk_of(packed)))
    tracemalloc.start()
    try:
        with pytest.raises(EmbedkitError, match=message):
            FeatureTable.open(path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_all_text_together_has_a_budget(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(untrusted, "_TEXT_FREE", 0)
    FeatureTable.open(path)
    monkeypatch.setattr(untrusted, "_TEXT_RATIO", 0)
    with pytest.raises(UnsafeFeatureFileError, match="claims 60 bytes of text, too many for a file of"):
        FeatureTable.open(path)


def test_many_datasets_cannot_share_the_same_bytes(path: Path) -> None:
    # Hard links to one dataset stand for datasets whose addresses are equal.
    def arrays(file: h5py.File) -> None:
        file["large"] = np.arange(5000)
        for i in range(1000):
            file[f"columns/c{i}"] = file["large"]

    whole = path.read_bytes()
    reseal(path, arrays)
    with pytest.raises(UnsafeFeatureFileError, match="of arrays, too many for a file of"):
        FeatureTable.open(path)

    def texts(file: h5py.File) -> None:
        instead("wide", deflated(2000, 500, 2000))(file)
        file["wide"][:] = b"x"
        for i in range(1000):
            file[f"columns/c{i}"] = file["wide"]

    path.write_bytes(whole)
    reseal(path, texts)
    with pytest.raises(UnsafeFeatureFileError, match="of padded text, too many for a file of"):
        FeatureTable.open(path)


def test_a_cycle_of_hard_links(path: Path) -> None:
    reseal(path, lambda file: file["columns"].__setitem__("loop", file["/"]))
    refused(path, "nested deeper than 4|more than 20000 objects")


def test_too_many_objects(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "_MAX_OBJECTS", 20)
    FeatureTable.open(path)
    reseal(path, lambda file: [file.create_group(f"columns/g{i}") for i in range(10)])
    refused(path, "more than 20 objects")


def test_a_user_block(path: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden.h5"
    with h5py.File(hidden, "w", userblock_size=512) as file:
        file.attrs["format"] = np.bytes_("embedkit feature file")
    commit_to(hidden, [hidden.read_bytes()])
    refused(hidden, "user block")


def test_json_that_is_too_large(path: Path) -> None:
    reseal(path, instead("provenance", lambda file, name: file.__setitem__(name, np.full(2**24 + 1, 32, np.uint8))))
    refused(path, "bytes of JSON")


def test_html_in_the_spec_stays_text(path: Path, tmp_path: Path) -> None:
    table = make_table(2, provenance={"model": "</td><script>x</script>"})
    table.write(tmp_path / "h.h5")
    assert "<script" not in FeatureTable.open(tmp_path / "h.h5")._repr_html_()


# Filter plugins

PLUGIN = """
#include <stdio.h>
__attribute__((constructor)) static void loaded(void) {
    FILE *file = fopen(MARKER, "w");
    if (file) fclose(file);
}
"""


def test_no_filter_plugin_is_loaded(path: Path, tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler")
    plugins, marker = tmp_path / "plugins", tmp_path / "loaded"
    plugins.mkdir()
    (tmp_path / "plugin.c").write_text(PLUGIN)
    command = [
        compiler,
        "-shared",
        "-fPIC",
        f'-DMARKER="{marker}"',
        "-o",
        plugins / "libplugin.so",
        tmp_path / "plugin.c",
    ]
    subprocess.run(command, check=True)
    # The filter of `key` gets the number of one that only a plugin could bring.
    data = path.read_bytes()[:-48]
    deflate = b"\x01\x00\x08\x00\x01\x00\x01\x00deflate\x00"  # number, bytes of name, flags, values, name
    assert data.count(deflate) > 5
    path.write_bytes(seal(data.replace(deflate, (305).to_bytes(2, "little") + deflate[2:])))
    code = """
        import sys, os
        import h5py
        from embedkit.errors import UnsafeFeatureFileError
        from embedkit.tables.table import FeatureTable
        path, marker = sys.argv[1:]
        before = [h5py.h5pl.get(i) for i in range(h5py.h5pl.size())]
        try:
            FeatureTable.open(path)
        except UnsafeFeatureFileError as error:
            assert "305" in str(error)
            print("refused", os.path.exists(marker))
        assert [h5py.h5pl.get(i) for i in range(h5py.h5pl.size())] == before
        with h5py.File(path) as file:
            try:
                file["key"][0]
            except OSError:
                print("plain h5py", os.path.exists(marker))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), path, marker],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "HDF5_PLUGIN_PATH": str(plugins)},
    )
    # The second line is the control: the plugin is one that HDF5 loads.
    assert done.stdout == "refused False\nplain h5py True\n", done.stderr


def test_plugins_are_searched_for_again_afterwards(path: Path) -> None:
    folder = b"/nonexistent/plugins"
    h5py.h5pl.append(folder)
    try:
        before = [h5py.h5pl.get(i) for i in range(h5py.h5pl.size())]
        FeatureTable.open(path)
        commit_to(path, [bytes(1000)])
        with pytest.raises(FeatureFileFormatError):
            FeatureTable.open(path)
        assert [h5py.h5pl.get(i) for i in range(h5py.h5pl.size())] == before
    finally:
        h5py.h5pl.remove(h5py.h5pl.size() - 1)


# Damage with a correct seal: HDF5's parser must not take the process with it.


def test_mutated_files_raise_or_open(tmp_path: Path) -> None:
    """`EMBEDKIT_FUZZ` is the number of files; the default takes two seconds."""
    count = int(os.environ.get("EMBEDKIT_FUZZ", "400"))
    code = f"""
        import sys
        from pathlib import Path
        sys.path.insert(0, {str(ROOT)!r})
        from tests.tables.test_hostile_files import mutate_and_open
        print(mutate_and_open(Path({str(tmp_path)!r}), {count}))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-2000:]}"
    opened, stopped = map(int, done.stdout.split())
    assert opened + stopped == count
    assert stopped > count // 2


def mutate_and_open(folder: Path, count: int) -> str:
    path = folder / "t.h5"
    make_table(**EVERYTHING).write(path)
    whole = path.read_bytes()[:-48]
    used = [position for position in range(len(whole) - 100) if whole[position]]
    chance = random.Random(0)
    opened = 0
    for _ in range(count):
        data = bytearray(whole)
        for _ in range(chance.choice([1, 1, 2, 4])):
            at = chance.choice(used)
            match chance.choice(["flip", "byte", "ones", "copy"]):
                case "flip":
                    data[at] ^= 1 << chance.randrange(8)
                case "byte":
                    data[at] = chance.randrange(256)
                case "ones":
                    data[at : at + 8] = b"\xff" * 8
                case _:
                    source, size = chance.choice(used), chance.choice([1, 4, 8, 16])
                    data[at : at + size] = data[source : source + size]
        path.write_bytes(seal(bytes(data)))
        try:
            assert FeatureTable.open(path).X.shape == (6, 4)
            opened += 1
        except EmbedkitError:
            continue
    return f"{opened} {count - opened}"
