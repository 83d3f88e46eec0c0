"""Steps of training on cached maps beside the same steps with the blocks before recomputed, in one run.

    python -m benchmarks.finetune [--assets ../shared] [--store STORE] [--steps 5] [--json FILE]

A step is 64 photographs of groceries through the last 2, and the last 6, of 12 blocks of vit_tiny_patch16_224 and back.
Cached: the maps are read from the store. Recomputed: the blocks before run without gradients, from pixels that lie
ready in memory (`prefix`), and from the files, as a training loop without a cache has it (`files`: read, decode, draw
the view). The ways take turns; what is compared is the median of processor seconds, which other work on the machine
moves less than the clock.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embedkit import FeatureRequest, FeatureStore, ImageSource, open_source
from embedkit.adaptation.maps import Prefix, cache_maps
from embedkit.adaptation.networks import tunable_network
from embedkit.adaptation.tail import Tail
from embedkit.backbones import load_backbone
from embedkit.images import decode, digest_bytes, read_bytes
from embedkit.preprocess import Preprocessor

BATCH, BLOCKS, MODEL = 64, 12, "vit_tiny_patch16_224"


class Ways:
    """The three ways to what enters the tuned blocks."""

    def __init__(self, assets: Path, store: Path, depth: int, bf16: bool) -> None:
        request = FeatureRequest(MODEL, str(assets / "weights" / f"{MODEL}.safetensors"))
        source = open_source(assets / "data" / "grocery" / "split.csv")
        self.files = [str(one) for one in source.images[:BATCH]]
        part = ImageSource(name=source.name, keys=source.keys[:BATCH], images=list(source.images[:BATCH]))
        prefix = Prefix(request=request, layers={depth: BLOCKS - depth - 1}, views=1, seed=0)
        self.maps, _ = cache_maps(part, np.arange(BATCH), prefix, FeatureStore(store))
        self.tail = Tail(tunable_network(request, 81), depth)
        self.backbone = load_backbone(FeatureRequest(MODEL, request.weights, precision="fp32", engine="torch"))
        self.spec = self.maps.sets[depth][1].spec
        self.depth, self.bf16 = depth, bf16
        self.pixels = self.prepared()

    def prepared(self) -> torch.Tensor:
        """Read, decode and draw the view of each file."""
        preprocessor = Preprocessor(self.spec.preprocess)
        found: list[Any] = []
        for file in self.files:
            data = read_bytes(file)
            found.append(preprocessor(decode(data, self.spec.decode, target=preprocessor.resized), digest_bytes(data)))
        return torch.from_numpy(np.stack(found))

    def blocks_before(self, pixels: torch.Tensor) -> torch.Tensor:
        """Run the blocks before the tuned ones."""
        model: Any = self.tail.model
        x = (pixels.float() - self.backbone.module.shift) / self.backbone.module.scale
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            x = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(x))))
            for block in model.blocks[: BLOCKS - self.depth]:
                x = block(x)
        return x.float().flatten(1)

    def cached(self) -> torch.Tensor:
        """Read maps from the store."""
        return torch.from_numpy(self.maps.read(self.depth, np.arange(BATCH), 1)).float()

    def prefix(self) -> torch.Tensor:
        """Recompute them from pixels."""
        return self.blocks_before(self.pixels)

    def from_files(self) -> torch.Tensor:
        """Recompute them from files."""
        return self.blocks_before(self.prepared())

    def step(self, entering: Callable[[], torch.Tensor]) -> float:
        """Return the processor seconds of a step forward and back."""
        began = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            logits = self.tail(entering())
        torch.nn.functional.cross_entropy(logits.float(), torch.zeros(BATCH, dtype=torch.long)).backward()
        self.tail.zero_grad(set_to_none=True)
        return time.process_time() - began


def compared(ways: Ways, steps: int) -> dict[str, float]:
    named = {"cached": ways.cached, "prefix": ways.prefix, "files": ways.from_files}
    near = float((ways.cached() - ways.prefix()).abs().max() / ways.prefix().abs().max())
    seconds: dict[str, list[float]] = {name: [] for name in named}
    for _ in range(steps + 1):
        for name, entering in named.items():
            seconds[name].append(ways.step(functools.partial(entering)))
    median = {name: float(np.median(values[1:])) for name, values in seconds.items()}  # the first warms up
    return {
        **{f"{name}_cpu_seconds": value for name, value in median.items()},
        "faster_than_prefix": median["prefix"] / median["cached"],
        "faster_than_files": median["files"] / median["cached"],
        "largest_difference": near,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=Path, default=Path("../shared"))
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one step through the last 2 blocks in fp32")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    measured: dict[str, Any] = {"batch": BATCH, "threads": torch.get_num_threads(), "torch": torch.__version__}
    if asked.quick:
        asked.steps = 1
    for depth in (2,) if asked.quick else (2, 6):
        for bf16 in (False,) if asked.quick else (False, True):
            name = f"last {depth} of {BLOCKS} blocks, {'bf16' if bf16 else 'fp32'}"
            measured[name] = compared(Ways(asked.assets, asked.store, depth, bf16), asked.steps)
            print(json.dumps({name: measured[name]}, indent=2), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(measured, indent=2) + "\n")


if __name__ == "__main__":
    main()
