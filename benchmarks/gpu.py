"""What a GPU machine does with photos of 500 x 375, stage by stage, against what its parts allow and other loops.

    python -m benchmarks.gpu                       at most six minutes on an H100 with 16 cores; torch and timm suffice
    python -m benchmarks.gpu --device cpu --quick  tiny, on any machine, with a device that only sleeps

First the tests that need CUDA. Then for each network and precision, in images a second: decoding alone on all cores;
the network alone (eager, `torch.compile`, CUDA graph) and copying to the device alone; all of it from files to the
store; and a `DataLoader` loop as most people write it, and a tuned one. The goal is 0.9 of the lesser of decoding and
the network (eager, which is what runs). On a CPU the last row is a device that sleeps for each batch: it shows whether
the stages before it keep it busy, and nothing about GPUs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch

from benchmarks.extraction import make_photos
from embedkit.backbones import Backbone, FeatureRequest, load_backbone
from embedkit.backbones.batching import BatchRunner
from embedkit.extraction import pipeline, run
from embedkit.images import open_source
from embedkit.specs import DecodeSpec
from embedkit.store import FeatureStore

NETWORKS = ("resnet50", "vit_base_patch16_224", "convnext_tiny", "tf_efficientnet_lite0")
FLOORS = {"resnet50": 6_000, "vit_base_patch16_224": 4_000}
"""Images/s on an H100, to be beaten."""
PUBLISHED = {"resnet50": [6_400, 12_400], "vit_base_patch16_224": [3_900, 4_400]}
"""Forward alone, eager and compiled, of comparable cards (timm's tables)."""
TESTS = ("tests/backbones/test_cuda.py", "tests/test_embedder_torch.py", "tests/estimators/test_array_api.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, default=8192)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--precision", default="bf16,fp16", help="by commas")
    parser.add_argument("--network", action="append")
    parser.add_argument("--sleep", type=float, default=0.2, help="seconds a batch of the device that sleeps")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "gpu.json")
    options = parser.parse_args()
    if options.device != "cpu" and not torch.cuda.is_available():
        parser.error("there is no NVIDIA GPU that torch sees; --device cpu --quick runs what a CPU can")
    networks: Sequence[str] = options.network or NETWORKS
    precisions = options.precision.split(",")
    if options.quick:
        networks, precisions = options.network or ("resnet10t",), ["fp32"]
        options.images, options.batch = min(options.images, 64), min(options.batch, 8)
    record: dict[str, Any] = {"machine": machine(options.device), "rows": []}
    if options.device != "cpu":
        record["tests"] = cuda_tests()
        print("tests:", record["tests"], flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = many_photos(folder / "photos", options.images)
        for network in networks:
            for precision in precisions:
                row = measure(network, precision, paths, folder, options)
                record["rows"].append(row)
                print(json.dumps(row), flush=True)
                options.output.write_text(json.dumps(record, indent=1) + "\n")
        if options.device == "cpu":
            row = sleeping(networks[0], paths, folder, options)
            record["rows"].append(row)
            print(json.dumps(row), flush=True)
    options.output.write_text(json.dumps(record, indent=1) + "\n")


def machine(device: str) -> dict[str, Any]:
    return {
        "device": torch.cuda.get_device_name(device) if device != "cpu" else "none: a device that sleeps",
        "cores": cores(),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "load": os.getloadavg()[0],
    }


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cuda_tests() -> str:
    """Run the tests that need CUDA; return pytest's last line."""
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-m", "cuda", *TESTS]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent)
    return (done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or ["no pytest"])[-1]


def many_photos(folder: Path, count: int) -> list[str]:
    """Write photos, each once more with other bytes behind its end: another digest, the same work."""
    made = make_photos(folder, (500, 375), min(count, 256))
    paths = list(made)
    for number in range(len(made), count):
        paths.append(str(folder / "all" / f"{number:05}.jpg"))
        Path(paths[-1]).write_bytes(Path(made[number % len(made)]).read_bytes() + number.to_bytes(4, "big"))
    return paths


def measure(network: str, precision: str, paths: list[str], folder: Path, options: Any) -> dict[str, Any]:
    """Take all numbers of one network in one precision."""
    request = FeatureRequest(network, weights="random", precision=precision, engine="torch", device=options.device)
    backbone = load_backbone(request, batch_size=options.batch)
    row: dict[str, Any] = {"network": network, "precision": precision, "images": len(paths), "drift": backbone.drift}
    row["decode"] = decode_alone(backbone, paths)
    row |= forward_alone(backbone, options)
    row["ours"], row["stages"] = end_to_end(request, backbone, folder / "photos", folder / "store")
    for name, tuned in (("loop", False), ("tuned loop", True)):
        row[name] = loader_loop(network, precision, paths, options, tuned=tuned)
    row["of_the_least"] = row["ours"] / min(row["decode"], row["eager"])
    row["bottleneck"] = min(("decode", "eager", "copy"), key=lambda stage: row.get(stage) or np.inf)
    row["floor"], row["published"] = FLOORS.get(network), PUBLISHED.get(network)
    return row


def decode_alone(backbone: Backbone, paths: list[str]) -> float:
    """Read, identify, decode and resize, in a thread a core."""
    recipe = pipeline.Recipe(DecodeSpec(decoder="simplejpeg", scale=2), backbone.preprocess)
    pixels = backbone.new_pixels(min(len(paths), 8 * cores()))

    def one(item: tuple[int, str]) -> None:
        found = pipeline.identify(*item)
        assert isinstance(found, pipeline.Identified)
        pipeline.prepare(found, [(recipe, pixels[item[0] % len(pixels)])])

    with ThreadPoolExecutor(cores()) as pool:
        return rate(lambda: list(pool.map(one, enumerate(paths), chunksize=8)), len(paths))


def forward_alone(backbone: Backbone, options: Any) -> dict[str, float | None]:
    """Run the network on a batch that is there, eager and, on a GPU, compiled and as a CUDA graph; copy it alone."""
    count, rounds = options.batch, 4 if options.quick else 20
    shape = (count, 3, *backbone.preprocess.input_size)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    if options.device == "cpu":
        array = pixels.numpy()
        return {"eager": rate(lambda: [backbone(array) for _ in range(rounds)], count * rounds)}
    pixels = pixels.pin_memory()
    there = pixels.to(options.device)
    module: Any = backbone.module

    def timed(work: Callable[[], Any]) -> float:
        def all_rounds() -> None:
            for _ in range(rounds):
                work()
            torch.cuda.synchronize()

        with torch.inference_mode():
            all_rounds()
            return rate(all_rounds, count * rounds)

    found: dict[str, float | None] = {"eager": timed(lambda: module(there))}
    found["copy"] = timed(lambda: there.copy_(pixels, non_blocking=True))
    try:
        started = time.perf_counter()
        compiled: Any = torch.compile(module, dynamic=False)
        with torch.inference_mode():
            compiled(there)
        found["compile_seconds"] = time.perf_counter() - started
        found["compiled"] = timed(lambda: compiled(there))
    except Exception as error:  # no compiler on this machine, or a network that it does not take: the rest counts
        print(f"not compiled: {type(error).__name__}: {str(error).splitlines()[0]}", file=sys.stderr)
    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode(), torch.cuda.graph(graph):
        module(there)
    found["cuda_graph"] = timed(graph.replay)
    return found


def end_to_end(request: FeatureRequest, backbone: Backbone, photos: Path, store: Path) -> tuple[float, dict[str, Any]]:
    """Extract into an empty store."""
    with tempfile.TemporaryDirectory(dir=store.parent) as name:
        done = run(open_source(photos), request, FeatureStore(name), backbone=backbone)
    assert done.stages is not None
    return done.forward_passes / done.seconds, dataclasses.asdict(done.stages)


def sleeping(network: str, paths: list[str], folder: Path, options: Any) -> dict[str, Any]:
    """Extract with a device that sleeps for each batch, as a GPU works: beside the cores, one batch at a time."""
    import threading

    request = FeatureRequest(network, weights="random", precision="fp32", engine="torch", device="cpu")
    backbone = load_backbone(request, batch_size=options.batch)
    alone = threading.Lock()

    class Sleeps:
        module = None

        def __call__(self, pixels: Any) -> Any:
            with alone:
                time.sleep(options.sleep)
            return np.zeros((len(pixels), backbone.spec.width), np.float32)

    runner = BatchRunner(Sleeps(), options.batch, fixed=True)
    fake = dataclasses.replace(backbone, runner=runner, device="sleeping")
    forward = options.batch / options.sleep
    decode = decode_alone(backbone, paths)
    ours, stages = end_to_end(request, fake, folder / "photos", folder / "store")
    return {
        "network": "a device that sleeps", "images": len(paths), "decode": decode, "eager": forward, "ours": ours,
        "of_the_least": ours / min(decode, forward), "stages": stages,
    }  # fmt: skip


class Photos(torch.utils.data.Dataset[Any]):
    """Photos for a DataLoader."""

    def __init__(self, paths: list[str], transform: Any) -> None:
        self._paths = paths
        self._transform = transform

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Any:
        from PIL import Image

        return self._transform(Image.open(self._paths[index]).convert("RGB"))


def loader_loop(network: str, precision: str, paths: list[str], options: Any, *, tuned: bool) -> float:
    """Run a DataLoader loop with pinned memory and autocast; tuned: channels last, cast weights, more ahead."""
    device, on_gpu = options.device, options.device != "cpu"
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision]
    model: Any = timm.create_model(network, num_classes=0).eval().to(device)
    data = timm.data.resolve_model_data_config(model)
    if tuned:
        model = model.to(dtype=dtype, memory_format=torch.channels_last)
    workers = cores() if on_gpu else 0
    ahead: dict[str, Any] = {"prefetch_factor": 4, "persistent_workers": True} if tuned and workers else {}
    loader: Any = torch.utils.data.DataLoader(
        Photos(paths, timm.data.create_transform(**data, is_training=False)),
        batch_size=options.batch, num_workers=workers, pin_memory=on_gpu, **ahead,
    )  # fmt: skip

    def loop() -> None:
        with torch.inference_mode(), torch.autocast("cuda", dtype, enabled=on_gpu and not tuned):
            for images in loader:
                there = images.to(device, non_blocking=True)
                if tuned:
                    there = there.to(dtype=dtype, memory_format=torch.channels_last)
                model(there).float().cpu()

    return rate(loop, len(paths))


def rate(work: Callable[[], Any], count: int) -> float:
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
