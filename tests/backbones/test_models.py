from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm
import timm.models
import torch
from safetensors.torch import save_file

from embedkit.backbones import FeatureRequest, load_backbone
from embedkit.backbones.models import list_models, resolve_model
from embedkit.errors import UnknownModelError, UsageError, WeightsError, WeightsNotFoundError

create: Any = timm.create_model
anything: Any = timm.models


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, and a hub that nobody answers for: the folder of the cache."""
    constants: Any = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    (tmp_path / "hub").mkdir()
    return tmp_path / "hub"


def put_into_cache(hub: Path, repository: str, file: Path) -> None:
    """Lay a file into the hub's cache as a download would."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True, exist_ok=True)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text("0" * 40)
    (snapshot / file.name).write_bytes(file.read_bytes())


def saved_model(folder: Path, classes: int = 7, **arguments: Any) -> Path:
    """A folder as timm saves a model: its weights and config.json."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        model = create("resnet10t", num_classes=classes, **arguments)
    folder.mkdir()
    save_file(model.state_dict(), folder / "model.safetensors")
    from timm.models import _hub

    anything_hub: Any = _hub
    anything_hub.save_config_for_hf(model, folder / "config.json", model_args=arguments)
    return folder


def test_unknown_models_come_with_their_nearest_names() -> None:
    with pytest.raises(UnknownModelError, match="nearest names are .*resnet50") as caught:
        load_backbone(FeatureRequest("resnet_50", "random"))
    assert isinstance(caught.value, LookupError)
    assert "\n" not in str(caught.value)
    with pytest.raises(UnknownModelError, match="no name is near"):
        resolve_model("qqqqqqqqqqqqqqq")
    with pytest.raises(UnknownModelError, match="no tag 'b9_in1k' of resnet18; its tags are .*resnet18.a1_in1k"):
        resolve_model("resnet18.b9_in1k")


@pytest.mark.parametrize("name", ["timm/resnet18", "ftp:resnet18", "hf-hub:"])
def test_names_that_look_like_something_else(name: str) -> None:
    with pytest.raises(UsageError, match="hf-hub:.* or local-dir:"):
        resolve_model(name)


def test_missing_pretrained_weights_fail_at_once_and_say_what_to_do(no_hub: Path) -> None:
    began = time.perf_counter()
    with pytest.raises(WeightsNotFoundError) as caught:
        load_backbone(FeatureRequest("resnet18.a1_in1k"))
    assert time.perf_counter() - began < 8
    message = str(caught.value)
    for words in ("timm/resnet18.a1_in1k/model.safetensors", str(no_hub), "--weights FILE", "HF_HUB_CACHE"):
        assert words in message
    assert "\n" not in message


def test_offline_is_said(no_hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsNotFoundError, match="HF_HUB_OFFLINE is set"):
        load_backbone(FeatureRequest("resnet18.a1_in1k"))


def test_weights_in_the_hubs_cache_need_no_hub(no_hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "model.safetensors"
    save_file(create("resnet10t", num_classes=1000).state_dict(), file)
    repository = anything.get_pretrained_cfg("resnet10t").hf_hub_id
    name = anything.get_pretrained_cfg("resnet10t")
    tagged = f"{repository}resnet10t.{name.tag}" if repository.endswith("/") else repository
    put_into_cache(no_hub, tagged, file)
    monkeypatch.setattr(socket.socket, "connect", _refuse)
    cached = load_backbone(FeatureRequest("resnet10t", precision="fp32", engine="torch"))
    given = load_backbone(FeatureRequest("resnet10t", str(file), precision="fp32", engine="torch"))
    assert cached.spec == given.spec
    assert no_hub in cached.weights_files[0].parents


def _refuse(*_: Any) -> None:
    raise AssertionError("the network was asked")


def test_weights_that_are_only_at_an_address(no_hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(WeightsNotFoundError, match=r"gcvit_tiny_224_nvidia-.*\.pth is neither in .*no route to host"):
        load_backbone(FeatureRequest("gcvit_tiny"))
    file = no_hub.parent / "torch" / "checkpoints" / "gcvit_tiny_224_nvidia-ac783954.pth"
    file.write_bytes(b"cut")
    with pytest.raises(WeightsError, match="cut short or damaged|are damaged"):
        load_backbone(FeatureRequest("gcvit_tiny"))


def test_an_architecture_without_pretrained_weights() -> None:
    with pytest.raises(WeightsError, match="no pretrained weights of resnet10t_nothing|no pretrained weights of"):
        load_backbone(FeatureRequest(untrained()))


def untrained() -> str:
    trained = {name.split(".")[0] for name in anything.list_models(pretrained=True)}
    return next(name for name in anything.list_models("resnet*") if name not in trained)


def test_a_folder_that_timm_saved(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "mine", stem_width=16)
    backbone = load_backbone(FeatureRequest(f"local-dir:{folder}", precision="fp32", engine="torch"))
    assert backbone.spec.architecture == "resnet10t"
    assert backbone.spec.model_args == {"stem_width": 16}
    assert backbone.weights_files == (folder / "model.safetensors",)
    named = FeatureRequest(
        "resnet10t",
        str(folder / "model.safetensors"),
        model_args={"stem_width": 16},
        precision="fp32",
        engine="torch",
    )
    assert load_backbone(named).spec == backbone.spec, "two names of the same thing"
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsNotFoundError, match="no weights in"):
        load_backbone(FeatureRequest(f"local-dir:{folder}"))
    (folder / "config.json").write_text("{")
    with pytest.raises(WeightsNotFoundError, match="config.json could not be read"):
        load_backbone(FeatureRequest(f"local-dir:{folder}"))
    with pytest.raises(WeightsNotFoundError, match="config.json could not be read"):
        load_backbone(FeatureRequest(f"local-dir:{tmp_path / 'none'}"))


def test_a_repository_in_the_hubs_cache(no_hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved_model(tmp_path / "mine")
    with pytest.raises(WeightsNotFoundError, match="someone/model/config.json is neither in"):
        load_backbone(FeatureRequest("hf-hub:someone/model"))
    for name in ("config.json", "model.safetensors"):
        put_into_cache(no_hub, "someone/model", folder / name)
    monkeypatch.setattr(socket.socket, "connect", _refuse)
    there = load_backbone(FeatureRequest("hf-hub:someone/model", precision="fp32", engine="torch"))
    here = load_backbone(FeatureRequest(f"local-dir:{folder}", precision="fp32", engine="torch"))
    assert there.spec == here.spec


def test_models_are_listed_without_weights_or_network(
    no_hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket.socket, "connect", _refuse)
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"whatever")
    put_into_cache(no_hub, "timm/resnet10t.c3_in1k", file)
    listed = {info.name: info for info in list_models("resnet10t*")}
    assert set(listed) == {"resnet10t", *anything.list_models("resnet10t*", pretrained=True)}
    info = listed["resnet10t.c3_in1k"]
    assert info.parameters == sum(p.numel() for p in create("resnet10t", num_classes=0).parameters())
    assert (info.width, info.input_size, info.weights_at_hand) == (512, (176, 176), True)
    assert [info.name for info in list_models("mobilenetv2_050")] == ["mobilenetv2_050", "mobilenetv2_050.lamb_in1k"]
    assert not next(iter(list_models("mobilenetv2_050"))).weights_at_hand
    assert list(list_models("no_such_*")) == []


@pytest.mark.parametrize(
    "name", ["mobilenetv3_small_100", "vit_tiny_patch16_224", "vgg11", "convnext_atto", "pit_ti_224"]
)
def test_the_listed_width_is_the_measured_one(name: str) -> None:
    infos = [info for info in list_models(f"{name}.*") if info.name.split(".")[0] == name]
    backbone = load_backbone(FeatureRequest(name, "random", precision="fp32", engine="torch"))
    assert {info.width for info in infos} == {backbone.spec.width}
