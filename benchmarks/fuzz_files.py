"""The kinds of files, for `benchmarks.fuzz`, that hold models, weights, results and statistics of a site.

Weights and statistics carry no checksum of ours, and changed ones are others: only how reading ends is compared.
"""

from __future__ import annotations

import base64
import io
import json
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from benchmarks.fault_rows import DIGESTS, SPEC
from benchmarks.fuzz import Kind, sealed_zip
from embedkit import FeatureRequest, FeatureTable, ImageEmbedder, load_result, predict, probe, save_model
from embedkit.backbones.weights import read_weights
from embedkit.estimators import StreamingLDA, StreamingRidgeClassifier, standardised
from embedkit.labelling import chosen_alpha, collect, merged, read_statistics, write_statistics
from embedkit.render import as_text
from embedkit.tables import TableHead

_PHOTOS = [np.full((40, 40, 3), 20 * number, np.uint8) for number in range(8)]
# Holds the features of the photos for all changes; it goes with the process.
_STORE = tempfile.TemporaryDirectory()


def kinds() -> Iterator[Kind]:
    """Yield them."""
    finals = {
        "support vectors": SVC(),
        "forest": RandomForestClassifier(n_estimators=3, random_state=0),
        "boosting": HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=1),
        "neighbours": KNeighborsClassifier(3, algorithm="brute"),
        "perceptron": make_pipeline(StandardScaler(), MLPClassifier((3,), max_iter=3, random_state=0)),
        "linear": make_pipeline(StandardScaler(), LogisticRegression()),
    }
    for name, final in finals.items():
        yield Kind(f"model: {name}", _model(final), _read_model, reseal=sealed_zip)
    tensors = {"conv.weight": torch.ones(4, 3), "head.bias": torch.zeros(5)}
    yield Kind("weights: safetensors", safetensors.torch.save(tensors), _weights("w.safetensors"))
    for name, options in (("zip", {}), ("before zips", {"_use_new_zipfile_serialization": False})):
        buffer = io.BytesIO()
        torch.save({"state_dict": tensors, "epoch": 3}, buffer, **options)
        yield Kind(f"weights: pth, {name}", buffer.getvalue(), _weights("w.pth"), sealed_zip if not options else None)
    yield Kind("result", _result(), _read_result)
    sums = _statistics()
    yield Kind("statistics", sums, _read_statistics)
    yield Kind("statistics: numbers as text", _unpacked(sums), _read_statistics)


def _weights(name: str) -> Callable[[Path, bytes], object]:
    def read(folder: Path, data: bytes) -> object:
        (folder / name).write_bytes(data)
        read_weights(folder / name)
        return None

    return read


def _model(final: Any) -> bytes:
    embedder = ImageEmbedder("colour-histogram", store=_STORE.name)
    with tempfile.TemporaryDirectory() as folder:
        save_model(make_pipeline(embedder, final).fit(_PHOTOS, ["a", "b"] * 4), Path(folder) / "m.skops")
        content = (Path(folder) / "m.skops").read_bytes()
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as then,
        zipfile.ZipFile(buffer, "w") as now,
    ):  # so that changes meet arrays
        for name in then.namelist():
            now.writestr(name, then.read(name))
    return buffer.getvalue()


def _read_model(folder: Path, data: bytes) -> object:
    (folder / "m.skops").write_bytes(data)
    said = predict(folder / "m.skops", _PHOTOS, store=_STORE.name, output=folder / "said.csv", top=2)
    as_text(said)
    return said.predictions


def _table() -> FeatureTable:
    rows = 60
    features = np.random.default_rng(0).normal(size=(rows, SPEC.backbone.width)).astype(np.float32)
    head = TableHead(
        spec=SPEC,
        keys=[f"{row}.jpg" for row in range(rows)],
        digests=DIGESTS[:rows],
        labels=[*"abc"] * (rows // 3),
        provenance={"request": FeatureRequest("synthetic").to_dict()},
    )
    return FeatureTable(head, features)


def _result() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "features.h5"
        _table().write(file)
        return probe(file, folds=2, floors=False, store=_STORE.name).save(Path(folder) / "r.json").read_bytes()


def _read_result(folder: Path, data: bytes) -> object:
    (folder / "r.json").write_bytes(data)
    result = load_result(folder / "r.json")
    as_text(result)
    result.to_dict()
    return None


def _statistics() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "site.stats"
        write_statistics(collect(_table())[0], file)
        return file.read_bytes()


def _unpacked(data: bytes) -> bytes:
    """Write packed arrays as lists, which are read as well, so that changes meet single numbers."""
    record = json.loads(data)
    for name, value in record.items():
        if isinstance(value, dict) and "zlib" in value:
            numbers = np.frombuffer(zlib.decompress(base64.b64decode(value["zlib"])), value["dtype"])
            record[name] = numbers.reshape(value["shape"]).tolist()
    return json.dumps(record, indent=1).encode("utf-8")


def _read_statistics(folder: Path, data: bytes) -> object:
    """Read, add up, and fit both kinds of models on them, as `fit` does."""
    (folder / "site.stats").write_bytes(data)
    site = read_statistics(folder / "site.stats")
    total = merged([("site", site), ("again", read_statistics(folder / "site.stats"))])
    _, known = standardised(total.statistics)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for model in (StreamingRidgeClassifier(chosen_alpha(known)[0]), StreamingLDA(shrinkage=0.1)):
            model.fit_statistics(known)
            model.predict(np.zeros((2, site.width), np.float32))
    return None
