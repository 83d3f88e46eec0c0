"""The shortlist: what is at hand, and what pays by timm's published numbers."""

from __future__ import annotations

import csv
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm
import torch

from benchmarks.shortlist import GAIN, paying, published, rows
from embedkit.backbones import list_models, shortlist, shortlist_source
from embedkit.backbones.request import BUNDLED_MODELS

PUBLISHED = Path(__file__).parent / "published"
anything: Any = timm


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of an empty cache, of a hub that nobody can reach."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    return tmp_path / "hub"


def put(hub: Path, name: str) -> None:
    snapshot = hub / f"models--timm--{name}" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
    (snapshot / "model.safetensors").write_bytes(b"weights")


def test_the_list_is_what_the_command_makes_of_timms_tables() -> None:
    """Of rows of timm's tables as they stand there: all that are on the list, and those that come near."""
    made = rows((PUBLISHED / "results-imagenet.csv").read_text(), (PUBLISHED / "pace.csv").read_text())
    lines = (resources.files("embedkit.backbones") / "shortlist.csv").read_text().splitlines()
    assert [{name: str(value) for name, value in row.items()} for row in made] == list(csv.DictReader(lines[1:]))
    assert lines[0].removeprefix("# ") == shortlist_source()


def test_what_pays_is_more_accurate_than_everything_faster() -> None:
    tables = [(PUBLISHED / name).read_text().splitlines() for name in ("results-imagenet.csv", "pace.csv")]
    models = published(*tables)
    chosen = paying(models, 74.846)
    assert 15 < len(chosen) < len(models)
    for milliseconds, top1, name in models:
        faster = [one[1] for one in chosen if (one[0], -one[1]) < (milliseconds, -top1)]
        pays = top1 >= 74.846 and top1 >= max(faster, default=0) + GAIN
        assert ((milliseconds, top1, name) in chosen) == pays, name
    assert not any(name.startswith("rexnetr_200") for *_, name in models), "measured at another size than the default"


def test_timm_has_weights_of_every_model_on_the_list() -> None:
    trained = set(anything.list_models(pretrained=True))
    assert [model.name for model in shortlist() if model.name not in trained] == []


def test_what_is_at_hand_comes_first(hub: Path) -> None:
    bundled = [f"{name}.in1k" for name in BUNDLED_MODELS]
    assert [model.name for model in shortlist() if model.weights_at_hand] == bundled
    put(hub, "caformer_s36.sail_in22k_ft_in1k")
    put(hub, "resnet10t.c3_in1k")
    put(hub, "no_model_of_timm")
    listed = shortlist()
    names = [model.name for model in listed]
    assert names[:5] == [*bundled, "caformer_s36.sail_in22k_ft_in1k", "resnet10t.c3_in1k"]
    assert [model.weights_at_hand for model in listed] == [True] * 5 + [False] * (len(listed) - 5)
    assert len(set(names)) == len(names)
    assert [model.download_bytes == 0 for model in listed] == [model.weights_at_hand for model in listed]
    first, small = listed[0], listed[4]
    assert (first.cost, first.top1, first.input_size, first.width) == (1.0, pytest.approx(0.74846), (224, 224), 1280)
    assert (small.top1, small.cost, small.width, small.input_size) == (None, None, 512, (176, 176))
    costs = [model.cost for model in listed[5:]]
    assert costs == sorted(costs, key=float)


def test_a_pattern_finds_architectures_and_pretrained_tags_alike(hub: Path) -> None:
    names = [model.name for model in list_models("vit_tiny*")]
    assert names == sorted(names)
    assert set(names) == {*anything.list_models("vit_tiny*"), *anything.list_models("vit_tiny*", pretrained=True)}
    assert {"vit_tiny_patch16_224", "vit_tiny_patch16_224.augreg_in21k_ft_in1k"} <= set(names)
    bundled = {model.name: model.weights_at_hand for model in list_models("tf_efficientnet_lite0")}
    assert bundled == {"tf_efficientnet_lite0": True, "tf_efficientnet_lite0.in1k": True}


def test_the_command_prints_the_shortlist() -> None:
    command = [sys.executable, "-c", "from embedkit_cli.main import main; main()", "models"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[1].split()[:4] == ["tf_efficientnet_lite0.in1k", "74.8", "%", "1.0"]
    assert len(lines) == 1 + len(shortlist())
    assert "timm's results/results-imagenet.csv" in done.stderr
