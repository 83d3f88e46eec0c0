"""A table as an index of FAISS: exact search by cosine, over the rows in their order.

Layer: above head; below export. numpy, faiss (optional) and errors only.
"""

from __future__ import annotations

import importlib
from collections.abc import Generator, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.errors import MissingExtraError
from embedkit.tables.head import TableHead


def faiss_chunks(head: TableHead, batches: Iterable[npt.NDArray[np.float32]]) -> Generator[memoryview]:
    """Yield the bytes of an ``IndexFlatIP`` of rows scaled to length 1; `faiss.read_index` reads it.

    The number of a row is its place in the table. The index is built in memory.

    Raises
    ------
    MissingExtraError
        faiss is not installed.
    """
    try:
        faiss: Any = importlib.import_module("faiss")
    except ImportError as error:
        raise MissingExtraError("a FAISS index needs faiss: pip install 'embedkit[search]'") from error
    index = faiss.IndexFlatIP(head.spec.backbone.width)
    for batch in batches:
        lengths = np.linalg.norm(batch.astype(np.float64), axis=1, keepdims=True)
        index.add(np.ascontiguousarray(batch / np.where(lengths > 0, lengths, 1.0), np.float32))
    yield memoryview(faiss.serialize_index(index))
