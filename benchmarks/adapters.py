"""Alignments of ours beside those of skada: what each reaches between domains, and how long it takes.

    python -m benchmarks.adapters PACS.h5 [--column domain] [--json OUT]          # pip install skada

Accuracy is that of `gap` with all six in one call, on each pair of domains and with each left out in turn; signs are
corrected for six (Holm). Times are of `fit_transform` on 128 principal components of the training images of two domains
and `transform` of the target's other images, processor seconds, the least of three, the median over pairs.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.base
from sklearn.decomposition import PCA

from embedkit import DomainGaps, FeatureTable, gap
from embedkit.estimators import CORAL, LinearTransport, SubspaceAlignment

_base: Any = sklearn.base


def adapters() -> dict[str, Any]:
    skada: Any = importlib.import_module("skada")
    return {
        "CORAL": CORAL(),
        "skada.CORALAdapter": skada.CORALAdapter(),
        "SubspaceAlignment": SubspaceAlignment(),
        "skada.SubspaceAlignmentAdapter": skada.SubspaceAlignmentAdapter(),
        "LinearTransport": LinearTransport(),
        "skada.LinearOTMappingAdapter": skada.LinearOTMappingAdapter(),
    }


def seconds(adapter: Any, source: Any, target: Any, tested: Any) -> float:
    domain = np.repeat([1, -2], [len(source), len(target)])
    taken: list[float] = []
    for _ in range(3):
        fresh: Any = _base.clone(adapter)
        started = time.process_time()
        fresh.fit_transform(np.concatenate([source, target]), sample_domain=domain)
        fresh.transform(tested, sample_domain=np.full(len(tested), -2))
        taken.append(time.process_time() - started)
    return min(taken)


def timed(table: FeatureTable, column: str) -> dict[str, float]:
    X = table.X
    reduction: Any = PCA(128, random_state=0)
    reduced: Any = reduction.fit_transform((X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-12)).astype(np.float32)
    assert table.split is not None
    train, domains = table.split == "train", np.asarray(table.columns[column], dtype=np.str_)
    taken: dict[str, list[float]] = {name: [] for name in adapters()}
    for one, other in itertools.permutations(np.unique(domains), 2):
        parts = reduced[train & (domains == one)], reduced[train & (domains == other)]
        for name, adapter in adapters().items():
            taken[name].append(seconds(adapter, *parts, reduced[~train & (domains == other)]))
    return {name: float(np.median(values)) for name, values in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--column", default="domain")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = gap(asked.file, domain_column=asked.column, adapters=adapters(), floors=False)
        taken = timed(FeatureTable.open(asked.file), asked.column)
    assert isinstance(found, DomainGaps)
    said: dict[str, Any] = {}
    for name in ["source-only", *adapters()]:
        reached = [next(one for one in pair.reached if one.method == name) for pair in found.pairs]
        left_out = next(one for one in found.pooled if one.method == name)
        said[name] = {
            "pairs": [one.value for one in reached],
            "mean": float(np.mean([one.value for one in reached])),
            "gains": sum(one.differs and (one.difference or 0) > 0 for one in reached),
            "hurts": sum(one.differs and (one.difference or 0) < 0 for one in reached),
            "left_out": left_out.value,
            "left_out_p": left_out.p_value,
            "seconds": taken.get(name),
        }
        print(name, {key: value for key, value in said[name].items() if key != "pairs"}, flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
