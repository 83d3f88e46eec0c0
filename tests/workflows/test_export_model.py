"""Backbone and fitted head as one file: what it says of photos is what the pipeline says."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import SVC

from embedkit import ImageEmbedder, estimators, export_model, fit, predict
from embedkit.errors import (
    ImageError,
    ModelExportError,
    OutputExistsError,
    SpecMismatchError,
    StoreWriteError,
    UsageError,
    WeightsNotFoundError,
)
from embedkit.estimators import fuse
from embedkit.persistence import save_model
from embedkit.preprocess import Preprocessor
from embedkit_cli.main import cli as commands
from tests.photos import make_folder, make_photo

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

CLASSES = ("blue", "green", "red")
EMBEDDERS = {
    "lcnet_050": {},
    "test_vit": {},
    "test_vit, layer": {"layer": -2, "pool": "cls+avg"},
}
HEADS = {
    "logistic": [StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)],
    "pca, ours": [StandardScaler(), PCA(6), estimators.LogisticRegression(C=0.1)],
    "unit, svm": [Normalizer(), StandardScaler(), SVC(kernel="linear")],
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    paths: list[str] = []
    for number in range(30):
        paths.append(str(folder / f"{number}.jpg"))
        make_photo(number, tint=number, size=(200 + 7 * number, 240)).save(paths[-1], quality=95)
    return paths


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return str(tmp_path_factory.mktemp("store"))


def make_embedder(name: str, store: str) -> ImageEmbedder:
    architecture = name.split(",")[0]
    return ImageEmbedder(
        architecture, weights="random", precision="fp32", engine="torch", device="cpu", store=store, **EMBEDDERS[name]
    )


def fitted(name: str, head: str, photos, store):
    """Fit on two thirds of the photos: the exported file is judged on all of them."""
    labels = [CLASSES[number % 3] for number in range(len(photos))]
    return make_pipeline(make_embedder(name, store), *HEADS[head]).fit(photos[:20], labels[:20])


def pixels_of(pipeline, photos):
    preprocessor = Preprocessor(pipeline[0].spec_.preprocess)
    return np.stack([preprocessor(np.asarray(Image.open(path).convert("RGB"))) for path in photos])


def run_file(path: Path, pixels):
    """Run a file by its runtime alone."""
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return session.run(["logits", "predicted"], {"pixels": pixels})
    return [part.numpy() for part in torch.export.load(str(path)).module()(torch.from_numpy(pixels))]


@pytest.mark.parametrize(
    ("name", "head", "suffix"),
    [
        ("lcnet_050", "logistic", ".onnx"),
        ("lcnet_050", "unit, svm", ".pt2"),
        ("test_vit", "unit, svm", ".onnx"),
        ("test_vit, layer", "pca, ours", ".pt2"),
    ],
)
def test_the_file_says_what_the_pipeline_says(photos, store, tmp_path, name, head, suffix):
    pipeline = fitted(name, head, photos, store)
    path = tmp_path / f"model{suffix}"
    report = export_model(pipeline, path, images=photos[:4])
    assert (report.images, report.classes, report.notes) == (4, list(CLASSES), [])
    assert report.bytes == path.stat().st_size
    assert report.largest_difference < 1e-3
    logits, predicted = run_file(path, pixels_of(pipeline, photos))
    np.testing.assert_allclose(logits, pipeline.decision_function(photos), atol=1e-3)
    assert [CLASSES[number] for number in predicted] == pipeline.predict(photos).tolist()
    assert len(set(predicted.tolist())) == 3
    one, _ = run_file(path, pixels_of(pipeline, photos[:1]))
    np.testing.assert_allclose(one, logits[:1], atol=1e-4)


@pytest.fixture(scope="module")
def model_file(photos, store, tmp_path_factory):
    pipeline = fitted("test_vit", "logistic", photos, store)
    path = tmp_path_factory.mktemp("model") / "model.skops"
    save_model(pipeline, path)
    return path


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_a_file_needs_its_runtime_alone_and_says_how_it_is_used(model_file, photos, tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    export_model(model_file, path)
    pixels = np.zeros((3, 3, 160, 160), np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    read = {
        ".onnx": "import onnxruntime\n"
        "session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])\n"
        "record = session.get_modelmeta().custom_metadata_map['embedkit']\n"
        "predicted = session.run(['predicted'], {'pixels': pixels})[0]\n",
        ".pt2": "import torch\n"
        "files = {'embedkit.json': ''}\n"
        "predicted = torch.export.load(sys.argv[1], extra_files=files).module()(torch.from_numpy(pixels))[1]\n"
        "record = files['embedkit.json']\n",
    }
    code = (
        "import sys, json, numpy\n"
        "pixels = numpy.load(sys.argv[2])\n"
        f"{read[suffix]}"
        "print(json.dumps([json.loads(record), predicted.tolist(), sorted(sys.modules)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "pixels.npy")],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    record, predicted, imported = json.loads(done.stdout)
    assert not {"embedkit", "timm", "sklearn", "skops"} & set(imported)
    assert suffix == ".pt2" or "torch" not in imported
    assert len(predicted) == 3
    assert record["classes"] == list(CLASSES)
    assert record["preprocess"]["input_size"] == [160, 160]
    assert record["input"].startswith("pixels: uint8 (n, 3, 160, 160), RGB")
    assert record["weights"].startswith("sha256:")
    assert record["steps"] == ["ImageEmbedder", "StandardScaler", "LogisticRegression"]


class Crooked(LogisticRegression):
    """Decides otherwise than its coefficients say."""

    def decision_function(self, X):
        return super().decision_function(X) + 0.01


def test_what_does_not_do_the_same_is_not_written(photos, store, tmp_path):
    labels = [CLASSES[number % 3] for number in range(len(photos))]
    pipeline = make_pipeline(make_embedder("test_vit", store), Crooked()).fit(photos, labels)
    path = tmp_path / "model.pt2"
    path.write_text("another")
    with pytest.raises(ModelExportError, match=r"up to 0\.01 in a logit.*nothing was written"):
        export_model(pipeline, path, force=True)
    assert os.listdir(tmp_path) == ["model.pt2"]
    assert path.read_text() == "another"


def test_what_cannot_be_exported_is_named(photos, store, tmp_path):
    labels = [CLASSES[number % 3] for number in range(len(photos))]
    pipeline = make_pipeline(make_embedder("test_vit", store), KNeighborsClassifier()).fit(photos, labels)
    with pytest.raises(ModelExportError, match=r"step 'kneighborsclassifier' .* is not linear"):
        export_model(pipeline, tmp_path / "model.onnx")
    floor = make_pipeline(ImageEmbedder("pixels32", store=store), LogisticRegression(max_iter=1000))
    with pytest.raises(ModelExportError, match="pixels32 is no network"):
        export_model(floor.fit(photos, labels), tmp_path / "model.onnx")
    with pytest.raises(UsageError, match="whose first step is an ImageEmbedder"):
        export_model(make_pipeline(StandardScaler(), LogisticRegression()), tmp_path / "model.onnx")
    union = fuse({"vit": make_embedder("test_vit", store), "pixels": ImageEmbedder("pixels32", store=store)})
    fused = make_pipeline(union, LogisticRegression(max_iter=1000)).fit(photos, labels)
    with pytest.raises(UsageError, match=r"embedders featureunion__vit, featureunion__pixels; one network .* only one"):
        export_model(fused, tmp_path / "model.onnx")
    with pytest.raises(UsageError, match=r"neither in \.onnx nor in \.pt2"):
        export_model(pipeline, tmp_path / "model.pth")
    assert os.listdir(tmp_path) == []


def test_an_output_is_not_replaced_unasked(model_file, tmp_path):
    (tmp_path / "model.pt2").write_text("precious")
    with pytest.raises(OutputExistsError, match="--force"):
        export_model(model_file, tmp_path / "model.pt2")
    assert (tmp_path / "model.pt2").read_text() == "precious"


def test_a_missing_folder_and_an_unreadable_image_are_named(model_file, tmp_path):
    with pytest.raises(StoreWriteError, match="no folder"):
        export_model("never-looked-at.skops", tmp_path / "missing" / "m.pt2")
    with pytest.raises(ImageError, match="nope.jpg: no such file"):
        export_model(model_file, tmp_path / "m.pt2", images=["/nope.jpg"])


def test_weights_that_have_moved_must_be_the_same(photos, store, tmp_path):
    import timm
    from safetensors.torch import save_file

    for number in range(2):
        torch.manual_seed(number)
        save_file(timm.create_model("test_vit", num_classes=0).state_dict(), tmp_path / f"{number}.safetensors")
    embedder = make_embedder("test_vit", store).set_params(weights=str(tmp_path / "0.safetensors"))
    labels = [CLASSES[number % 3] for number in range(len(photos))]
    pipeline = make_pipeline(embedder, LogisticRegression(max_iter=1000)).fit(photos, labels)
    (tmp_path / "0.safetensors").rename(tmp_path / "moved.safetensors")
    with pytest.raises(WeightsNotFoundError):
        export_model(pipeline, tmp_path / "model.pt2")
    with pytest.raises(SpecMismatchError, match=r"backbone\.weights.*--weights"):
        export_model(pipeline, tmp_path / "model.pt2", weights=str(tmp_path / "1.safetensors"))
    assert not (tmp_path / "model.pt2").exists()
    export_model(pipeline, tmp_path / "model.pt2", weights=str(tmp_path / "moved.safetensors"))


def test_features_of_another_precision_are_said(photos, store, tmp_path):
    embedder = make_embedder("test_vit", store).set_params(precision="bf16")
    labels = [CLASSES[number % 3] for number in range(len(photos))]
    pipeline = make_pipeline(embedder, StandardScaler(), LogisticRegression(C=0.01)).fit(photos, labels)
    report = export_model(pipeline, tmp_path / "model.pt2", images=photos)
    [note] = report.notes
    assert "torch bf16" in note
    logits, _ = run_file(tmp_path / "model.pt2", pixels_of(pipeline, photos))
    assert np.abs(logits - pipeline.decision_function(photos)).max() < 0.1  # near, as bf16 is


def test_the_command(tmp_path, monkeypatch):
    folder = make_folder(tmp_path / "photos", {"blue": 8, "red": 8})
    monkeypatch.setenv("EMBEDKIT_STORE", str(tmp_path / "store"))
    backbone = make_embedder("test_vit", "").request()
    fit(folder, backbone, estimator="svm", folds=2, output=tmp_path / "m.skops")
    target = str(tmp_path / "m.pt2")
    arguments = ["export", str(tmp_path / "m.skops"), "-o", target, "--images", str(folder)]
    ran = CliRunner().invoke(commands, arguments, catch_exceptions=False, standalone_mode=False)
    assert (ran.return_value, ran.stdout) == (0, "")
    assert "16 images get the same classes as from the model" in ran.stderr
    said = predict(tmp_path / "m.skops", folder, store=tmp_path / "store")
    files = [str(folder / row.path) for row in said.predictions]
    _, predicted = run_file(tmp_path / "m.pt2", pixels_of(_loaded(tmp_path / "m.skops"), files))
    assert [("blue", "red")[number] for number in predicted] == [row.predicted for row in said.predictions]
    for wrong in (["a.skops", "b.skops", "-o", "c.onnx"], ["a.h5", "-o", "a.csv", "--trust-pickle"]):
        ran = CliRunner().invoke(commands, ["export", *wrong])
        assert ran.exit_code == 2


def _loaded(path):
    from embedkit import load_model

    return load_model(path).pipeline


@pytest.mark.assets
@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_real_weights_on_photos_of_groceries(assets, tmp_path_factory, tmp_path, suffix):
    split = assets / "data" / "grocery" / "split.csv"
    with split.open() as file:
        rows = list(csv.DictReader(file))
    known = sorted({row["label"] for row in rows})[:12]
    rows = [row for row in rows if row["label"] in known][::3]
    labels = [row["label"] for row in rows]
    images = [str(split.parent / row["path"]) for row in rows]
    embedder = ImageEmbedder(
        "mobilenetv2_100",
        weights=str(assets / "weights" / "mobilenetv2_100.safetensors"),
        precision="fp32",
        engine="torch",
        device="cpu",
        resize="exact",
        store=str(tmp_path_factory.getbasetemp() / "grocery store"),
    )
    pipeline = make_pipeline(embedder, StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)).fit(images, labels)
    report = export_model(pipeline, tmp_path / f"model{suffix}", images=images[:8])
    assert report.largest_difference < 1e-3
    logits, predicted = run_file(tmp_path / f"model{suffix}", pixels_of(pipeline, images))
    np.testing.assert_allclose(logits, pipeline.decision_function(images), atol=1e-3)
    assert pipeline.classes_[predicted].tolist() == pipeline.predict(images).tolist()
    assert len(set(predicted.tolist())) > 8
