"""Small tables for the tests of probes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.tables import FeatureTable, TableHead
from tests.tables.table_samples import make_digests, make_spec


def table_of(X: npt.ArrayLike, labels: Any, **head: Any) -> FeatureTable:
    """Return a table of features and labels; digests are random."""
    features = np.asarray(X, dtype=np.float32)
    digests = head.pop("digests", make_digests(len(features)))
    architecture = head.pop("architecture", "resnet18")
    return FeatureTable(
        TableHead(
            spec=make_spec(features.shape[1], architecture=architecture),
            keys=[f"{row}.jpg" for row in range(len(features))],
            digests=digests,
            labels=labels
            if labels is None or isinstance(labels, np.ndarray) and labels.dtype.kind in "fb"
            else list(labels),
            **head,
        ),
        features,
    )


def blobs(
    rows: int = 40, classes: str = "abc", width: int = 8, spread: float = 1.0, seed: int = 0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.str_]]:
    """Return features around one centre a class, and the classes, `rows` of each."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((len(classes), width))
    number = np.repeat(np.arange(len(classes)), rows)
    X = centres[number] + spread * random.standard_normal((len(number), width))
    return X.astype(np.float32), np.array(list(classes))[number]
