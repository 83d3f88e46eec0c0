"""A leaderboard on real photographs and real weights, reproduced to the last bit from an empty store."""

from __future__ import annotations

import csv
import json

import pytest

from embedkit import FeatureRequest, compare

pytestmark = pytest.mark.assets

# A few classes of each set and one image in so many, so that two runs of all networks stay short.
SUBSET = {"grocery": (8, 3), "pacs": (3, 8)}


@pytest.fixture(scope="module")
def manifests(assets, tmp_path_factory):
    """Manifests of a part of grocery and pacs."""
    folder = tmp_path_factory.mktemp("subset")
    made = []
    for data, (count, step) in SUBSET.items():
        root = assets / "data" / data
        with (root / "split.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["split"] in ("train", "test")]
        labels = sorted({row["label"] for row in rows})
        kept = labels[:: len(labels) // count][:count]
        rows = [row for row in rows if row["label"] in kept]
        path = folder / data / "split.csv"
        path.parent.mkdir()
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("path", "label", "split"))
            writer.writerows((str(root / row["path"]), row["label"], row["split"]) for row in rows[::step])
        made.append(path)
    return made


def reproducible(comparison) -> list:
    boards = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))["leaderboards"]
    for board in boards:
        for row in board["rows"]:
            del row["fit_seconds"], row["images_per_second"]
    return boards


def test_ordering_intervals_and_p_values_are_reproduced_bit_for_bit(assets, manifests, tmp_path):
    models = [
        FeatureRequest(model, weights=str(assets / "weights" / f"{model}.safetensors"))
        for model in ("mobilenetv2_100", "vit_tiny_patch16_224")
    ]
    first = compare(manifests, models, store=tmp_path / "one")
    second = compare(manifests, models, store=tmp_path / "two")
    assert reproducible(first) == reproducible(second)
    for board in first.leaderboards:
        values = {row.model: row.value for row in board.rows}
        assert len(values) == 6
        for model in ("mobilenetv2_100", "vit_tiny_patch16_224"):
            assert values[model] > values[f"{model} random weights"]
            assert values[model] > values["pixels32"]
        assert board.rows[0].rank == 1
        assert len(board.pairs) == 15
