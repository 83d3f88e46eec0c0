"""The rows that the runs on the store write, and processes to write them in."""

from __future__ import annotations

import hashlib
import os
import traceback
from collections.abc import Callable
from typing import Any, TypedDict

import numpy as np

from embedkit.specs import BackboneSpec, DecodeSpec, Dtype, FeatureSpec, PreprocessSpec
from embedkit.store.stored import FeatureSet

WIDTH = 32
ROWS = 4096
BATCH = 8


def make_spec(width: int, dtype: Dtype = "float32") -> FeatureSpec:
    """Return the spec of features that no network made."""
    return FeatureSpec(
        backbone=BackboneSpec(architecture="synthetic", weights="none", width=width),
        preprocess=PreprocessSpec(
            input_size=(2, 2),
            interpolation="bicubic",
            crop_pct=1.0,
            crop_mode="center",
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
        ),
        decode=DecodeSpec(),
        dtype=dtype,
    )


SPEC = make_spec(WIDTH)
DIGESTS = np.frombuffer(b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(ROWS)), np.uint8).reshape(-1, 32)
FEATURES = np.random.default_rng(0).standard_normal((ROWS, WIDTH)).astype(np.float32)

Counts = dict[str, Any]


class WriterOptions(TypedDict):
    """Options of `FeatureSet.writer`."""

    commit_bytes: int
    lease_seconds: float


# Small parts that are merged often, and leases that end soon, so that all of it happens within a second.
FAST: WriterOptions = {"commit_bytes": 64 << 10, "lease_seconds": 0.2}


def count_wrong(features: FeatureSet) -> int:
    """Count the rows that are served and are not what was written."""
    present = features.contains(DIGESTS)
    return int((features.get(DIGESTS[present]) != FEATURES[present]).any(axis=1).sum())


def start(job: Callable[..., None], *arguments: object) -> int:
    """Run a function in a process of its own; return its id."""
    worker = os.fork()
    if worker:
        return worker
    try:
        job(*arguments)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def wait(worker: int) -> int:
    """Wait for a process; return its exit status, or the number of the signal that ended it."""
    _, status = os.waitpid(worker, 0)
    code = os.waitstatus_to_exitcode(status)
    if code > 0:
        raise RuntimeError("a worker failed; its traceback is above")
    return -code
