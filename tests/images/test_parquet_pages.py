"""What a Parquet file becomes is known from its pages before Arrow takes the memory."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from embedkit.errors import ManifestError, UnreadableImageError
from embedkit.files import budget
from embedkit.images import open_source, read_bytes, read_frame
from embedkit.images.parquet_pages import Chunk, page_sizes, read_footer

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

CHANCE = np.random.default_rng(0)
TABLE = {
    "bytes": [CHANCE.bytes(size) for size in CHANCE.integers(0, 5000, 700).tolist()],
    "text": ["one", "other", None, "x" * 3000] * 175,
    "number": CHANCE.normal(size=700),
    "lists": [[1, 2], [], None, [3]] * 175,
    "structs": [{"bytes": b"x", "path": None}] * 700,
}


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize(
    "options", [{}, {"use_dictionary": False, "data_page_size": 500}, {"write_page_checksum": True}]
)
def test_pages_become_what_the_footer_says(compression, version, options):
    buffer = io.BytesIO()
    pq.write_table(
        pa.table(TABLE), buffer, compression=compression, data_page_version=version, row_group_size=300, **options
    )
    metadata = pq.ParquetFile(buffer).metadata
    groups = read_footer(buffer)
    assert len(groups) == metadata.num_row_groups
    pages = 0
    for group, said in enumerate(groups):
        assert said.rows == metadata.row_group(group).num_rows
        assert len(said.chunks) == metadata.num_columns
        for place, chunk in enumerate(said.chunks):
            known = metadata.row_group(group).column(place)
            assert (chunk.path, chunk.values) == (known.path_in_schema, known.num_values)
            assert chunk.stored == known.total_compressed_size
            sizes = list(page_sizes(buffer, chunk))
            pages += len(sizes)
            headers = known.total_uncompressed_size - sum(sizes)  # a header holds the least and the greatest value
            assert 10 * len(sizes) <= headers <= 10_500 * len(sizes)
    assert pages > 20


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\x15",
        b"\x15\x00",
        b"\x15\x00\x15\x0a\x00",  # no stored size
        b"\x15\x00\x15\x09\x15\x0a\x00",  # a negative size
        b"\x15\x00\x15\x0a\x15\xff\xff\xff\xff\x0f\x00",  # it reaches beyond
        b"\x15" + b"\xff" * 40,
        b"\x1c" * 4000,
        b"\x19\xfc\xff\xff\xff\xff\xff\xff\xff\x0f" + b"\x00" * 90,
        b"\x18\xff\xff\xff\xff\xff\xff\xff\x0f" + b"\x00" * 90,
        b"\x1e\x00\x00",
    ],
)
def test_a_damaged_header_is_refused(header):
    with pytest.raises(ValueError, match="page|header"):
        list(page_sizes(io.BytesIO(header), Chunk("x", 1, 0, max(1, len(header)))))


def test_images_that_become_more_than_they_may_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "_FREE_BYTES", 1 << 20)
    small, large = CHANCE.bytes(1000), bytes(2 << 20)
    rows = {"image": [small, small, large, small], "label": ["a", "b", "a", "b"]}
    for options in ({"use_dictionary": False}, {}, {"data_page_version": "2.0"}):
        pq.write_table(pa.table(rows), tmp_path / "m.parquet", compression="zstd", row_group_size=2, **options)
        source = open_source(tmp_path / "m.parquet")
        assert read_bytes(source.images[1]) == small
        for row in (2, 3):
            with pytest.raises(
                UnreadableImageError, match=r"row group 1 cannot be read: it becomes more than the 1,048,"
            ):
                read_bytes(source.images[row])


def test_values_that_repeat_count_as_often_as_they_do(tmp_path, monkeypatch):
    """A dictionary holds a value once, and a few bytes say that ten thousand rows have it."""
    monkeypatch.setattr(budget, "_FREE_BYTES", 1 << 20)
    pq.write_table(pa.table({"image": [bytes(1000)] * 10_000}), tmp_path / "m.parquet")
    pq.write_table(pa.table({"path": ["x" * 1000] * 10_000}), tmp_path / "n.parquet")
    with pytest.raises(UnreadableImageError, match="becomes more than"):
        read_bytes(open_source(tmp_path / "m.parquet").images[0])
    with pytest.raises(ManifestError, match="becomes more than"):
        open_source(tmp_path / "n.parquet")


def test_what_says_that_it_becomes_too_much_is_refused_before_arrow_reads_it(tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "_FREE_BYTES", 1 << 20)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda *arguments, **options: pytest.fail("it was read"))
    rows = {"path": ["a" * (2 << 20), "b"]}
    pq.write_table(pa.table(rows), tmp_path / "m.parquet", use_dictionary=False, compression="zstd")
    with pytest.raises(ManifestError, match="column 'path' cannot be read: it becomes more than"):
        open_source(tmp_path / "m.parquet")


def test_a_footer_that_contradicts_itself_ends_no_process(tmp_path):
    """Arrow's column of a row group aborted where the schema had another repetition than the statistics."""
    pq.write_table(pa.table({"image": [b"a", b"b"], "label": ["x", "y"]}), tmp_path / "m.parquet")
    code = (
        "import sys; from pathlib import Path; from embedkit.errors import EmbedkitError\n"
        "from embedkit.images import open_source, read_bytes\n"
        "path = Path(sys.argv[1]); sound = path.read_bytes(); refused = 0\n"
        "footer = len(sound) - 8 - int.from_bytes(sound[-8:-4], 'little')\n"
        "for place in range(footer, footer + 90):\n"
        "    for value in (0, 4, 255):\n"
        "        path.write_bytes(sound[:place] + bytes([value]) + sound[place + 1:])\n"
        "        try:\n"
        "            source = open_source(path)\n"
        "            [read_bytes(source.images[row]) for row in range(min(2, len(source)))]\n"
        "        except EmbedkitError:\n"
        "            refused += 1\n"
        "print(refused)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "m.parquet"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 50 < int(done.stdout) < 270


def test_a_table_of_a_model_has_the_same_budget(tmp_path, monkeypatch):
    frame = pd.DataFrame({"photo": ["a.png", None], "price": [1.5, np.nan], "n": [1, 2]}, index=["one", "two"])
    frame.to_parquet(tmp_path / "m.parquet")
    pd.testing.assert_frame_equal(read_frame(str(tmp_path / "m.parquet")), pd.read_parquet(tmp_path / "m.parquet"))
    monkeypatch.setattr(budget, "_FREE_BYTES", 1 << 20)
    pq.write_table(pa.table({"n": [0] * 1_000_000}), tmp_path / "n.parquet")
    with pytest.raises(ManifestError, match="cannot be read as a table: it becomes more"):
        read_frame(str(tmp_path / "n.parquet"))
