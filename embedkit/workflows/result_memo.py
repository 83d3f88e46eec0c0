"""What a store remembers of finished work beside its features: small JSON files that may be deleted at any time.

An entry is found by the digest of everything that decides it, so that it is never stale: another feature, label, seed,
library or line of this package's own code is another entry.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from embedkit import estimators, evaluation, probes, results
from embedkit.files import recall_json, remember_json
from embedkit.results import ProbeResult, as_packed, from_plain, to_plain
from embedkit.specs import canonical_json
from embedkit.tables import FeatureTable

_log = logging.getLogger("embedkit")


class ResultMemo:
    """Records by what decides them.

    Parameters
    ----------
    folder : Path
        Made when something is recorded.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def lookup(self, kind: str, key: Mapping[str, Any]) -> Any:
        """Return the record of a key; None where there is none, or one that cannot be read."""
        entry = recall_json(self._path(kind, key), "it is computed again")
        try:
            return entry["record"] if entry is not None and entry["key"] == key else None
        except (KeyError, TypeError) as error:
            _log.warning("a remembered %s cannot be understood (%s): it is computed again", kind, error)
            return None

    def record(self, kind: str, key: Mapping[str, Any], record: Any) -> None:
        """Remember a record, whole or not at all; a failure costs the next run the work, no more."""
        remember_json(self._path(kind, key), {"key": key, "record": record})

    def _path(self, kind: str, key: Mapping[str, Any]) -> Path:
        return self._folder / f"{kind}-{hashlib.sha256(canonical_json(key).encode()).hexdigest()[:32]}.json"


def run_key(table: FeatureTable, protocol: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that decides what a protocol gives on a table.

    The features themselves are in it beside their fingerprint: computed in other batches they may differ in the last
    bit.
    """
    rows = hashlib.sha256(np.ascontiguousarray(table.digests).data)
    for column in (table.y, table.split, table.groups):
        rows.update(repr(None if column is None else column.tolist()).encode())
    return {
        "features": table.spec.fingerprint,
        "values": hashlib.sha256(np.ascontiguousarray(table.X).data).hexdigest(),
        "rows": rows.hexdigest(),
        "target": table.target_type,
        "protocol": protocol,
        "options": dict(options),
        "code": _code(),
        "libraries": {name: importlib.metadata.version(name) for name in ("scikit-learn", "numpy", "scipy")},
    }


def result_record(result: ProbeResult) -> dict[str, Any]:
    """Return a result with the outcome of each row as JSON values; floats survive to the last bit."""
    return cast(dict[str, Any], to_plain(result, as_packed))


def result_of(record: Mapping[str, Any]) -> ProbeResult:
    """Return the result in a `result_record`."""
    return from_plain(ProbeResult, dict(record), "a remembered result")


@functools.cache
def _code() -> str:
    """Digest the code that makes results: a protocol that was mended must not be answered from before."""
    digest = hashlib.sha256()
    for room in (evaluation, probes, estimators, results):
        folder = Path(room.__path__[0])
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
