from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from embedkit.backbones import FeatureRequest, load_backbone
from embedkit.backbones.weights import backbone_digest, read_weights
from embedkit.errors import WeightsError, WeightsNotFoundError
from tests.backbones.scenes import timm_model

NAME = "resnet10t"
create: Any = timm.create_model


def digest_of(file: Path, name: str = NAME) -> str:
    return load_backbone(FeatureRequest(name, str(file), precision="fp32", engine="torch")).spec.weights


def trained(classes: int = 10) -> dict[str, torch.Tensor]:
    """A state dict whose batch norms have seen images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = create(NAME, num_classes=classes).train()
        with torch.no_grad():
            model(torch.rand(4, 3, 64, 64))
        return model.state_dict()


def test_a_digest_names_the_tensors_whatever_file_they_are_in(tmp_path: Path) -> None:
    weights = trained()
    save_file(weights, tmp_path / "a.safetensors")
    torch.save(weights, tmp_path / "a.pth")
    torch.save(weights, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.save({f"module.{name}": tensor for name, tensor in weights.items()}, tmp_path / "parallel.pt")
    torch.save({"state_dict": weights, "epoch": 3}, tmp_path / "wrapped.pth")
    torch.save({"model": {f"_orig_mod.module.{k}": v for k, v in weights.items()}}, tmp_path / "compiled.bin")
    counted = {name: tensor + 5 if name.endswith("num_batches_tracked") else tensor for name, tensor in weights.items()}
    torch.save(counted, tmp_path / "counted.pth")
    torch.save({name: tensor for name, tensor in weights.items() if "fc." not in name}, tmp_path / "headless.pth")
    digests = {file.name: digest_of(file) for file in tmp_path.iterdir()}
    assert len(digests) == 8
    assert len(set(digests.values())) == 1, digests


def test_a_digest_ignores_the_classifier_and_nothing_else(tmp_path: Path) -> None:
    weights = trained()
    save_file(weights, tmp_path / "a.safetensors")
    other_head = {name: torch.rand_like(t) if name.startswith("fc.") else t for name, t in weights.items()}
    save_file(other_head, tmp_path / "head.safetensors")
    first = digest_of(tmp_path / "a.safetensors")
    assert digest_of(tmp_path / "head.safetensors") == first
    for name in ("conv1.0.weight", "layer4.0.bn2.running_var", "layer2.0.bn1.bias"):
        changed = dict(weights)
        changed[name] = weights[name].clone()
        changed[name].view(-1)[0] += 1e-3
        save_file(changed, tmp_path / "changed.safetensors")
        assert digest_of(tmp_path / "changed.safetensors") != first, name


def test_a_digest_is_of_names_types_shapes_and_bytes() -> None:
    def module(**tensors: torch.Tensor) -> torch.nn.Module:
        holder = torch.nn.Module()
        for name, tensor in tensors.items():
            holder.register_buffer(name, tensor)
        return holder

    base = backbone_digest(module(a=torch.zeros(4), b=torch.ones(2, 3)))
    assert base.startswith("sha256:")
    assert len(base) == 7 + 64
    assert backbone_digest(module(b=torch.ones(2, 3), a=torch.zeros(4))) == base, "order of registration"
    assert backbone_digest(module(a=torch.zeros(4), b=torch.ones(3, 2).t().contiguous())) == base
    assert backbone_digest(module(a=torch.zeros(8)[::2], b=torch.ones(2, 3))) == base, "strides"
    others = [
        module(a=torch.zeros(4), b=torch.ones(3, 2)),
        module(a=torch.zeros(4), c=torch.ones(2, 3)),
        module(a=torch.zeros(4, dtype=torch.int32), b=torch.ones(2, 3)),
        module(a=torch.zeros(2), b=torch.ones(2, 3)),
    ]
    assert base not in {backbone_digest(other) for other in others}
    # A digest that a later version must reproduce: it is part of every fingerprint.
    assert base == "sha256:774abb406cbea7fcc24b1dd37fad942aca1f919ab15ec0ad4e96ab6137474d20"


def test_the_number_of_classes_is_read_from_the_weights(tmp_path: Path) -> None:
    digests: set[str] = set()
    features: list[Any] = []
    for classes in (2, 37):
        file = tmp_path / f"{classes}.pth"
        torch.save(trained(classes), file)
        backbone = load_backbone(FeatureRequest(NAME, str(file), precision="fp32", engine="torch"))
        features.append(backbone(np.zeros((1, 3, 176, 176), np.uint8)))
        digests.add(backbone.spec.weights)
        assert backbone.weights_files == (file,)
    assert features[0].shape == (1, 512)


def test_position_embeddings_follow_the_input_size(assets: Path) -> None:
    file = assets / "weights" / "vit_tiny_patch16_224.safetensors"
    from embedkit.backbones import PreprocessOverrides

    request = FeatureRequest(
        "vit_tiny_patch16_224",
        str(file),
        precision="fp32",
        engine="torch",
        preprocess=PreprocessOverrides(input_size=(160, 160)),
    )
    backbone = load_backbone(request)
    assert backbone.spec.model_args == {"img_size": [160, 160]}
    assert backbone.preprocess.input_size == (160, 160)
    assert np.isfinite(backbone(np.zeros((1, 3, 160, 160), np.uint8))).all()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "git lfs pull"),
        (b"", "no readable safetensors"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{not json at all", "no readable safetensors"),
        (b"<html>404</html>" * 9, "no readable safetensors"),
    ],
)
def test_a_file_that_is_no_safetensors(content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=words):
        read_weights(file)


def test_a_file_cut_short(tmp_path: Path) -> None:
    weights = trained()
    save_file(weights, tmp_path / "a.safetensors")
    torch.save(weights, tmp_path / "a.pth")
    for name in ("a.safetensors", "a.pth"):
        content = (tmp_path / name).read_bytes()
        for length in (0, 7, 100, len(content) // 2, len(content) - 1):
            (tmp_path / name).write_bytes(content[:length])
            with pytest.raises(WeightsError, match="cut short or damaged|are damaged"):
                read_weights(tmp_path / name)


class Evil:
    def __reduce__(self) -> Any:
        return print, ("code in a weights file ran",)


def test_code_in_a_file_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {"a": torch.zeros(1)}, "extra": Evil()}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"save the state dict alone") as caught:
        read_weights(tmp_path / "a.pth")
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"state_dict": {}}])
def test_a_file_without_tensors(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="hold no tensors"):
        read_weights(tmp_path / "a.pth")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match="no such file") as caught:
        load_backbone(FeatureRequest(NAME, str(tmp_path / "none.pth")))
    assert isinstance(caught.value, FileNotFoundError)
    with pytest.raises(WeightsNotFoundError, match="a folder"):
        load_backbone(FeatureRequest(NAME, str(tmp_path)))
    (tmp_path / "a.npz").write_bytes(b"x")
    with pytest.raises(WeightsError, match="end in '.npz', expected .safetensors"):
        load_backbone(FeatureRequest(NAME, str(tmp_path / "a.npz")))


def test_weights_of_another_architecture_name_the_keys_and_the_likely_one(tmp_path: Path) -> None:
    file = tmp_path / "resnet18.some_tag.pth"
    torch.save(create("resnet18", num_classes=5).state_dict(), file)
    with pytest.raises(WeightsError) as caught:
        load_backbone(FeatureRequest(NAME, str(file)))
    message = str(caught.value)
    assert "do not fit resnet10t" in message
    assert "missing: conv1.0.weight" in message
    assert "unexpected: conv1.weight" in message
    assert message.endswith("going by its name the file is for resnet18")
    assert "\n" not in message


def test_one_key_too_many_or_too_few_does_not_pass(tmp_path: Path) -> None:
    weights = trained()
    cases = {
        "missing: layer1.0.conv1.weight": {k: v for k, v in weights.items() if k != "layer1.0.conv1.weight"},
        "unexpected: layer9.weight": {**weights, "layer9.weight": torch.zeros(1)},
        r"of another shape: layer1.0.bn1.weight \(is \(3,\), expected \(64,\)\)": {
            **weights,
            "layer1.0.bn1.weight": torch.zeros(3),
        },
    }
    for words, changed in cases.items():
        torch.save(changed, tmp_path / "a.pth")
        with pytest.raises(WeightsError, match=words):
            load_backbone(FeatureRequest(NAME, str(tmp_path / "a.pth")))


def test_random_weights_are_the_same_each_time_and_leave_the_generator_alone() -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first = load_backbone(FeatureRequest(NAME, "random", precision="fp32", engine="torch"))
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(12)
    second = load_backbone(FeatureRequest(NAME, "random", precision="fp32", engine="torch"))
    assert first.spec == second.spec
    assert first.spec.weights == backbone_digest(timm_model(NAME))
    assert "floor" in first.provenance["note"]


def test_weights_that_say_they_become_much_more_than_they_are_are_refused(tmp_path: Path) -> None:
    """One number as 16 G of them; and, before zips, a storage of as many numbers as its file never had."""
    torch.save({"fc.weight": torch.zeros(1).expand(1 << 34)}, tmp_path / "repeated.pth")
    torch.save({"fc.weight": torch.zeros(100_000)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    content = (tmp_path / "old.pth").read_bytes()
    count = b"J" + (100_000).to_bytes(4, "little")
    assert content.count(count) == 2
    (tmp_path / "old.pth").write_bytes(content.replace(count, b"J" + (2**31 - 1).to_bytes(4, "little")))
    for file in ("repeated.pth", "old.pth"):
        with pytest.raises(WeightsError, match=f"{file} say that their [0-9,]+ bytes become [0-9,]+: they are made up"):
            read_weights(tmp_path / file)


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x02", b"PK\x03\x04", b"(lp0\nI1\na.", b"\x80\x02}q\x00.", b"\x93" * 50]
)
def test_no_torch_file_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"w\.pth") as error:
        read_weights(tmp_path / "w.pth")
    assert "\n" not in str(error.value)
