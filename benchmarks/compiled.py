"""What torch.compile would gain beside the engines that embedkit has, one core a pass; see docs/design/004.

    python -m benchmarks.compiled [--models resnet50,vit_small_patch16_224] [--rounds 7]

Networks with random weights, batches of 16, in turns; ratios are the median of fp32 torch over that of each way.
``torch.compile`` runs with inductor's freezing, as it is fastest. Starts are the seconds before the first batch is
through: compiling, and for OpenVINO converting. Needs a C++ compiler and the extra ``fast``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch

from embedkit.backbones import openvino_engine
from embedkit.backbones.threads import use_one_thread

BATCH = 16


def make_network(model: str) -> Any:
    torch.manual_seed(0)
    network = timm.create_model(model, pretrained=False, num_classes=0).eval()
    return network.to(memory_format=torch.channels_last)


def through_openvino(model: str, pixels: torch.Tensor, hint: str) -> Callable[[], Any]:
    openvino = openvino_engine._import()
    converted = openvino.convert_model(make_network(model), example_input=pixels, input=[*pixels.shape])
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    request = openvino.Core().compile_model(converted, "CPU", settings).create_infer_request()
    return lambda: request.infer([pixels.numpy()])


def through_torch(model: str, pixels: torch.Tensor, dtype: torch.dtype, *, compiled: bool) -> Callable[[], Any]:
    network, given = make_network(model).to(dtype), pixels.to(dtype)
    if compiled:
        network = torch.compile(network)
    return lambda: network(given)


def measure(model: str, rounds: int) -> dict[str, Any]:
    height, width = timm.create_model(model, pretrained=False).pretrained_cfg["input_size"][1:]
    pixels = torch.randn(BATCH, 3, height, width).contiguous(memory_format=torch.channels_last)
    ways: dict[str, Callable[[], Callable[[], Any]]] = {
        "torch fp32": lambda: through_torch(model, pixels, torch.float32, compiled=False),
        "torch bf16": lambda: through_torch(model, pixels, torch.bfloat16, compiled=False),
        "compiled fp32": lambda: through_torch(model, pixels, torch.float32, compiled=True),
        "compiled bf16": lambda: through_torch(model, pixels, torch.bfloat16, compiled=True),
        "openvino fp32": lambda: through_openvino(model, pixels, "f32"),
        "openvino bf16": lambda: through_openvino(model, pixels, "bf16"),
    }
    runs: dict[str, Callable[[], Any]] = {}
    starts: dict[str, float] = {}
    for name, make in ways.items():
        began = time.perf_counter()
        runs[name] = make()
        runs[name]()
        starts[name] = time.perf_counter() - began
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    return {
        "model": model,
        "ratios": {name: medians["torch fp32"] / median for name, median in medians.items()},
        "start_seconds": starts,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="resnet50,vit_small_patch16_224")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/compiled.json"))
    options = parser.parse_args()
    use_one_thread()
    import torch._inductor.config as inductor

    inductor.freezing = True
    with torch.no_grad():
        results = [measure(model, options.rounds) for model in options.models.split(",")]
    for result in results:
        print(result["model"])
        for name, ratio in result["ratios"].items():
            print(f"  {name:14s} {ratio:5.2f} x torch fp32   start {result['start_seconds'][name]:5.1f} s")
    options.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
