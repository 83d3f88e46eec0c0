"""When training stops, what is tried, and batch norms that learn."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embedkit import FeatureRequest, FeatureStore, TuningSettings
from embedkit.adaptation import climb_ladder
from embedkit.adaptation import training as loops
from embedkit.adaptation.maps import Prefix, cache_maps
from embedkit.adaptation.networks import check_statistics, tunable_network
from embedkit.adaptation.start import fit_head
from embedkit.adaptation.tail import Tail
from embedkit.adaptation.training import Schedule, train
from embedkit.errors import AdaptationError, UsageError
from embedkit.extraction import run
from tests.adaptation.scenes import CLASSES, Scene, pictures, request
from tests.adaptation.test_stages import of_convolutions


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("store"), depths=(1,))


def test_it_stops_where_the_rows_that_choose_lose_and_gives_back_the_best_epoch(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([0.9, 0.7, 0.8, 0.75, 0.71, 0.5])
    monkeypatch.setattr(loops, "score", lambda logits, y: (0.5, next(losses)))
    schedule = Schedule(rate=1e-2, epochs=6, batch_size=9, patience=3)
    states: list[Any] = []
    tail = scene.tail(1)
    stopped = train(
        tail,
        scene.read(1),
        scene.y,
        scene.problem.fit,
        0,
        schedule,
        select=scene.problem.select,
        checkpoint=tmp_path / "run.pt",
        step=lambda: states.append(tail.state()),
    )
    assert (stopped.epochs, stopped.best, stopped.stopped) == (5, 2, True)
    assert all(np.array_equal(one, states[1][name]) for name, one in stopped.state.items())
    assert not all(np.array_equal(one, states[-1][name]) for name, one in stopped.state.items())
    again = train(
        scene.tail(1),
        scene.read(1),
        scene.y,
        scene.problem.fit,
        0,
        schedule,
        select=scene.problem.select,
        checkpoint=tmp_path / "run.pt",
    )
    assert (again.epochs, again.best) == (5, 2)
    assert all(np.array_equal(one, stopped.state[name]) for name, one in again.state.items())
    kept = Schedule(rate=1e-2, epochs=6, batch_size=9, last=2)
    same = train(scene.tail(1), scene.read(1), scene.y, scene.problem.fit, 0, kept)
    assert all(np.array_equal(one, states[1][name]) for name, one in same.state.items())


def test_the_loss_that_stops_does_not_mind_how_sure_a_network_is() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 60)
    logits = (rng.normal(size=(60, 3)) + 2 * np.eye(3)[y]).astype(np.float32)
    found = [loops.score(factor * logits, y) for factor in (0.2, 1.0, 5.0)]
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    assert found[2] == pytest.approx(found[1], rel=1e-4)


def test_weight_decays_are_tried_at_the_best_rate(scene: Scene) -> None:
    settings = TuningSettings(rates=(1e-3, 1e-2), weight_decays=(0.0, 0.1, 1.0), epochs=3, trial_epochs=2, views=2)
    ladder = climb_ladder(scene.X, scene.problem, scene.judged, scene.source, request(), scene.store, settings=settings)
    tried = [(one.rate, one.weight_decay) for one in ladder.rungs[-1].tuned.trials]
    assert tried[:2] == [(1e-3, 0.0), (1e-2, 0.0)]
    best = min(ladder.rungs[-1].tuned.trials[:2], key=lambda one: one.loss).rate
    assert tried[2:4] == [(best, 0.1), (best, 1.0)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"weight_decays": ()}, "weight_decays is empty"),
        ({"weight_decays": (-0.1,)}, r"weight_decays are \(-0.1,\), expected numbers from 0 on"),
        ({"patience": -1}, "patience is -1"),
        ({"batch_norm": "off"}, "batch_norm is 'off', expected eval or train"),
    ],
)
def test_settings_out_of_range(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        TuningSettings(**given)


def test_batch_norms_learn_their_statistics_where_that_is_asked_for(tmp_path: Path) -> None:
    asked = of_convolutions("test_efficientnet", (64, 64))
    source, y = pictures(12)
    store, rows = FeatureStore(tmp_path), np.arange(12)
    found = run(source, asked, store)
    head = fit_head(found.features.get(found.digests).astype(np.float32), y, rows, 0.01, CLASSES)
    network = tunable_network(asked, CLASSES)
    maps, _ = cache_maps(source, rows, Prefix(request=asked, layers={2: network.layers[2]}, views=0, seed=0), store)
    read = functools.partial(maps.read, 2)
    tail = Tail(network, 2)
    tail.set_depth(2, statistics=True)
    tail.set_head(head)
    before = {name: one.clone() for name, one in tail.model.state_dict().items()}
    start = tail.state()
    schedule = Schedule(rate=1e-3, epochs=2, batch_size=6, batch_norm="train")
    whole = train(tail, read, y.astype(np.intp), rows, 0, schedule)
    after = tail.model.state_dict()
    moved = {name for name, one in after.items() if "running_" in name and not torch.equal(one, before[name])}
    assert {"bn2.running_mean", "bn2.running_var"} <= moved
    assert moved == {name for name in whole.state if "running_" in name}
    assert not any(name.startswith(("bn1.", "blocks.0.")) for name in moved)
    assert not tail.training
    assert not any(one.training for one in tail.model.modules())
    # Stopped after the first epoch, and gone on with: the statistics are part of what is kept.
    tail.load(start)
    with pytest.raises(KeyboardInterrupt):
        train(tail, read, y.astype(np.intp), rows, 0, schedule, checkpoint=tmp_path / "run.pt", step=_stop)
    assert not np.array_equal(tail.state()["bn2.running_mean"], whole.state["bn2.running_mean"])
    tail.load(start)
    again = train(tail, read, y.astype(np.intp), rows, 0, schedule, checkpoint=tmp_path / "run.pt")
    assert again.epochs == 2
    assert all(np.array_equal(one, whole.state[name]) for name, one in again.state.items())


def _stop() -> None:
    raise KeyboardInterrupt


def test_batch_norms_that_cannot_learn(scene: Scene) -> None:
    settings = TuningSettings(batch_norm="train")
    with pytest.raises(AdaptationError, match="vit_tiny_patch16_224 has no batch norms that could learn"):
        climb_ladder(scene.X, scene.problem, scene.judged, scene.source, request(), scene.store, settings=settings)
    # Random networks have means of zero and variances of one, as folded ones do.
    with pytest.raises(AdaptationError, match="mobilenetv2_035 hold no statistics of images, they were folded"):
        check_statistics(tunable_network(of_convolutions("mobilenetv2_035", (64, 64)), 2), "mobilenetv2_035")
    bundled = FeatureRequest("tf_efficientnet_lite0", "bundled")
    check_statistics(tunable_network(bundled, 2), "tf_efficientnet_lite0")
