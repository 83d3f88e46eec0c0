"""A start in a wider network: what is kept of it and what is fitted, beside the same done by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from embedkit import FeatureRequest
from embedkit.adaptation import build_student
from embedkit.adaptation.bottlenecks import Layer, blocks_of, has_bottlenecks, stem_and_head
from embedkit.adaptation.keeping import Stream, directions, kept_channels
from embedkit.adaptation.narrowing import narrow
from embedkit.adaptation.student import Student
from embedkit.errors import AdaptationError

MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
SIDE = 64
WIDER = {"mobilenetv2_035": "mobilenetv2_050", "semnasnet_050": "semnasnet_075"}


def draw(count: int, seed: int = 3) -> np.ndarray:
    """Draw images that have a little more structure than noise."""
    small = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return small.repeat(SIDE // 8, axis=1).repeat(SIDE // 8, axis=2)


def student(name: str, wider: str | None = None, pixels: np.ndarray | None = None) -> Student:
    request = None if wider is None else FeatureRequest(wider, "random")
    return build_student(
        FeatureRequest(name, "random"), MEAN, STD, (SIDE, SIDE), outputs=4, wider=request, pixels=pixels
    )


def features(one: Student, pixels: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return one.network.eval()(one.normalised(pixels)).numpy().astype(np.float64)


def outputs_of(one: Student, name: str, pixels: np.ndarray) -> np.ndarray:
    """Return what a part of a network gives."""
    seen: list[np.ndarray] = []
    part = one.network.get_submodule(name)
    hook = part.register_forward_hook(lambda _part, _inputs, output: seen.append(output.detach().numpy().copy()))
    features(one, pixels)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("name", ["mobilenetv2_035", "semnasnet_050"])
def test_a_network_narrowed_to_its_own_width_is_that_network(name: str) -> None:
    pixels = draw(48)
    same, plain = student(name, name, pixels), student(name)
    ours, theirs = features(same, pixels), features(plain, pixels)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.99


def test_each_channel_of_a_narrowed_network_varies_as_in_the_wider_one() -> None:
    pixels, name = draw(48), "blocks.1.0.bn1"
    few, many = student("lcnet_035", "lcnet_050", pixels), student("lcnet_050")
    for one in (few, many):
        one.network.get_submodule(name).act = torch.nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
    narrowed, whole = outputs_of(few, name, pixels), outputs_of(many, name, pixels)
    chosen = whole[:, np.linspace(0, whole.shape[1] - 1, narrowed.shape[1]).round().astype(int)]
    np.testing.assert_allclose(narrowed.mean((0, 2, 3)), chosen.mean((0, 2, 3)), atol=0.05)
    np.testing.assert_allclose(narrowed.std((0, 2, 3)), chosen.std((0, 2, 3)), rtol=0.05, atol=1e-3)


@pytest.mark.parametrize("name", ["mobilenetv2_035", "semnasnet_050"])
def test_the_last_layer_is_the_least_squares_fit_to_the_wider_network(name: str) -> None:
    pixels = draw(96)
    few, many = student(name, WIDER[name], pixels), student(WIDER[name])
    last = f"blocks.{len(few.network.blocks) - 1}"  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
    given, seen = (torch.from_numpy(outputs_of(one, last, pixels)) for one in (few, many))
    with torch.no_grad():
        (_, head), (_, wide_head) = stem_and_head(few.network), stem_and_head(many.network)
        fitted, wanted = (one.permute(0, 2, 3, 1).flatten(0, 2).double().numpy() for one in (
            head.linear(given), wide_head.linear(seen)))  # fmt: skip
    rows = given.permute(0, 2, 3, 1).flatten(0, 2).double().numpy()
    rows = np.column_stack([rows, np.ones(len(rows))])
    assert len(rows) > 2 * rows.shape[1]
    best = rows @ np.linalg.lstsq(rows, wanted, rcond=None)[0]
    of_best, of_fitted = (((one - wanted) ** 2).sum() for one in (best, fitted))
    assert of_best <= of_fitted < 1.02 * of_best + 1e-3 * ((wanted - wanted.mean(0)) ** 2).sum()
    # The statistics of its batch norm are those of what the convolution gives.
    given_of = head.conv(given).permute(0, 2, 3, 1).flatten(0, 2).detach().numpy()
    np.testing.assert_allclose(head.norm.running_mean.numpy(), given_of.mean(0), atol=1e-3)
    np.testing.assert_allclose(head.norm.running_var.numpy(), given_of.var(0), rtol=0.01, atol=1e-5)


def test_of_real_weights_a_fitted_start_is_nearer_to_the_wider_network_than_some_of_its_channels(
    assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = sorted((assets / "data" / "grocery").glob("*/*.jpg"))[::7]
    pixels = np.stack([np.asarray(Image.open(one).convert("RGB").resize((SIDE, SIDE))) for one in photos[:192]])
    wide = FeatureRequest("mobilenetv2_100", str(assets / "weights" / "mobilenetv2_100.safetensors"))
    whole = build_student(wide, MEAN, STD, (SIDE, SIDE), outputs=4)
    wanted = features(whole, pixels[1::2])

    def lost() -> float:
        request = FeatureRequest("mobilenetv2_075", "random")
        made = build_student(request, MEAN, STD, (SIDE, SIDE), outputs=4, wider=wide, pixels=pixels[::2])
        return float(((features(made, pixels[1::2]) - wanted) ** 2).sum() / ((wanted - wanted.mean(0)) ** 2).sum())

    fitted = lost()
    monkeypatch.setattr("embedkit.adaptation.narrowing.has_bottlenecks", lambda _network: False)
    some = lost()
    assert fitted < 0.5 * some


def test_networks_of_other_layers_are_told_apart() -> None:
    found = {name: has_bottlenecks(timm.create_model(name)) for name in (
        "mobilenetv2_050", "semnasnet_050", "tf_efficientnet_lite0", "lcnet_050", "mobilenetv3_small_050",
        "test_resnet", "test_efficientnet", "tf_efficientnetv2_b0", "mixnet_s",
    )}  # fmt: skip
    assert [name for name, fits in found.items() if fits] == [
        "mobilenetv2_050", "semnasnet_050", "tf_efficientnet_lite0"
    ]  # fmt: skip


def test_directions_lose_as_little_as_any_of_their_number_can() -> None:
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6))
    read = rng.normal(size=(9, 6))
    covariance = np.cov(mixed.T, bias=True)
    stream = Stream([torch.from_numpy(covariance)], [torch.from_numpy(part) for part in np.split(read, 3)])
    found = directions(stream, 3).numpy()
    codes = (mixed - mixed.mean(0)) @ found.T
    np.testing.assert_allclose(np.cov(codes.T, bias=True), np.eye(3), atol=0.01)
    wanted = (mixed - mixed.mean(0)) @ read.T
    lost = ((wanted - codes @ np.linalg.lstsq(codes, wanted, rcond=None)[0]) ** 2).sum()
    singular = np.linalg.svd(wanted, compute_uv=False)
    assert lost == pytest.approx((singular[3:] ** 2).sum(), rel=0.02)


def test_channels_are_left_out_one_after_the_other_by_what_that_costs_the_output() -> None:
    torch.manual_seed(0)
    channels, outputs, few = 10, 5, 4
    inner = Layer(torch.nn.Conv2d(3, channels, 1, bias=False), torch.nn.BatchNorm2d(channels))
    last = Layer(torch.nn.Conv2d(channels, outputs, 1, bias=False), torch.nn.BatchNorm2d(outputs))
    images = torch.randn(40, 3, 4, 4)
    read = torch.randn(7, outputs, dtype=torch.float64)
    with torch.no_grad():
        inner.norm.eval(), last.norm.eval()
        # Three channels of an image are too few for ten to be told apart by sums alone.
        inside = torch.relu(inner(images)) + 0.1 * torch.randn(40, channels, 4, 4)
        found = kept_channels([last], [inside], Stream([], [read]), few)
        rows = inside.permute(0, 2, 3, 1).flatten(0, 2).double().numpy()
        weights = last.weights().numpy()
    centred = rows - rows.mean(0)
    wanted = centred @ weights.T @ read.numpy().T
    strength = np.sqrt(1e-3 * centred.var(0).mean() * len(centred)) * np.eye(channels)
    rows, asked = np.concatenate([centred, strength]), np.concatenate([wanted, strength @ weights.T @ read.numpy().T])

    def cost(kept: list[int]) -> float:
        fitted: Any = np.linalg.lstsq(rows[:, kept], asked, rcond=None)[0]
        return float(((rows[:, kept] @ fitted - asked) ** 2).sum())

    left = list(range(channels))
    while len(left) > few:
        left = min(([one for one in left if one != out] for out in left), key=cost)
    assert found.tolist() == left


def test_a_start_by_blank_images_is_finite() -> None:
    network, wide = (timm.create_model(name, num_classes=0) for name in ("mobilenetv2_035", "mobilenetv2_050"))
    narrow(network, wide, [torch.zeros(4, 3, SIDE, SIDE)], "mobilenetv2_035", "mobilenetv2_050")
    assert all(torch.isfinite(one).all() for one in network.state_dict().values())
    assert len(blocks_of(network)) == len(blocks_of(wide))


@pytest.mark.parametrize("pixels", [None, draw(8)])
def test_a_network_of_another_family_is_no_start(pixels: np.ndarray | None) -> None:
    with pytest.raises(AdaptationError, match="test_resnet cannot start from mobilenetv2_050"):
        student("test_resnet", "mobilenetv2_050", pixels)
