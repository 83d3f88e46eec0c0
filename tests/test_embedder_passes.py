"""Each distinct image goes through the network once, whatever scikit-learn does: counted by a hook on the module."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from joblib import parallel_backend
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from embedkit import FeatureStore, ImageEmbedder
from tests.blocked import blocking
from tests.counting import CountingEmbedder, passes, stop_counting
from tests.photos import MODEL, make_folder
from tests.workers import fresh_workers  # noqa: F401

DISTINCT = 20
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def counted_here_alone():
    yield
    stop_counting()


@pytest.fixture
def images(tmp_path):
    """Paths of 20 distinct images and 5 copies under other names, in any order, and their labels."""
    folder = make_folder(tmp_path / "photos", {"red": 10, "green": 10})
    for number in range(5):
        shutil.copy(folder / "red" / f"{number:03d}.png", folder / "red" / f"copy-{number}.png")
    paths = np.array(sorted(str(path) for path in folder.rglob("*.png")))
    paths = np.random.default_rng(0).permutation(paths)
    return paths, np.array([os.path.basename(os.path.dirname(path)) for path in paths])


def search(embedder: ImageEmbedder, n_jobs: int | None = None) -> GridSearchCV:
    steps = [("embed", embedder), ("scale", StandardScaler()), ("reduce", PCA()), ("classify", LogisticRegression())]
    grid = {"reduce__n_components": [2, 4], "classify__C": [0.1, 1.0]}
    return GridSearchCV(Pipeline(steps), grid, cv=StratifiedKFold(5), n_jobs=n_jobs)


def settings(store: Path, **changed) -> dict:
    return {"model": MODEL, "weights": "random", "precision": "fp32", "engine": "torch", "store": str(store), **changed}


@pytest.mark.parametrize("batch_size", [1, 7, None])
def test_a_cold_grid_search(images, tmp_path, batch_size):
    paths, labels = images
    embedder = CountingEmbedder(**settings(tmp_path / "store", batch_size=batch_size))
    found = search(embedder).fit(paths, labels)
    assert passes(embedder.store) == DISTINCT
    assert found.best_score_ > 0.8
    order = np.random.default_rng(1).permutation(len(paths))
    search(embedder).fit(paths[order].tolist(), labels[order])
    found.predict(paths)
    assert passes(embedder.store) == DISTINCT


def test_a_cold_grid_search_in_threads(images, tmp_path):
    paths, labels = images
    embedder = CountingEmbedder(**settings(tmp_path / "store"))
    with parallel_backend("threading", n_jobs=4):
        search(embedder).fit(paths, labels)
    assert passes(embedder.store) == DISTINCT


@pytest.mark.usefixtures("fresh_workers")
def test_a_cold_grid_search_in_two_processes_and_a_restart_after_it(images, tmp_path):
    paths, labels = images
    embedder = CountingEmbedder(**settings(tmp_path / "store"))
    found = search(embedder, n_jobs=2).fit(paths, labels)
    assert passes(embedder.store) == DISTINCT
    [info] = FeatureStore(embedder.store).info().fingerprints
    assert (info.rows, info.duplicates) == (DISTINCT, 0)

    # A new process, in which a network cannot even be loaded.
    code = (
        blocking(("torch", "timm")) + "import pickle\n"
        "search, paths, labels = pickle.loads(sys.stdin.buffer.read())\n"
        "search.fit(paths, labels)\n"
        "sys.stdout.buffer.write(pickle.dumps((search.best_params_, search.best_score_)))"
    )
    again = search(ImageEmbedder(**settings(tmp_path / "store")))
    sent = pickle.dumps((again, paths.tolist(), labels))
    done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True, cwd=ROOT)
    assert pickle.loads(done.stdout) == (found.best_params_, pytest.approx(found.best_score_))


def test_an_edited_image_costs_one_pass_and_a_renamed_one_none(images, tmp_path):
    paths, labels = images
    embedder = CountingEmbedder(**settings(tmp_path / "store"))
    embedder.fit_transform(paths)
    os.rename(paths[0], renamed := paths[0] + ".renamed.png")
    embedder.transform([renamed, *paths[1:]])
    assert passes(embedder.store) == DISTINCT
    with open(paths[1], "ab") as file:
        file.write(b"another file now")
    embedder.transform(paths[1:])
    assert passes(embedder.store) == DISTINCT + 1


def test_another_model_costs_its_own_passes(images, tmp_path):
    paths, labels = images
    grid = {"embed__model": [MODEL, "test_vit"], "classify__C": [0.1, 1.0]}
    embedder = CountingEmbedder(**settings(tmp_path / "store"))
    pipeline = Pipeline([("embed", embedder), ("classify", LogisticRegression(max_iter=1000))])
    found = GridSearchCV(pipeline, grid, cv=5).fit(paths, labels)
    assert passes(embedder.store) == 2 * DISTINCT
    assert found.best_estimator_[0].spec_.backbone.architecture == found.best_params_["embed__model"]
