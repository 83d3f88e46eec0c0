"""Blocks of convolutional networks, biases alone, block after block, and the whole network."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embedkit import FeatureRequest, FeatureStore, TuningSettings
from embedkit.adaptation import climb_ladder
from embedkit.adaptation import rungs as steps
from embedkit.adaptation.maps import Prefix, cache_maps, specs_of
from embedkit.adaptation.networks import depths_of, tunable_network
from embedkit.adaptation.pixels import Pixels
from embedkit.adaptation.start import fit_head
from embedkit.adaptation.tail import Tail
from embedkit.adaptation.training import Schedule, logits_of, train
from embedkit.extraction import run
from tests.adaptation.scenes import BLOCKS, CLASSES, Scene, pictures, request


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("store"))


def of_convolutions(model: str, size: tuple[int, int]) -> FeatureRequest:
    return FeatureRequest(model, "random", preprocess={"input_size": size}, precision="fp32", engine="torch")


@pytest.mark.parametrize(("model", "depths"), [("test_efficientnet", (2,)), ("mobilenetv2_035", (2, 4))])
def test_the_last_stages_on_cached_maps_start_from_the_frozen_features(tmp_path: Path, model: str, depths: Any) -> None:
    asked = of_convolutions(model, (64, 96))
    source, y = pictures(12)
    store, rows = FeatureStore(tmp_path), np.arange(12)
    found = run(source, asked, store)
    X = found.features.get(found.digests).astype(np.float32)
    head = fit_head(X, y, rows, 0.01, CLASSES)
    network = tunable_network(asked, CLASSES)
    assert depths_of(network, None) == depths
    prefix = Prefix(request=asked, layers={depth: network.layers[depth] for depth in depths}, views=0, seed=0)
    maps, _ = cache_maps(source, rows, prefix, store)
    expected = head.logits(X)
    for depth in depths:
        tail = Tail(network, depth)
        tail.set_head(head)
        read = functools.partial(maps.read, depth)
        np.testing.assert_allclose(logits_of(tail, read, rows), expected, atol=2e-2 * np.abs(expected).max())
        before = {name: one.clone() for name, one in tail.model.state_dict().items()}
        trained = train(tail, read, y.astype(np.intp), rows, 0, Schedule(rate=1e-2, epochs=2, batch_size=6))
        after = tail.model.state_dict()
        changed = {name for name, one in after.items() if not torch.equal(one, before[name])}
        assert changed == set(trained.state)  # no running mean or variance among them
        blocks = len(network.blocks)
        tuned = {int(name.split(".")[1]) for name in changed if name.startswith("blocks.")}
        assert tuned == set(range(blocks - depth, blocks))
        assert {"conv_head.weight", "bn2.bias", "classifier.weight"} <= changed
        tail.load({name: before[name].numpy() for name in changed})


def test_stages_that_no_layer_ends_at_are_named() -> None:
    from embedkit.errors import AdaptationError

    network = tunable_network(of_convolutions("mobilenetv2_035", (64, 64)), 2)
    with pytest.raises(
        AdaptationError, match="3 blocks .* this network of 7 can be taken apart before the last 2, 4, 5, 6"
    ):
        depths_of(network, (3,))


def test_of_biases_nothing_else_changes(scene: Scene) -> None:
    tail = scene.tail(2)
    before = {name: one.clone() for name, one in tail.model.state_dict().items()}
    tail.set_depth(2, part="bias")
    trained = train(tail, scene.read(2), scene.y, scene.problem.fit, 0, Schedule(rate=1e-2, epochs=2))
    changed = {name for name, one in tail.model.state_dict().items() if not torch.equal(one, before[name])}
    assert changed == set(trained.state)
    assert {name.rpartition(".")[2] for name in changed - {"head.weight"}} == {"bias"}
    assert {name.split(".")[1] for name in changed if name.startswith("blocks.")} == {"2", "3"}


def test_block_after_block_begins_to_learn(scene: Scene) -> None:
    moved: list[set[int]] = []
    tail = scene.tail(3 - 1)
    last = {name: one.clone() for name, one in tail.model.state_dict().items()}

    def look() -> None:
        now = {name: one.clone() for name, one in tail.model.state_dict().items()}
        parts = {
            int(name.split(".")[1]) for name in now if "blocks." in name and not torch.equal(now[name], last[name])
        }
        moved.append(parts)
        last.update(now)

    schedule = Schedule(rate=1e-2, epochs=4, gradual=True)
    trained = train(tail, scene.read(2), scene.y, scene.problem.fit, 0, schedule, step=look)
    assert moved[0] == {BLOCKS - 1}
    assert moved[1] == moved[2] == {BLOCKS - 2, BLOCKS - 1}
    tail = scene.tail(2)
    assert set(trained.state) == set(tail.state())


def test_the_whole_network_from_pixels_starts_from_the_frozen_features_and_all_of_it_learns(scene: Scene) -> None:
    pixels = Pixels(scene.source, specs_of(scene.prefix, scene.store))
    tail, rows = scene.tail(BLOCKS), np.arange(len(scene.y))
    expected = scene.head().logits(scene.X)
    np.testing.assert_allclose(logits_of(tail, pixels.read, rows), expected, atol=2e-4 * np.abs(expected).max())
    assert not np.allclose(pixels.read(rows[:2], 1), pixels.read(rows[:2], 2))
    before = {name: one.clone() for name, one in tail.model.state_dict().items()}
    trained = train(tail, pixels.read, scene.y, scene.problem.fit, 2, Schedule(rate=1e-2, epochs=1, batch_size=6))
    still = {name for name, one in tail.model.state_dict().items() if torch.equal(one, before[name])}
    assert not still
    assert {"pos_embed", "cls_token", "patch_embed.proj.weight"} <= set(trained.state)
    assert trained.losses[0] == pytest.approx(np.log(3), abs=1)


def test_all_rungs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "_supports", lambda best, start, trials: True)
    scene = Scene(tmp_path, depths=(1,), views=0)
    settings = TuningSettings(
        depths=(1,), rates=(1e-3,), epochs=1, trial_epochs=1, views=0, rank=2, skip=("head", "lora")
    )
    ladder = climb_ladder(
        scene.X, scene.problem, scene.judged, scene.source, request(), scene.store, until="full", settings=settings
    )
    assert [one.tuned.rung for one in ladder.rungs] == ["frozen", "cached", "bias", "gradual", "full"]
    assert [one.tuned.depth for one in ladder.rungs] == [0, 1, 1, 1, BLOCKS]
    sizes = {one.tuned.rung: one.tuned.parameters for one in ladder.rungs}
    assert sizes["bias"] < sizes["cached"] == sizes["gradual"] < sizes["full"]
    assert ladder.tail is not None
    assert ladder.tail.whole


def test_where_memory_ends_fewer_images_at_once_give_the_same_gradients(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def trained() -> dict[str, np.ndarray]:
        schedule = Schedule(rate=1e-3, epochs=2, batch_size=9)
        return train(scene.tail(2), scene.read(2), scene.y, scene.problem.fit, 2, schedule).state

    expected = trained()
    forward = Tail.forward

    def small(self: Tail, entering: torch.Tensor) -> torch.Tensor:
        if len(entering) > 3:
            raise RuntimeError(
                "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"
            )
        return forward(self, entering)

    monkeypatch.setattr(Tail, "forward", small)
    got = trained()
    for name, one in expected.items():
        np.testing.assert_allclose(got[name], one, atol=2e-4)  # Adam makes whole steps of differences in rounding
    assert [record.getMessage() for record in caplog.records] == [
        "memory ended: going on with 5 images at once, to the same gradients",
        "memory ended: going on with 3 images at once, to the same gradients",
    ]
    assert len(logits_of(scene.tail(2), scene.read(2), np.arange(20))) == 20

    def none(self: Tail, entering: torch.Tensor) -> torch.Tensor:
        raise MemoryError

    from embedkit.errors import AdaptationError

    monkeypatch.setattr(Tail, "forward", none)
    with pytest.raises(AdaptationError, match="memory does not hold the tuning of one image"):
        trained()
