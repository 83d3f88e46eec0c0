"""What unlabelled rows, noisy labels, one class alone and tabular models cost and gain, against what is simplest.

    python -m benchmarks.few_labels [--sections A,B] [--assets ../shared] [--store STORE] [--seeds 10] [--json FILE]

Features, drawings and intervals are those of `benchmarks.labelling`: a seed draws train and test rows anew (70 : 30),
and a gain whose interval over seeds holds 0 is "no gain".
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.labelling import MODELS, SETS, drawn, summary, tables
from embedkit import FeatureTable
from embedkit.adaptation import USES, unlabelled_protocol
from embedkit.evaluation import tasks_of
from embedkit.tables import TableHead

KEPT = (2, 5, 10)

Tables = dict[str, FeatureTable]


def relabelled(
    table: FeatureTable, rows: npt.NDArray[np.intp], labels: npt.NDArray[Any], test: npt.NDArray[np.intp]
) -> FeatureTable:
    """Return rows of a table with other labels, of which some are the test split."""
    head = TableHead(
        spec=table.spec,
        keys=[table.keys[row] for row in rows],
        digests=table.digests[rows],
        labels=labels.tolist(),
        split=np.where(np.isin(rows, test), "test", "train").tolist(),
    )
    return FeatureTable(head, table.X[rows])


def unlabelled(found: Tables, data: str, seeds: int) -> dict[str, Any]:
    """Keep some labels a class, hide the others, and learn from both by two backbones together."""
    named = [found[f"{data}, {model}"] for model in MODELS]
    y = np.asarray(named[0].y).astype(str)
    result: dict[str, Any] = {}
    for kept in KEPT:
        accuracies: dict[str, list[float]] = {}
        for seed in range(seeds):
            train, test = drawn(named[0], seed)
            random = np.random.default_rng(seed)
            known = np.concatenate([random.permutation(train[y[train] == label])[:kept] for label in np.unique(y)])
            rest, rows = np.setdiff1d(train, known), np.sort(np.concatenate([known, test]))
            table = relabelled(named[0], rows, y[rows], test)
            blocks, beside = [one.X[rows] for one in named], [one.X[rest] for one in named]
            [task] = tasks_of(table, random_state=seed)
            for use in ("labelled", *USES):
                [said] = unlabelled_protocol(use, blocks, beside).run(task).draws
                right = said.targets == task.labels.targets[task.split.test]
                accuracies.setdefault(use, []).append(float(right.mean()))
        result[f"{kept} labels a class"] = summary(accuracies, "labelled")
    return result


SECTIONS: dict[str, Callable[[Tables, str, int], dict[str, Any]]] = {
    "unlabelled": unlabelled,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", default=",".join(SECTIONS))
    parser.add_argument("--assets", type=Path, default=Path("../shared"))
    parser.add_argument("--store", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    known = json.loads(arguments.json.read_text()) if arguments.json and arguments.json.exists() else {}
    made = tables(arguments.assets, arguments.store)
    for section in arguments.sections.split(","):
        start = time.perf_counter()
        results = {data: SECTIONS[section](made, data, arguments.seeds) for data in SETS}
        known[section] = {"seeds": arguments.seeds, "seconds": round(time.perf_counter() - start), "sets": results}
        print(json.dumps({section: known[section]}, indent=1), flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
