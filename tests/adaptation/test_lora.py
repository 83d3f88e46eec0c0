"""What LoRA adds: nothing at the start, a low rank after, and part of the weights at the end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from embedkit import TuningSettings
from embedkit.adaptation import climb_ladder, write_weights
from embedkit.adaptation import rungs as steps
from embedkit.adaptation.networks import tunable_network
from embedkit.adaptation.tail import Tail
from embedkit.adaptation.training import Schedule, logits_of, train
from tests.adaptation.scenes import CLASSES, Scene, request


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("store"))


def test_it_starts_at_nothing_learns_a_low_rank_and_merges(scene: Scene, tmp_path: Path) -> None:
    tail = scene.tail(2)
    before, rows = tail.model.state_dict(), np.arange(len(scene.y))
    before = {name: one.clone() for name, one in before.items()}
    expected = logits_of(tail, scene.read(2), rows)
    tail.set_depth(2, rank=3)
    np.testing.assert_allclose(logits_of(tail, scene.read(2), rows), expected, rtol=1e-6)
    names = {name for name, _ in tail.trained()}
    assert len(names) == 2 * 2 * 4 + 2  # A and B of qkv, proj, fc1 and fc2 of two blocks, and the classifier
    train(tail, scene.read(2), scene.y, scene.problem.fit, 2, Schedule(rate=1e-2, epochs=3, batch_size=6))
    tuned, learnt = logits_of(tail, scene.read(2), rows), tail.state()
    assert np.abs(tuned - expected).max() > 1e-2 * np.abs(expected).max()

    write_weights(tail, tmp_path / "w.safetensors")
    after = tail.model.state_dict()
    assert set(after) == set(before)
    np.testing.assert_allclose(logits_of(tail, scene.read(2), rows), tuned, atol=1e-5 * np.abs(tuned).max())
    changed = {name for name, one in after.items() if not torch.equal(one, before[name])}
    assert changed == set(learnt)
    for name in changed - {"head.weight", "head.bias"}:
        assert name.endswith(".weight")
        assert name.startswith(("blocks.2.", "blocks.3."))
        size = np.linalg.svd((after[name] - before[name]).numpy(), compute_uv=False)
        assert size[3] < 1e-4 * size[0]  # rank 3

    again = Tail(tunable_network(request(), CLASSES), 2)
    again.load(learnt)
    np.testing.assert_allclose(logits_of(again, scene.read(2), rows), tuned, atol=1e-5 * np.abs(tuned).max())


def test_it_goes_on_where_it_was_to_the_same_bits(scene: Scene, tmp_path: Path) -> None:
    def run(checkpoint: Path | None, stop_after: int = 9) -> dict[str, np.ndarray]:
        tail, done = scene.tail(1), []
        tail.set_depth(1, rank=2)

        def step() -> None:
            done.append(1)
            if len(done) == stop_after:
                raise KeyboardInterrupt

        schedule = Schedule(rate=1e-2, epochs=4)
        return train(
            tail, scene.read(1), scene.y, scene.problem.fit, 1, schedule, checkpoint=checkpoint, step=step
        ).state

    whole, kept = run(None), tmp_path / "kept.pt"
    with pytest.raises(KeyboardInterrupt):
        run(kept, stop_after=2)
    resumed = run(kept)
    assert whole.keys() == resumed.keys()
    assert all(np.array_equal(one, resumed[name]) for name, one in whole.items())


def test_the_rung_starts_from_the_frozen_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "_supports", lambda best, start, trials: True)
    scene = Scene(tmp_path, depths=(1,), views=0)
    settings = TuningSettings(depths=(1,), rates=(1e-2,), epochs=2, trial_epochs=1, views=0, rank=2)

    def climbed(until: str) -> list[steps.Tuned]:
        ladder = climb_ladder(
            scene.X,
            scene.problem,
            scene.judged,
            scene.source,
            request(),
            scene.store,
            until=until,  # pyright: ignore[reportArgumentType]
            settings=settings,
        )
        return [one.tuned for one in ladder.rungs]

    rungs = climbed("lora")
    assert [one.rung for one in rungs] == ["frozen", "head", "cached", "lora"]
    assert 0 < rungs[3].parameters < rungs[2].parameters


def test_peft_computes_the_same_and_learns_the_same(scene: Scene) -> None:
    peft = pytest.importorskip("peft")
    rank, maps = 2, torch.from_numpy(scene.read(2)(scene.problem.fit, 0)).float()
    classes = torch.from_numpy(scene.y[scene.problem.fit])
    ours, theirs = scene.tail(2), scene.tail(2)
    ours.set_depth(2, rank)
    named = [name for name, one in theirs.model.named_modules() if isinstance(one, torch.nn.Linear)]
    tuned = [name for name in named if name.startswith(("blocks.2.", "blocks.3."))]
    config = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=tuned, lora_dropout=0.0)
    peft.inject_adapter_in_model(config, theirs.model)
    torch.manual_seed(0)
    pairs = []
    for name in tuned:
        own = ours.model.get_submodule(name).parametrizations.weight[0]
        other = theirs.model.get_submodule(name)
        with torch.no_grad():
            own.B.normal_(std=0.05)
            other.lora_A.default.weight.copy_(own.A)
            other.lora_B.default.weight.copy_(own.B)
        pairs.append((own, other))
    assert len(pairs) == 8
    plain = scene.tail(2)(maps)
    logits = [tail(maps) for tail in (ours, theirs)]
    assert not torch.allclose(logits[0], plain, atol=1e-3)
    torch.testing.assert_close(logits[0], logits[1], rtol=1e-4, atol=1e-5)
    for given in logits:
        torch.nn.functional.cross_entropy(given, classes).backward()
    for own, other in pairs:
        torch.testing.assert_close(own.A.grad, other.lora_A.default.weight.grad, rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(own.B.grad, other.lora_B.default.weight.grad, rtol=1e-3, atol=1e-6)
    ours.merge()
    for name, (_, other) in zip(tuned, pairs, strict=True):
        other.merge()
        torch.testing.assert_close(ours.model.get_submodule(name).weight, other.get_base_layer().weight)
