"""What the engine does on CUDA, with streams and pinned memory that only say what they were asked for."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from embedkit.backbones import FeatureRequest, load_backbone
from embedkit.backbones.batching import BatchRunner
from embedkit.backbones.torch_engine import TorchEngine
from embedkit.extraction import run
from embedkit.images import open_source
from embedkit.store import FeatureStore
from tests.photos import make_folder, make_photo

REQUEST = FeatureRequest("resnet10t", "random", precision="fp32", engine="torch", device="cpu")


class Cuda:
    """Stands for a GPU: memory that is pinned by name, streams that note when they are waited for."""

    def __init__(self) -> None:
        self.pinned: list[torch.Tensor] = []
        self.events: list[tuple[str, str]] = []
        self.current = threading.local()

    def say(self, what: str) -> None:
        self.events.append((getattr(self.current, "stream", "none"), what))

    def empty(self, *arguments, pin_memory=False, **options):
        made = EMPTY(*arguments, **options)
        if pin_memory:
            self.pinned.append(made)
            self.say(f"pin {tuple(made.shape)}")
        return made

    def is_pinned(self, tensor):
        return any(
            one.data_ptr() <= tensor.data_ptr() < one.data_ptr() + one.numel() * one.element_size()
            for one in self.pinned
        )

    def new_stream(self, device):
        cuda, name = self, threading.current_thread().name

        class Stream:
            def synchronize(self):
                cuda.say("wait")

            @contextlib.contextmanager
            def entered(self):
                cuda.current.stream = name
                yield
                del cuda.current.stream

        return Stream()


EMPTY = torch.empty


@pytest.fixture
def cuda(monkeypatch):
    fake = Cuda()
    monkeypatch.setattr(torch, "empty", fake.empty)
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda tensor: fake.is_pinned(tensor))
    monkeypatch.setattr(torch.cuda, "Stream", fake.new_stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream.entered())
    return fake


class OnCuda:
    """An engine on the CPU that goes the way of one on CUDA."""

    module = None

    def __init__(self, engine: TorchEngine, cuda: Cuda) -> None:
        self.engine = engine
        self.cuda = cuda

    def __call__(self, pixels):
        with torch.inference_mode():
            features = self.engine._on_cuda(pixels)
        self.cuda.say("return")
        return features


def test_pinned_batches_are_copied_once_and_others_are_pinned_first(cuda):
    backbone = replace(load_backbone(REQUEST), device="cuda:0")
    engine = backbone.runner.engine
    assert isinstance(engine, TorchEngine)
    batch = backbone.new_pixels(4)
    assert batch.shape == (4, 3, *backbone.preprocess.input_size)
    assert batch.transpose(0, 2, 3, 1).flags.c_contiguous
    batch[:] = np.random.default_rng(0).integers(0, 256, batch.shape)
    expected = engine(batch)
    cuda.events.clear()
    for pixels, pins in ((batch, 1), (batch[:3], 1), (batch.copy(), 2), (np.ascontiguousarray(batch), 2)):
        np.testing.assert_array_equal(OnCuda(engine, cuda)(pixels), expected[: len(pixels)])
        assert [what.split()[0] for _, what in cuda.events] == [*["pin"] * pins, "wait", "return"]
        cuda.events.clear()


def test_a_run_writes_pixels_into_a_few_pinned_batches_that_are_used_again(cuda, tmp_path, monkeypatch):
    monkeypatch.setattr("embedkit.extraction.runner._BLOCK", 4)  # images ahead: eight in each stage
    monkeypatch.setattr("embedkit.extraction.runner._BLOCK_A_THREAD", 1)
    folder = make_folder(tmp_path / "photos", {"red": 40, "green": 40})
    (folder / "red" / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    (folder / "red" / "000.png").write_bytes((folder / "red" / "001.png").read_bytes()[:200])
    make_photo(99, size=(40, 90)).save(folder / "green" / "tall.png")
    source = open_source(folder)
    backbone = load_backbone(REQUEST, batch_size=2)
    alone = run(source, REQUEST, FeatureStore(tmp_path / "alone"), backbone=backbone)
    assert not cuda.pinned
    fake = OnCuda(backbone.runner.engine, cuda)
    there = replace(backbone, runner=BatchRunner(fake, 2, fixed=True), device="cuda:0")
    done = run(source, REQUEST, FeatureStore(tmp_path / "there"), backbone=there)
    assert done.failures == alone.failures
    assert (len(done.failures), done.forward_passes) == (2, 80)
    rows = [row for row in range(len(source)) if row not in done.failures]
    np.testing.assert_array_equal(
        done.features.get(done.digests[rows]), alone.features.get(alone.digests[rows]), strict=True
    )
    height, width = backbone.preprocess.input_size
    batches = [one for one in cuda.pinned if one.shape == (2, height, width, 3)]
    filled_up = [one for one in cuda.pinned if one.shape == (2, 3, height, width)]
    assert len(filled_up) <= 3  # two images were none, and the last batch is short
    # Of 82 images 41 batches; in the memory of no more than were under way or waiting at one moment.
    assert 1 < len(batches) <= 12
    # Two streams, a thread each; a batch is waited for before its memory is written to again.
    streams = {stream for stream, what in cuda.events if what == "wait"}
    assert streams <= {f"embedkit-device_{number}" for number in range(2)}
    assert sum(what == "wait" for _, what in cuda.events) == 41
