"""How often the paired tests of `compare` find a difference between features that are equally good.

    python -m benchmarks.null [--draws 500] [--output benchmarks/results/null.json]

Two sets of features hold the same signal and different noise. Each draw makes new training and test images, fits both
by `quick` and by `simpleshot`, and tests which test images are right as `compare` does. The rate of p <= 0.05 is to be
the nominal one within two standard errors, or below it, where an exact test of few rows cannot reach it.

Over draws of training images as well, the two are equally good. For one training set one of them is a little better, by
chance: the tests condition on the training images, and with enough test images find that difference, too.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit import FeatureTable
from embedkit.evaluation import find_duplicates, mcnemar_test, paired_permutation_test
from embedkit.probes import run_protocol
from embedkit.specs import BackboneSpec, DecodeSpec, FeatureSpec, PreprocessSpec
from embedkit.tables import TableHead

WIDTH, CLASSES, TRAIN, TEST = 8, 3, 60, 120
SPEC = FeatureSpec(
    backbone=BackboneSpec(architecture="simulated", weights="none", width=WIDTH),
    preprocess=PreprocessSpec(
        input_size=(8, 8), interpolation="box", crop_pct=1.0, crop_mode="squash", mean=(0.0,) * 3, std=(1.0,) * 3
    ),
    decode=DecodeSpec(),
)


def table(X: npt.NDArray[np.float32], y: npt.NDArray[np.intp]) -> FeatureTable:
    digests = np.random.default_rng(0).integers(0, 256, (len(X), 32), dtype=np.uint8)
    head = TableHead(
        spec=SPEC,
        keys=[str(row) for row in range(len(X))],
        digests=digests,
        labels=[str(one) for one in y],
        split=["train"] * TRAIN + ["test"] * (len(X) - TRAIN),
    )
    return FeatureTable(head, X)


def draw(random: np.random.Generator, centres: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.intp]]:
    """Draw the signal of images, and their classes."""
    y = np.concatenate([random.permutation(np.arange(n) % CLASSES) for n in (TRAIN, TEST)])
    return centres[y] + random.standard_normal((len(y), WIDTH)), y


def p_values(random: np.random.Generator, protocol: str, centres: npt.NDArray[Any]) -> tuple[float, float]:
    signal, y = draw(random, centres)
    tables = [table((signal + random.standard_normal(signal.shape)).astype(np.float32), y) for _ in range(2)]
    duplicates = find_duplicates(tables[0])
    one, other = (run_protocol(protocol, each, model="m", duplicates=duplicates).per_image for each in tables)
    return mcnemar_test(one > 0, other > 0).p_value, paired_permutation_test(one, other, n_resamples=999).p_value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--protocols", default="quick,simpleshot")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "null.json")
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    centres = np.random.default_rng(7).standard_normal((CLASSES, WIDTH)) * 0.7
    for protocol in arguments.protocols.split(","):
        random = np.random.default_rng(arguments.seed)
        found = np.array([p_values(random, protocol, centres) for _ in range(arguments.draws)])
        for test, p in zip(("mcnemar", "permutation"), found.T, strict=True):
            rate = float((p <= 0.05).mean())
            error = float(np.sqrt(0.05 * 0.95 / arguments.draws))
            results.append({"protocol": protocol, "test": test, "draws": arguments.draws, "rate": rate, "error": error})
            print(
                f"{protocol:11} {test:12} {100 * rate:.1f} % of {arguments.draws} draws (+- {200 * error:.1f})",
                flush=True,
            )
    arguments.output.write_text(json.dumps({"level": 0.05, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
