"""Model files whose arrays a stranger has written over: run as a program, which must live.

``python -m tests.persistence.hostile [EVERY [NAME...]]``: the arrays and numbers of every estimator in turn are
replaced, with a checksum that fits; the file is loaded and, where it is not refused, everything is predicted. Prints
how many were refused and how many not, and how many errors are not one line that names an estimator. With EVERY, one
file in so many.
"""

from __future__ import annotations

import io
import json
import re
import sys
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import skops.io

from embedkit.errors import ModelFileError, UsageError
from embedkit.persistence import at_work
from embedkit.persistence.archive import check_archive
from embedkit.persistence.trusted import TRUSTED_TYPES
from embedkit.persistence.validators import MisfitError, validate
from tests.persistence.estimators import fitted, outcome


def replaced(content: bytes, name: str, data: bytes) -> bytes:
    """Return an archive with another member in place of one."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as then, zipfile.ZipFile(out, "w") as now:
        for member in then.namelist():
            now.writestr(member, data if member == name else then.read(member))
    return out.getvalue()


def variants(array: Any) -> Iterator[Any]:
    """Yield hostile versions of an array."""
    yield array[:0] if array.ndim else np.zeros(0, array.dtype)
    yield array[:1] if array.ndim else np.zeros((3, 3))
    yield np.concatenate([np.atleast_1d(array)] * 2)
    yield array.reshape(-1)
    yield np.zeros((2, 2))
    yield np.zeros(array.shape, np.int8)
    if array.dtype.names:
        for field in array.dtype.names:
            if array.dtype[field].kind in "iu":
                for value in (-2, 2**31 - 1, 0):
                    other = array.copy()
                    other[field] = np.array(value).astype(array.dtype[field])
                    yield other
    elif array.dtype.kind in "iu":
        for value in (np.iinfo(array.dtype).max, np.iinfo(array.dtype).min, 1 << 6):
            yield np.full_like(array, value)
    elif array.dtype.kind == "f":
        for value in (np.nan, np.inf, 1e30):
            yield np.full_like(array, value)


def numbers(schema: Any) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the nodes of a schema that are whole numbers."""
    waiting = [schema]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if one.get("__loader__") == "JsonNode":
                value = json.loads(one["content"])
                if isinstance(value, int) and not isinstance(value, bool):
                    yield one, value
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def mutations(content: bytes) -> Iterator[bytes]:
    """Yield an archive with each array, and each whole number, made hostile."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        arrays = {name: np.load(io.BytesIO(archive.read(name))) for name in archive.namelist() if name[-4:] == ".npy"}
        schema = json.loads(archive.read("schema.json"))
    for name, array in list(arrays.items())[:16]:
        for other in variants(array):
            buffer = io.BytesIO()
            np.save(buffer, other)
            yield replaced(content, name, buffer.getvalue())
    for node, value in list(numbers(schema))[:12]:
        for other in (value + 1, -1, 100_000):
            node["content"] = json.dumps(other)
            yield replaced(content, "schema.json", json.dumps(schema).encode())
        node["content"] = json.dumps(value)


def main() -> None:
    """Try all; print the counts."""
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    counts = {"refused": 0, "said nothing": 0, "said something": 0, "unclear": 0}
    every, chosen = int((sys.argv[1:] or ["1"])[0]), sys.argv[2:]
    for name, estimator in fitted().items():
        if chosen and not any(part in name for part in chosen):
            continue
        for number, content in enumerate(mutations(skops.io.dumps(estimator))):
            if number % every:
                continue
            sys.stderr.write(f"\r{name} {number}    ")
            sys.stderr.flush()
            try:
                check_archive(content, name, "no")
                loaded = skops.io.loads(content, trusted=sorted(TRUSTED_TYPES))
                validate(loaded)
            except (ModelFileError, MisfitError):
                counts["refused"] += 1
                continue
            except Exception:  # skops, which load_model says in one line
                counts["refused"] += 1
                continue
            try:
                with at_work(name, on_a_table=bool(number % 2)):
                    outcome(loaded)
                counts["said something"] += 1
            except (ModelFileError, UsageError) as error:
                counts["said nothing"] += 1
                counts["unclear"] += "\n" in str(error) or not re.search(
                    r"in its [A-Z_]|: its [A-Z_]\w+ fails", str(error)
                )
    sys.stdout.write(json.dumps(counts))


if __name__ == "__main__":
    main()
