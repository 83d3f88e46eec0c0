"""The kinds of files, for `benchmarks.fuzz`, that are images, hold them, or say of them what they are.

What carries no checksum may say something else when it is changed; of such a kind only how it ends is compared.
"""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image

from benchmarks.fuzz import Kind, sealed_zip
from embedkit.errors import EmbedkitError
from embedkit.images import decode, open_source, read_bytes
from embedkit.specs import DecodeSpec


def kinds() -> Iterator[Kind]:
    """Yield them."""
    for name in ("jpeg", "png", "webp", "tiff", "gif", "bmp", "mpo"):
        buffer = io.BytesIO()
        _photo().save(buffer, name)
        yield Kind(f"image: {name}", buffer.getvalue(), _decoded, reseal=_sealed_png if name == "png" else None)
    rows = "\n".join(["path,label,price,split", "a.png,x,1.5,train", "sub/b.png,y,2,test", ""])
    yield Kind("manifest: CSV", rows.encode(), _source("rows.csv"))
    lines = [{"path": "a.png", "label": ["x", "y"], "price": 1.5}, {"path": "b.png", "label": ["y"], "price": None}]
    yield Kind("manifest: JSON lines", "\n".join(map(json.dumps, lines)).encode(), _source("rows.jsonl"))
    table = {"path": [f"{row}.png" for row in range(40)], "label": ["x", "y"] * 20, "price": [1.5, None] * 20}
    images = {"image": [_png(0), _png(1)] * 8, "label": ["x", "y"] * 8}
    pairs = {"image": [{"bytes": _png(row), "path": f"{row}.png"} for row in range(8)], "label": [0, 1] * 4}
    for name, columns in (("manifest", table), ("images", images), ("images and paths", pairs)):
        for compression in ("none", "zstd"):
            buffer = io.BytesIO()
            pyarrow.parquet.write_table(
                pyarrow.table(columns), buffer, row_group_size=4, compression=compression, write_page_checksum=False
            )
            yield Kind(f"Parquet: {name}, {compression}", buffer.getvalue(), _source("rows.parquet"))
    yield Kind("tar", _tar(), _source("a.tar"), reseal=_sealed_tar)
    yield Kind("zip", _zip(zipfile.ZIP_DEFLATED), _source("a.zip"))
    yield Kind("zip of stored files", _zip(zipfile.ZIP_STORED), _source("a.zip"), reseal=sealed_zip)
    record = {"label": "x", "boxes": [[1, 2, 3, 4]], "caption": "a photo", "size": 1e3, "none": None}
    yield Kind("sidecar: JSON", json.dumps(record).encode(), _sidecar(".json"))
    yield Kind("sidecar: label", b"class 1\n", _sidecar(".cls"))
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((2, 4, 4, 3), np.uint8))
    yield Kind("npy of images", buffer.getvalue(), _source("a.npy"))


def _photo() -> Image.Image:
    row, column = np.mgrid[:40, :48]
    return Image.fromarray(np.stack([row * 3, column * 4, row + column], axis=-1).astype(np.uint8))


def _png(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (5, 4), (number, 2, 3)).save(buffer, "png")
    return buffer.getvalue()


def _decoded(folder: Path, data: bytes) -> object:
    decode(data, DecodeSpec())
    return None


def _source(name: str) -> Callable[[Path, bytes], object]:
    def read(folder: Path, data: bytes) -> object:
        (folder / name).write_bytes(data)
        source = open_source(folder / name)
        for row in range(min(len(source), 50)):
            ref = source.images[row]
            if isinstance(ref, np.ndarray):
                continue
            try:
                read_bytes(ref)
            except EmbedkitError:  # a row of the ledger
                continue
        return None

    return read


def _sidecar(ending: str) -> Callable[[Path, bytes], object]:
    def read(folder: Path, data: bytes) -> object:
        with zipfile.ZipFile(folder / "a.zip", "w") as archive:
            archive.writestr("a.png", _png(0))
            archive.writestr(f"a{ending}", data)
            archive.writestr("b.png", _png(1))
        source = open_source(folder / "a.zip")
        labels = np.asarray(source.labels).tolist()  # values are an array
        json.dumps([labels, source.failures, {name: list(column) for name, column in source.columns.items()}])
        return None

    return read


def _zip(method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("x/a.png", _png(0))
        archive.writestr("y/b.png", _png(1))
        archive.writestr("y/b.json", b'{"price": 1.5}')
    return buffer.getvalue()


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in (
            ("a.png", _png(0)),
            ("a.cls", b"x"),
            ("a.json", b'{"k": 1}'),
            ("ü" * 90 + ".png", _png(1)),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _sealed_tar(data: bytes) -> bytes:
    """Return a tar with the checksums of its headers made to fit, wherever one may begin."""
    sealed = bytearray(data)
    for at in range(0, len(sealed) - 511, 512):
        header = sealed[at : at + 512]
        if header[257:262] == b"ustar":
            total = sum(header[:148]) + 8 * ord(" ") + sum(header[156:])
            sealed[at + 148 : at + 156] = f"{total:06o}\0 ".encode()
    return bytes(sealed)


def _sealed_png(data: bytes) -> bytes:
    """Return a PNG with the checksums of its chunks made to fit, as far as their lengths do."""
    sealed, at = bytearray(data), 8
    while at + 12 <= len(sealed):
        end = at + 8 + int.from_bytes(sealed[at : at + 4], "big")
        if end + 4 > len(sealed):
            break
        sealed[end : end + 4] = zlib.crc32(sealed[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(sealed)
