"""Parquet files at URLs: manifests, and images inside, read a row group at a time."""

from __future__ import annotations

import io
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from embedkit.errors import ManifestError, SourceError, SourceNotFoundError
from embedkit.errors import UnreadableImageError as Unreadable
from embedkit.images import open_source, read_bytes, remote, remote_file
from tests.bucket import Bucket, new_bucket

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

FILES = Bucket()


@pytest.fixture
def url(monkeypatch):
    monkeypatch.setattr(remote, "_PAUSES", (0.0, 0.0))
    return new_bucket()


def write(url, columns, **options):
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, **options)
    FILES.pipe(url, file.getvalue())
    return url


def photos(count, size):
    rng = random.Random(0)
    return [rng.randbytes(size) for _ in range(count)]


def fail(request):
    raise TimeoutError("too slow")


def test_images_inside(url):
    data = photos(200, 5000)
    where = write(f"{url}/m.parquet", {"image": data, "label": ["a", "b"] * 100}, row_group_size=30)
    source = open_source(where)
    assert source.name == where
    assert source.keys == [str(row) for row in range(200)]
    assert source.labels == ["a", "b"] * 100
    assert sum(end - start for _, start, end in Bucket.requests) <= remote_file.BLOCK_BYTES
    with ThreadPoolExecutor(8) as executor:
        assert list(executor.map(source.images.__getitem__, range(200))) == data


def test_a_manifest(url):
    FILES.pipe(f"{url}/b.jpg", b"b")
    source = open_source(write(f"{url}/m.parquet", {"path": ["b.jpg", "c.jpg"], "label": [1, 0]}))
    assert read_bytes(source.images[0]) == b"b"
    assert source.images[1] == f"{url}/c.jpg"
    assert open_source(f"{url}/m.parquet", root=f"{url}/other").images[1] == f"{url}/other/c.jpg"


def test_errors_that_pass_and_errors_that_last(url, monkeypatch):
    monkeypatch.setattr(remote_file, "BLOCK_BYTES", 1 << 12)
    data = photos(40, 2000)
    where = write(f"{url}/m.parquet", {"image": data}, row_group_size=10, use_dictionary=False)
    tries = {}

    def fail_twice(request):
        tries[request] = tries.get(request, 0) + 1
        if tries[request] <= 2:
            fail(request)

    Bucket.fault = fail_twice
    source = open_source(where)
    assert source.images[0] == data[0]
    Bucket.fault = fail
    for row in (15, 35):
        with pytest.raises(Unreadable, match=rf"row group {row // 10} cannot be read: .*TimeoutError: too slow"):
            read_bytes(source.images[row])
    assert source.images[5] == data[5]
    Bucket.fault = None
    assert source.images[15] == data[15]
    FILES.rm(where)
    with pytest.raises(Unreadable, match="row group 3 cannot be read"):
        read_bytes(source.images[35])


def test_what_cannot_be_opened(url):
    with pytest.raises(SourceNotFoundError, match=r"gone.parquet: no such file"):
        open_source(f"{url}/gone.parquet")
    FILES.pipe(f"{url}/m.parquet", b"PAR1" * 10)
    with pytest.raises(ManifestError, match=r"m.parquet: not a Parquet file"):
        open_source(f"{url}/m.parquet")
    where = write(f"{url}/m.parquet", {"image": [b"a"], "label": ["x"]})
    Bucket.fault = fail
    with pytest.raises(SourceError, match=r"m.parquet: cannot be read: TimeoutError: too slow; try again"):
        open_source(where)
