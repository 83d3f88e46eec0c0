"""What a Parquet file becomes is known from its pages before Arrow takes the memory."""

from __future__ import annotations

import io
import types

import numpy as np
import pytest

from embedkit.errors import ManifestError, UnreadableImageError
from embedkit.files import budget
from embedkit.images import open_source, read_bytes
from embedkit.images.parquet_pages import page_sizes

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
    pages = 0
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(place)
            sizes = list(page_sizes(buffer, chunk))
            pages += len(sizes)
            headers = chunk.total_uncompressed_size - sum(sizes)  # a header holds the least and the greatest value
            assert 10 * len(sizes) <= headers <= 10_500 * len(sizes)
    assert pages > 20


def chunk_of(data: bytes, **changed: object) -> object:
    said = {"data_page_offset": 0, "has_dictionary_page": False, "total_compressed_size": len(data), "num_values": 1}
    return types.SimpleNamespace(**{**said, **changed})


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
        list(page_sizes(io.BytesIO(header), chunk_of(header, total_compressed_size=max(1, len(header)))))


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
