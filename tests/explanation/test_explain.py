"""Explanations: the parts add up to the score, and what was planted is found."""

from __future__ import annotations

import json

import numpy as np
import pytest
import timm
import torch
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from embedkit import ImageEmbedder, estimators, explain
from embedkit.backbones import FeatureRequest, load_backbone, positions_of
from embedkit.errors import UsageError
from embedkit.explanation import deletion_curve, head_of, occlusion_map, training_contributions
from embedkit.persistence import save_model
from embedkit.render import as_text
from embedkit.results import load_result
from tests.photos import make_folder

CLASSES = {"red": 8, "green": 8, "blue": 8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("photos") / "set", CLASSES)


@pytest.fixture(scope="module")
def labelled(folder):
    paths = sorted(map(str, folder.rglob("*.png")))
    return paths, [path.split("/")[-2] for path in paths]


@pytest.fixture
def fitted(labelled, tmp_path):
    def fit(*steps, model="test_resnet", **request):
        embedder = ImageEmbedder(model, weights="random", store=tmp_path / "store", engine="torch", **request)
        return make_pipeline(embedder, *steps).fit(*labelled)

    return fit


@pytest.mark.parametrize(
    ("model", "request_", "exact"),
    [
        ("test_resnet", {}, True),
        ("test_resnet", {"layer": 1}, True),
        ("test_vit", {"layer": -2, "pool": "avg"}, True),
        ("test_vit", {}, False),  # the class token
        ("test_resnet", {"layer": 1, "pool": "max"}, False),
    ],
)
def test_scores_are_the_sum_of_places_wherever_features_are_their_mean(fitted, labelled, model, request_, exact):
    pipeline = fitted(StandardScaler(), PCA(6), LogisticRegression(C=0.1), model=model, **request_)
    paths, _ = labelled
    found = explain(pipeline, paths[:2], checks=False).explanations
    logits = pipeline[1:].decision_function(pipeline[0].transform(paths[:2]))
    for one, expected in zip(found, logits, strict=True):
        assert one.method == ("contributions" if exact else "occlusion")
        assert one.class_ == one.predicted == str(pipeline.classes_[expected.argmax()])
        assert one.logit == pytest.approx(expected.max(), rel=1e-4)
        if exact:
            assert one.contributions.sum() + one.bias == pytest.approx(one.logit, rel=1e-4)
        else:
            assert one.bias is None


def test_places_are_those_of_the_last_map_of_timm():
    backbone = load_backbone(FeatureRequest("test_resnet", weights="random", engine="torch", precision="fp32"))
    pixels = np.random.default_rng(0).integers(0, 255, (2, 3, *backbone.preprocess.input_size), dtype=np.uint8)
    mean, std = (torch.tensor(values)[:, None, None] for values in (backbone.preprocess.mean, backbone.preprocess.std))
    with torch.inference_mode():
        expected = backbone.module.model.forward_features((torch.from_numpy(pixels) / 255 - mean) / std)
    found = positions_of(backbone, pixels)
    np.testing.assert_allclose(found, expected.permute(0, 2, 3, 1).numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.mean(axis=(1, 2)), backbone(pixels), rtol=1e-4, atol=1e-5)
    assert isinstance(backbone.module.model, timm.models.resnet.ResNet)


def test_two_classes_and_values_and_forests(fitted, labelled):
    paths, labels = labelled
    two = ["red" if label == "red" else "other" for label in labels]
    embedder = fitted(LogisticRegression())[0]
    pipeline = make_pipeline(embedder, LogisticRegression(C=0.01)).fit(paths, two)
    logit = pipeline.decision_function(paths[:1])[0]
    for name, expected in (("red", logit), ("other", -logit)):
        [one] = explain(pipeline, paths[:1], class_=name, checks=False).explanations
        assert (one.class_, one.score) == (name, "logit")
        assert one.contributions.sum() + one.bias == pytest.approx(expected, rel=1e-4, abs=1e-6)
    values = make_pipeline(embedder, Ridge()).fit(paths, np.arange(len(paths), dtype=float))
    [one] = explain(values, paths[:1], checks=False).explanations
    assert (one.class_, one.score) == ("", "value")
    assert one.contributions.sum() + one.bias == pytest.approx(values.predict(paths[:1])[0], rel=1e-4, abs=1e-4)
    forest = make_pipeline(embedder, RandomForestClassifier(10, random_state=0)).fit(paths, labels)
    [one] = explain(forest, paths[:1]).explanations
    assert (one.method, one.score) == ("occlusion", "probability")
    assert one.logit == pytest.approx(forest.predict_proba(paths[:1]).max())


def test_occlusion_finds_the_place_that_counts():
    pixels = np.random.default_rng(0).integers(0, 255, (3, 64, 64), dtype=np.uint8)
    pixels[:, 40:48, 8:16] = 255

    def scores(images):
        return images[:, 0, 40:48, 8:16].mean(axis=(1, 2)).astype(np.float64)

    found = occlusion_map(pixels, scores)
    assert np.unravel_index(found.argmax(), found.shape) == (5, 1)
    assert found[0, 7] == 0
    fractions, by_map, at_random = deletion_curve(pixels, found, scores)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert by_map[0] == at_random[0] == 255
    assert by_map[1] < 130 < at_random[1]
    assert by_map[-1] == at_random[-1]


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(C=0.3, tol=1e-10, max_iter=10_000),
        estimators.LogisticRegression(C=0.3, tol=1e-12),
        estimators.LogisticRegression(C=0.01, standardize=True, tol=1e-12),
        RidgeClassifier(3.0),
        Ridge(2.0),
    ],
    ids=repr,
)
@pytest.mark.parametrize("classes", [2, 3])
def test_training_rows_add_up_to_the_score(estimator, classes):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 12)) + 3
    y = X[:, 0] - X[:, 1] if isinstance(estimator, Ridge) else np.array([f"c{n % classes}" for n in range(60)])
    X[:, 2] += np.arange(60) % classes
    estimator.fit(X, y)
    queries = rng.normal(size=(5, 12)) + 3
    scores = estimator.predict(queries) if isinstance(estimator, Ridge) else estimator.decision_function(queries)
    of_classes = np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores
    for place in range(1 if isinstance(estimator, Ridge) else classes):
        sums = [training_contributions(estimator, X, y, query, place).sum() for query in queries]
        expected = scores if isinstance(estimator, Ridge) else of_classes[:, place]
        np.testing.assert_allclose(sums - sums[0], expected - expected[0], rtol=1e-3, atol=1e-4)
    assert training_contributions(estimator, X[:30], y[:30], queries[0], 0) is None  # other rows than it was fitted on


def test_of_a_lasso_nothing_is_said():
    X, y = np.random.default_rng(0).normal(size=(60, 12)), np.arange(60) % 3
    lasso = LogisticRegression(l1_ratio=1.0, solver="saga", C=0.1, max_iter=5000).fit(X, y)
    assert training_contributions(lasso, X, y, X[0], 0) is None


def test_command(labelled, folder, tmp_path, fitted):
    from click.testing import CliRunner

    from embedkit_cli.main import cli

    paths, _ = labelled
    save_model(fitted(StandardScaler(), LogisticRegression(tol=1e-8, max_iter=5000)), tmp_path / "m.skops")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 no photo")
    names = [tmp_path / name for name in ("m.skops", "r.json", "p.html")]
    arguments = [*map(str, (names[0], paths[0], broken)), "--training", str(folder), "-o", str(names[1])]
    arguments += ["--report", str(names[2]), "--store", str(tmp_path / "store"), "--json"]
    ran = CliRunner().invoke(cli, arguments[:0] + ["explain", *arguments], standalone_mode=False)
    assert ran.exception is None, ran.output
    assert ran.return_value == 3  # one image skipped
    [one] = json.loads(ran.stdout)["explanations"]
    assert (one["class"], one["image"]) == ("red" if "/red/" in paths[0] else one["class"], paths[0])
    assert np.sum(one["contributions"]) + one["bias"] == pytest.approx(one["logit"], rel=1e-4)
    assert -1 <= one["random_weights"] <= 1
    assert len(one["nearest"]) == 3
    assert {near["label"] for near in one["nearest"]} == {one["class"]}
    assert one["influence"][0]["contribution"] > 0
    record = load_result(names[1])
    assert "fitted on this very image" in record.notes[0]
    assert "by this map" in as_text(record)
    page = names[2].read_text()
    assert page.count("<rect") > 4
    assert f"Why {one['class']}?" in page


def test_what_cannot_be_explained_is_said(fitted, labelled):
    paths, _ = labelled
    pipeline = fitted(LogisticRegression())
    with pytest.raises(UsageError, match="class 'newt' is none of the model's: blue, green, red"):
        explain(pipeline, paths[:1], class_="newt")
    with pytest.raises(UsageError, match="predicts nothing"):
        head_of([], 3)
