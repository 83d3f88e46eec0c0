"""Views in training: their features are those of altered pictures, and what they gain is tested."""

from __future__ import annotations

import json

import pytest

from embedkit import probe_views
from embedkit.errors import UsageError
from tests.photos import make_manifest


@pytest.fixture
def photos(tmp_path):
    make_manifest(tmp_path / "photos", {"red": 8, "green": 8, "blue": 8}, test=2)
    return tmp_path


def test_views_are_rows_of_their_own_of_which_each_costs_one_pass_ever(cli, photos):
    command = ("probe", "photos/split.csv", "--model", "test_vit", "--weights", "random", "--store", "store")
    plain = cli(*command, "--estimator", "logistic", "--no-floors", "--json")
    ran = cli(*command, "--views", "2", "--json")
    assert ran.code == 0, ran.err
    said = json.loads(ran.out)
    assert said["singles"][0]["value"] == json.loads(plain.out)["results"][0]["value"]
    assert said["singles"][0]["fingerprint"] == json.loads(plain.out)["results"][0]["fingerprint"]
    assert [one["estimator"] for one in said["fused"]] == ["views", "views, average"]
    assert [one["way"] for one in said["gains"]] == ["views", "views, average"]
    assert "2 views of each of 24 images: 48 passes in this run" in ran.err
    again = cli(*command, "--views", "3")
    assert "3 views of each of 24 images: 24 passes in this run" in again.err
    assert "views gain nothing significantly: take test_vit alone" in again.out
    none = cli(*command, "--views", "-1")
    assert none.code == 1
    assert "views is -1, expected a whole number of at least 1" in none.err
    both = cli(*command, "--views", "2", "--fuse", "vote")
    assert both.code == 2
    ran = cli(*command[:-2], "--store", "store", "-o", "kept.json", "--views", "2")
    assert ran.code == 0, ran.err


def test_views_of_the_images_of_a_feature_file(cli, photos):
    ran = cli("extract", "photos/split.csv", "--model", "test_vit", "--weights", "random", "-o", "f.h5", "--store", "s")
    assert ran.code == 0, ran.err
    report = probe_views(photos / "f.h5", views=1, store=photos / "s")
    assert len(report.fused) == 2
    with pytest.raises(UsageError, match="2 models are named"):
        probe_views(photos / "photos", ["test_vit", "test_resnet"])
