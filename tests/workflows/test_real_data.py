"""The whole way on real weights and real photographs, against the figures stated beside them."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from embedkit import FeatureTable, extract, fit, predict, probe

pytestmark = pytest.mark.assets

# Test accuracy of make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)) fitted on the train split,
# from the README of the images.
STATED = {
    ("grocery", "vit_tiny_patch16_224"): 0.751,
    ("grocery", "mobilenetv2_100"): 0.684,
    ("pacs", "vit_tiny_patch16_224"): 0.875,
    ("pacs", "mobilenetv2_100"): 0.872,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("real")


def feature_file(assets, folder, data: str, model: str, *, resize: str = "fast"):
    path = folder / f"{data}-{model}-{resize}.h5"
    if not path.exists():
        extract(
            assets / "data" / data / "split.csv",
            model,
            weights=str(assets / "weights" / f"{model}.safetensors"),
            precision="fp32",
            engine="torch",
            resize=resize,
            store=folder / "store",
            output=path,
        )
    return path


@pytest.mark.parametrize(("data", "model"), STATED)
def test_the_stated_accuracy_is_reached(assets, folder, data, model):
    table = FeatureTable.open(feature_file(assets, folder, data, model))
    train, test = table.select(split="train"), table.select(split="test")
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)).fit(train.X, train.y)
    accuracy, stated = pipeline.score(test.X, test.y), STATED[data, model]
    standard_error = math.sqrt(stated * (1 - stated) / len(test))
    assert abs(accuracy - stated) <= 2 * standard_error


def test_labels_of_another_column(assets, folder):
    path = feature_file(assets, folder, "grocery", "mobilenetv2_100")
    coarse = FeatureTable.open(path, label_column="coarse_label")
    assert len(coarse.classes) == 43
    assert len(FeatureTable.open(path).classes) == 81


def test_a_validation_split_that_lacks_classes_is_not_used(assets, folder):
    report = probe(
        feature_file(assets, folder, "grocery", "mobilenetv2_100"),
        estimator=("logistic", "knn"),
        store=folder / "store",
    )
    assert any("val split (60 images) is not used: it lacks 21 of 81 classes" in note for note in report.notes)
    best = report.results[0]
    assert (best.model, best.estimator, best.n_train, best.n_test) == ("mobilenetv2_100", "logistic", 891, 567)
    assert best.interval[0] < best.value < best.interval[1]
    assert best.converged
    floors = {result.model: result.value for result in report.results if result.floor}
    assert floors["pixels32"] < floors["colour-histogram"] < best.value


def test_a_source_without_a_train_split_is_an_error(assets, folder):
    with pytest.raises(ValueError, match="no row belongs to a train split .found test: 200"):
        probe(assets / "data" / "imagenet_sample" / "split.csv", "pixels32", store=folder / "store")


def test_fit_and_predict_agree_with_the_report(assets, folder):
    path = feature_file(assets, folder, "pacs", "mobilenetv2_100")
    fitted = fit(path, estimator="svm", output=folder / "model.skops", store=folder / "store")
    with (assets / "data" / "pacs" / "split.csv").open(newline="") as file:
        labels = {row["path"]: row["label"] for row in csv.DictReader(file) if row["split"] == "test"}
    predictions = predict(folder / "model.skops", assets / "data" / "pacs" / "split.csv", store=folder / "store")
    right = [row.predicted == labels[row.path] for row in predictions.predictions if row.path in labels]
    assert np.mean(right) == pytest.approx(fitted.result.value)
    assert predictions.score == "decision value"


@pytest.mark.parametrize("model", ["vit_tiny_patch16_224", "mobilenetv2_100"])
def test_features_are_timms_own(assets, folder, model):
    """Through the store, against timm's model and transform on Pillow's pixels: centred cosine >= 0.9999 an image."""
    path = feature_file(assets, folder, "imagenet_sample", model, resize="exact")
    table = FeatureTable.open(path)[:48]
    network = timm.create_model(model, pretrained=False, num_classes=1000)
    network.load_state_dict(load_file(assets / "weights" / f"{model}.safetensors"), strict=True)
    network.reset_classifier(0)
    network.eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)
    root = assets / "data" / "imagenet_sample"
    pixels = [transform(Image.open(root / key).convert("RGB")) for key in table.keys]
    with torch.inference_mode():
        expected = np.concatenate([network(torch.stack(pixels[at : at + 8])).numpy() for at in range(0, 48, 8)])
        swapped = network(torch.stack([image[[2, 1, 0]] for image in pixels[:8]])).numpy()
    mean = expected.mean(axis=0)

    def worst(got: np.ndarray, wanted: np.ndarray) -> float:
        got, wanted = got - mean, wanted - mean
        return float(((got * wanted).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(wanted, axis=1)).min())

    assert worst(table.X, expected) >= 0.9999
    # Two controls: the comparison sees rows that moved, and red exchanged for blue.
    assert worst(np.roll(table.X, 1, axis=0), expected) < 0.9
    assert worst(swapped, expected[:8]) < 0.99

    fast = FeatureTable.open(feature_file(assets, folder, "imagenet_sample", model))[:48]
    assert worst(fast.X, expected) >= 0.9999
