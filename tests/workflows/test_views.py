"""Maps of features: near images lie near each other, and the same again the next time."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from embedkit.workflows import views
from tests.probes.samples import blobs, table_of


@pytest.fixture
def table():
    return table_of(*blobs(rows=60, width=16, spread=0.5))


def agreement(found, table):
    """How often the nearest other point is of the same class."""
    nearest = KNeighborsClassifier(2).fit(found.xy, table.y).kneighbors(return_distance=False)[:, 1:]
    return float((table.y[nearest[:, 0]] == table.y).mean())


def test_by_t_sne(table):
    pytest.importorskip("openTSNE", reason="the extra plot is not installed")
    found = views.map_of("blobs", table)
    assert found.method == "t-SNE (openTSNE)"
    assert (found.keys, found.labels) == (table.keys, table.y.tolist())
    assert agreement(found, table) > 0.9
    np.testing.assert_array_equal(views.map_of("blobs", table).xy, found.xy)


def test_by_principal_components_where_nothing_else_is_there(table, monkeypatch):
    monkeypatch.setattr(views.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    found = views.map_of("blobs", table)
    share = float(found.method.removeprefix("PCA (").split(" %")[0])
    centred = table.X - table.X.mean(axis=0)
    values = np.linalg.svd(centred, compute_uv=False) ** 2
    assert share == pytest.approx(100 * values[:2].sum() / values.sum(), abs=0.5)
    np.testing.assert_allclose(np.square(found.xy).sum(axis=0), values[:2], rtol=1e-3)
    monkeypatch.setattr(views, "MOST_POINTS", 20)
    assert len(views.map_of("blobs", table).keys) == 20
