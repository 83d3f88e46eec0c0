"""The kinds of files, for `benchmarks.fuzz`, that describe images, hold them, or hold models and weights.

What carries no checksum may say something else when it is changed; of such a kind only how it ends is compared.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import safetensors.torch
import torch
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from benchmarks.fuzz import Kind
from embedkit import ImageEmbedder, load_model, save_model
from embedkit.backbones.weights import read_weights
from embedkit.errors import EmbedkitError
from embedkit.images import open_source, read_bytes


def kinds() -> Iterator[Kind]:
    """Yield them."""
    for final in (SVC(), RandomForestClassifier(n_estimators=3, random_state=0)):
        yield Kind(f"model of {type(final).__name__}", _model(final), _read_model, reseal=_sealed_zip)
    table = {"path": ["a.png", "b.png"], "label": ["x", "y"], "price": [1.5, 2.0]}
    rows = "\n".join(["path,label,price", "a.png,x,1.5", "sub/b.png,y,2", ""])
    yield Kind("manifest", rows.encode(), _source("rows.csv"))
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(table), buffer)
    yield Kind("Parquet manifest", buffer.getvalue(), _source("rows.parquet"))
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"image": [_png(0), _png(1)], "label": ["x", "y"]}), buffer)
    yield Kind("Parquet of images", buffer.getvalue(), _source("images.parquet"))
    yield Kind("tar", _tar(), _source("a.tar"))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/a.png", _png(0))
        archive.writestr("y/b.png", _png(1))
    yield Kind("zip", buffer.getvalue(), _source("a.zip"))
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((2, 4, 4, 3), np.uint8))
    yield Kind("npy", buffer.getvalue(), _source("a.npy"))
    tensors = {"conv.weight": torch.ones(4, 3), "head.bias": torch.zeros(5)}
    yield Kind("safetensors", safetensors.torch.save(tensors), _weights("w.safetensors"))
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    yield Kind("pth", buffer.getvalue(), _weights("w.pth"))


def _png(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (5, 4), (number, 2, 3)).save(buffer, "png")
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


def _weights(name: str) -> Callable[[Path, bytes], object]:
    def read(folder: Path, data: bytes) -> object:
        (folder / name).write_bytes(data)
        read_weights(folder / name)
        return None

    return read


def _model(final: object) -> bytes:
    photos = [np.full((40, 40, 3), 20 * number, np.uint8) for number in range(8)]
    with tempfile.TemporaryDirectory() as folder:
        embedder = ImageEmbedder("colour-histogram", store=folder)
        save_model(make_pipeline(embedder, final).fit(photos, ["a", "b"] * 4), Path(folder) / "m.skops")
        content = (Path(folder) / "m.skops").read_bytes()
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as then,
        zipfile.ZipFile(buffer, "w") as now,
    ):  # so that changes meet arrays
        for name in then.namelist():
            now.writestr(name, then.read(name))
    return buffer.getvalue()


def _sealed_zip(data: bytes) -> bytes:
    """Return a changed archive of stored members with their checksums made to fit."""
    buffer = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as then, zipfile.ZipFile(buffer, "w") as now:
            for member in then.infolist():
                at = member.header_offset
                skipped = 30 + sum(int.from_bytes(data[at + place : at + place + 2], "little") for place in (26, 28))
                now.writestr(member.filename, data[at + skipped : at + skipped + member.file_size])
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError, UserWarning):
        return data
    return buffer.getvalue()


def _read_model(folder: Path, data: bytes) -> object:
    (folder / "m.skops").write_bytes(data)
    return load_model(folder / "m.skops").classes
