"""Protocols on features of photographs from real weights, against implementations of their own texts."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from embedkit import FeatureTable, extract
from embedkit.probes.protocols import run_protocol

pytestmark = pytest.mark.assets


@pytest.fixture(scope="module")
def table(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> FeatureTable:
    """Every third image of PACS, seven classes in four styles, through vit_tiny_patch16_224."""
    folder = tmp_path_factory.mktemp("protocols")
    source = assets / "data" / "pacs" / "split.csv"
    with source.open(newline="") as file:
        header, *lines = csv.reader(file)
    path = header.index("path")
    for line in lines:
        line[path] = str(source.parent / line[path])
    with (folder / "part.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *lines[::3]])
    extract(
        folder / "part.csv",
        "vit_tiny_patch16_224",
        weights=str(assets / "weights" / "vit_tiny_patch16_224.safetensors"),
        precision="fp32",
        engine="torch",
        store=folder / "store",
        output=folder / "part.h5",
    )
    return FeatureTable.open(folder / "part.h5")


def parts(table: FeatureTable) -> tuple[Any, Any, Any, Any]:
    known, test = table.select(split=[name for name in set(table.split) if name != "test"]), table.select(split="test")
    return known.X, known.y, test.X, test.y


def test_dinov2_knn(table: FeatureTable) -> None:
    X, y, X_test, y_test = parts(table)
    classes, codes = np.unique(y, return_inverse=True)
    train, test = (torch.nn.functional.normalize(torch.tensor(Z), dim=1) for Z in (X, X_test))
    similarity, index = (test @ train.T).topk(200)
    votes = torch.nn.functional.one_hot(torch.tensor(codes)[index]) * torch.softmax(similarity / 0.07, 1)[:, :, None]
    run = run_protocol("dinov2-knn", table, model="vit")
    assert run.predictions.tolist() == classes[votes[:, :20].sum(1).argmax(1).numpy()].tolist()
    assert run.result.value == pytest.approx((run.predictions == y_test).mean())


def test_kornblith_as_published(table: FeatureTable) -> None:
    X, y, X_test, _ = parts(table)
    indices = list(range(len(X)))
    np.random.seed(0)
    np.random.shuffle(indices)
    cut = int(np.floor(0.2 * len(X)))
    fit, held_out = indices[cut:], indices[:cut]
    model, best_score, best = LogisticRegression(warm_start=True), 0.0, 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for wd in torch.logspace(-6, 5, 45, dtype=torch.float64).tolist():
            score = model.set_params(C=1 / wd).fit(X[fit], y[fit]).score(X[held_out], y[held_out])
            if score > best_score:
                best_score, best = score, 1 / wd
        rows = fit + held_out
        expected = model.set_params(C=best).fit(X[rows], y[rows]).predict(X_test)
    run = run_protocol("kornblith", table, model="vit", as_published=True)
    assert run.result.params["C"] == pytest.approx(best)
    assert np.mean(run.predictions == expected) >= 0.999
    assert not run.result.converged


def test_dinov3_logreg_at_the_optimum(table: FeatureTable) -> None:
    """The reference is lbfgs to 1e-10 for every value of C."""
    X, y, X_test, _ = parts(table)
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(0)).numpy()
    X, y = X[order].astype(np.float64), y[order]
    held_out = np.zeros(len(X), dtype=bool)
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        held_out[members[: max(1, int(0.1 * len(members)))]] = True

    def solved(X: Any, y: Any, C: float) -> Any:
        return LogisticRegression(C=C, tol=1e-10, max_iter=100_000).fit(X, y)

    Cs = 10 ** np.linspace(-6, 5, 45)
    scores = [solved(X[~held_out], y[~held_out], C).score(X[held_out], y[held_out]) for C in Cs]
    best = Cs[int(np.argmax(scores))]
    rows = np.concatenate([np.flatnonzero(~held_out), np.flatnonzero(held_out)])
    run = run_protocol("dinov3-logreg", table, model="vit")
    assert run.result.params["C"] == pytest.approx(best)
    assert run.predictions.tolist() == solved(X[rows], y[rows], best).predict(X_test).tolist()
    assert run.result.converged
