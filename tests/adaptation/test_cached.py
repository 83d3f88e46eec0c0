"""Tuning on cached maps is tuning the network: the same start, the same training, one pass of the prefix."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch

from embedkit import FeatureRequest, FeatureStore, open_source
from embedkit.adaptation.maps import Prefix, cache_maps
from embedkit.adaptation.networks import depths_of, tunable_network
from embedkit.adaptation.start import fit_head
from embedkit.adaptation.tail import Tail
from embedkit.adaptation.training import Schedule, logits_of, train
from embedkit.backbones import load_backbone
from embedkit.errors import AdaptationError
from embedkit.extraction import run
from embedkit.images import digest_pixels, to_rgb
from embedkit.preprocess import Preprocessor
from tests.adaptation.scenes import ARGS, BLOCKS, CLASSES, MODEL, Scene, request


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("store"))


@pytest.mark.parametrize("depth", [1, 2])
def test_the_start_is_the_classifier_on_frozen_features(scene: Scene, depth: int) -> None:
    rows = np.arange(len(scene.y))
    frozen = scene.head().logits(scene.X)
    start = logits_of(scene.tail(depth), scene.read(depth), rows)
    np.testing.assert_allclose(start, frozen, atol=5e-3 * np.abs(frozen).max())  # maps are fp16
    assert (start.argmax(1) == frozen.argmax(1)).mean() > 0.95


def pixels(scene: Scene, view: int) -> np.ndarray:
    """Preprocess the pictures without the runner."""
    spec = scene.maps.sets[1][view].spec
    prepared = [
        Preprocessor(spec.preprocess)(to_rgb(image, spec.decode), digest_pixels(image))  # pyright: ignore
        for image in scene.source.images
    ]
    return np.stack(prepared)


def test_training_on_cached_maps_is_training_with_the_prefix_recomputed(scene: Scene) -> None:
    backbone = load_backbone(request())
    images = {view: torch.from_numpy(pixels(scene, view)) for view in range(3)}
    recomputed = tunable_network(request(), CLASSES).model

    def read(rows: np.ndarray, views: np.ndarray | int) -> np.ndarray:
        """Run the blocks before the tuned ones by timm's own methods."""
        wanted = np.broadcast_to(views, rows.shape)
        with torch.no_grad():
            x = torch.stack([images[int(view)][row] for row, view in zip(rows, wanted, strict=True)]).float()
            x = recomputed.patch_embed((x - backbone.module.shift) / backbone.module.scale)
            x = recomputed.norm_pre(recomputed.patch_drop(recomputed._pos_embed(x)))
            for block in recomputed.blocks[: BLOCKS - 2]:
                x = block(x)
        return x.flatten(1).numpy()

    schedule = Schedule(rate=1e-3, epochs=3, batch_size=8)
    runs = []
    for reader in (scene.read(2), read):
        tail = scene.tail(2)
        trained = train(tail, reader, scene.y, scene.problem.fit, 2, schedule, select=scene.problem.select)
        runs.append((trained, logits_of(tail, reader, scene.judged)))
    (cached, got), (plain, expected) = runs
    np.testing.assert_allclose(cached.losses, plain.losses, rtol=2e-3)
    np.testing.assert_allclose(got, expected, atol=2e-2 * np.abs(expected).max())
    moved = {name: np.abs(plain.state[name] - start).max() for name, start in scene.tail(2).state().items()}
    assert min(moved.values()) > 0  # every tensor of the last two blocks, the norm and the classifier
    assert not np.allclose(expected, logits_of(scene.tail(2), read, scene.judged), atol=2e-2 * np.abs(expected).max())


def test_blocks_before_the_tuned_ones_stay_as_they_are(scene: Scene) -> None:
    before = tunable_network(request(), CLASSES).model.state_dict()
    tail = scene.tail(1)
    train(tail, scene.read(1), scene.y, scene.problem.fit, 0, Schedule(rate=1e-2, epochs=1))
    changed = {name for name, one in tail.model.state_dict().items() if not torch.equal(one, before[name])}
    assert changed == {name for name, _ in tail.trained()}
    assert {name.split(".")[1] for name in changed if name.startswith("blocks.")} == {"3"}


def test_one_pass_of_the_prefix_an_image_and_view_ever(scene: Scene) -> None:
    assert [one.forward_passes for one in scene.passes] == [36, 36, 27, 27, 27, 27]  # two depths: one pass, two outputs
    _, again = cache_maps(scene.source, scene.problem.train, scene.prefix, scene.store)
    assert sum(one.forward_passes for one in again) == 0
    assert {one.features.spec.dtype for one in again} == {"float16"}


def test_maps_larger_than_the_disk_are_refused_before_a_pass(
    scene: Scene, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 10**6 - 1000, 1000))
    prefix = Prefix(request=request(), layers={3: 0}, views=7, seed=0)
    with pytest.raises(AdaptationError, match=r"7 views of 27 take .* GB free: take fewer views"):
        cache_maps(scene.source, scene.problem.train, prefix, scene.store)


def test_a_diverging_loss_stops_with_step_rate_and_advice(scene: Scene) -> None:
    with pytest.raises(
        AdaptationError, match=r"the loss is (nan|inf) in step \d+ at a rate of 1e\+30: .* smaller rate"
    ):
        train(scene.tail(1), scene.read(1), scene.y, scene.problem.fit, 0, Schedule(rate=1e30, epochs=9, clip=1e30))


def test_networks_that_cannot_be_taken_apart() -> None:
    with pytest.raises(AdaptationError, match="is a ResNet, and only blocks of timm's vision transformers"):
        tunable_network(FeatureRequest("test_resnet", "random"), 2)
    with pytest.raises(AdaptationError, match="4 blocks are to be tuned, expected fewer than the 4"):
        depths_of(tunable_network(request(), 2), (4,))
    with pytest.raises(AdaptationError, match="5 blocks are to be tuned, and the network has 4"):
        Tail(tunable_network(request(), 2), 5)


@pytest.mark.parametrize(
    ("blocks", "depths"), [(2, (1,)), (3, (1, 2)), (4, (2,)), (6, (2, 3)), (7, (2, 3)), (12, (2, 6)), (24, (2, 12))]
)
def test_depths_that_are_tried_fit_networks_of_any_number_of_blocks(blocks: int, depths: tuple[int, ...]) -> None:
    small = FeatureRequest(MODEL, "random", model_args={**ARGS, "depth": blocks, "embed_dim": 12})
    assert depths_of(tunable_network(small, 2), None) == depths


def test_on_real_photos_the_start_is_what_a_probe_of_real_weights_says(assets: Path, tmp_path: Path) -> None:
    source = open_source(assets / "data" / "grocery" / "split.csv")
    part = source.some(np.arange(len(source)) % 127 == 0)
    real = FeatureRequest(
        "vit_tiny_patch16_224",
        str(assets / "weights" / "vit_tiny_patch16_224.safetensors"),
        precision="fp32",
        engine="torch",
    )
    store, y = FeatureStore(tmp_path), np.arange(len(part)) % 3
    found = run(part, real, store)
    X = found.features.get(found.digests).astype(np.float32)
    head = fit_head(X, y, np.arange(len(part)), 1.0, 3)
    prefix = Prefix(request=real, layers={2: 9, 6: 5}, views=0, seed=0)
    maps, _ = cache_maps(part, np.arange(len(part)), prefix, store)
    for depth in (2, 6):
        tail = Tail(tunable_network(real, 3), depth)
        tail.set_head(head)
        start = logits_of(tail, lambda rows, _, depth=depth: maps.read(depth, rows), np.arange(len(part)))
        np.testing.assert_allclose(start, head.logits(X), atol=5e-3 * np.abs(start).max())
