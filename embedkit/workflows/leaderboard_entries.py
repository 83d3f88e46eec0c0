"""From a table and a protocol to an entry of a leaderboard, remembered beside the features.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.evaluation import Conditions, Entry
from embedkit.probes import is_path, run_protocol
from embedkit.results import ProbeResult, Rows
from embedkit.specs import canonical_json
from embedkit.tables import FeatureTable
from embedkit.workflows.duplicated import Search
from embedkit.workflows.floors import PSEUDO, recorded_request
from embedkit.workflows.result_memo import ResultMemo, result_of, result_record, run_key
from embedkit.workflows.targets import NamedTable


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """How every backbone of a comparison is probed; see `embedkit.compare`."""

    protocol: str
    estimator: str | None
    params: Mapping[str, Sequence[Any]]
    as_published: bool
    seeds: int
    folds: int

    @property
    def estimator_of_quick(self) -> str | None:
        """The estimator where the protocol takes one: the published ones have their own."""
        return self.estimator if self.protocol == "quick" else None

    @property
    def params_of_quick(self) -> Mapping[str, Sequence[Any]]:
        """The same of its parameters."""
        return self.params if self.protocol == "quick" else {}


def enter(named: NamedTable, data: str, options: ProbeSettings, memo: ResultMemo, duplicates: Search) -> Entry:
    """Run a protocol on a table once a seed, where it is not remembered that it was."""
    table = named.table
    results = [_run(named, data, options, seed, memo, duplicates) for seed in range(options.seeds)]
    row_of = {key: row for row, key in enumerate(table.keys)}
    per_image = [_rows_of(result).per_image() for result in results]
    tested = _in_order(table, np.array([row_of[key] for key in per_image[0]], dtype=np.intp))
    keys: list[str] = [table.keys[row] for row in tested.tolist()]
    return Entry(
        data=data,
        model=named.name,
        floor=named.floor,
        conditions=_conditions(table, tested, results[0], options, floor=named.floor),
        results=results,
        per_image=np.mean([[scores[key] for key in keys] for scores in per_image], axis=0),
        parameters=_parameters(table),
        images_per_second=_pace(named, memo),
        feature_bytes=table.spec.backbone.width * np.dtype(table.spec.dtype).itemsize,
    )


def _run(
    named: NamedTable, data: str, options: ProbeSettings, seed: int, memo: ResultMemo, duplicates: Search
) -> ProbeResult:
    asked = {
        "estimator": options.estimator_of_quick,
        "params": options.params_of_quick,
        "as_published": options.as_published,
        "folds": options.folds,
        "seed": seed,
        "duplicates": duplicates.key,
    }
    key = run_key(named.table, options.protocol, asked)
    # The key knows the version of scikit-learn, not that of any other package.
    estimator = options.estimator_of_quick
    known = not is_path(estimator) or str(estimator).startswith("sklearn.")
    record = memo.lookup("result", key) if known else None
    if record is None:
        result = run_protocol(
            options.protocol,
            named.table,
            model=named.name,
            estimator=estimator,
            params=options.params_of_quick,
            floor=named.floor,
            as_published=options.as_published,
            random_state=seed,
            folds=options.folds,
            device="cpu",  # results must not depend on whether there is a GPU
            duplicates=duplicates.found,
        ).result
        memo.record("result", key, result_record(result))
    else:
        result = result_of(record)
    # Names are the caller's, not part of the work.
    return dataclasses.replace(result, model=named.name, floor=named.floor, data=data)


def _rows_of(result: ProbeResult) -> Rows:
    assert result.rows is not None  # of a run; it may be left out of a record only
    return result.rows


def _in_order(table: FeatureTable, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Order rows by image and label, which two files of the same images have in common."""
    labels: list[Any] = [None] * len(table) if table.y is None else table.y.tolist()
    order = sorted((table.digests[row].tobytes(), repr(labels[row]), row) for row in rows.tolist())
    return np.array([row for _, _, row in order], dtype=np.intp)


def _conditions(
    table: FeatureTable, tested: npt.NDArray[np.intp], result: ProbeResult, options: ProbeSettings, *, floor: bool
) -> Conditions:
    every = np.arange(len(table), dtype=np.intp)
    rest = np.setdiff1d(every, tested)
    request = recorded_request(table)
    asked = None
    if table.spec.backbone.architecture not in PSEUDO:
        overrides = {} if request is None else cast(dict[str, Any], request.to_dict()["preprocess"])
        asked = canonical_json({**overrides, "resize": table.spec.preprocess.resize})
    return Conditions(
        test_images=_digest(table, tested),
        # Without splits every image is tested and trains.
        train_images=_digest(table, _in_order(table, rest if len(rest) else every)),
        split=_digest(table, _in_order(table, every), "split", "groups"),
        protocol=result.protocol,
        estimator=result.estimator,
        metric=result.metric,
        as_published=result.as_published,
        seeds=options.seeds,
        folds=options.folds,
        preprocessing=asked,
    )


def _digest(table: FeatureTable, rows: npt.NDArray[np.intp], *names: str) -> str:
    """Digest the images in some rows together with columns of theirs, by default their labels."""
    digest = hashlib.sha256(np.ascontiguousarray(table.digests[rows]).data)
    for name in names or ("y",):
        column: npt.NDArray[Any] | None = getattr(table, name)
        digest.update(repr(None if column is None else column[rows].tolist()).encode())
    return digest.hexdigest()


def _parameters(table: FeatureTable) -> int | None:
    if table.spec.backbone.architecture in PSEUDO:
        return 0
    recorded = table.provenance.get("parameters")
    return recorded if isinstance(recorded, int) else None


def _pace(named: NamedTable, memo: ResultMemo) -> float | None:
    """Return how fast the features were extracted on this machine, also where that was another day."""
    key = {"features": named.table.spec.fingerprint, "machine": platform.node(), "cores": os.cpu_count()}
    if named.pace is not None:
        memo.record("pace", key, named.pace)
        return named.pace
    return memo.lookup("pace", key)
