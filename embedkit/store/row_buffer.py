"""Rows on their way to a part: copied once, into large blocks that are used again.

Large blocks make large writes, and large writes make large pages in the operating system's cache: reading a part just
written through its map is a fifth faster than after writes of a megabyte.

Layer: numpy, errors and specs only.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from embedkit.specs import FeatureSpec
from embedkit.store.digests import Digests, Features, convert_rows


class RowBuffer:
    """Digests and features in the order in which they were added.

    Parameters
    ----------
    spec : FeatureSpec
    block_bytes : int
        Memory is taken in blocks of so many bytes of features.
    """

    def __init__(self, spec: FeatureSpec, block_bytes: int) -> None:
        self._spec = spec
        self._dtype = np.dtype(spec.dtype).newbyteorder("<")
        self._block_rows = max(1, block_bytes // (self._dtype.itemsize * spec.backbone.width))
        self._blocks: list[Features] = []
        self._added: list[tuple[Digests, int]] = []  # with how many rows there are up to them

    def __len__(self) -> int:
        return self._added[-1][1] if self._added else 0

    def add(self, digests: Digests, features: Features) -> None:
        """Copy rows that `check_rows` has let pass into the buffer, in the stored dtype.

        Raises
        ------
        UsageError
            A finite number is too large for the stored dtype; nothing was added.
        """
        done, row = 0, len(self)
        while done < len(features):
            block, start = divmod(row + done, self._block_rows)
            if block == len(self._blocks):
                self._blocks.append(np.empty((self._block_rows, self._spec.backbone.width), self._dtype))
            target = self._blocks[block][start : start + len(features) - done]
            convert_rows(features[done : done + len(target)], target)
            done += len(target)
        # Only this makes the rows count, in one step: an interrupt never parts a digest from its row.
        self._added.append((digests.copy(), row + len(digests)))

    def digests(self) -> Digests:
        """Return the digests, shape (n, 32)."""
        return np.concatenate([np.empty((0, 32), np.uint8), *(digests for digests, _ in self._added)])

    def blocks(self) -> Iterator[Features]:
        """Yield the features, shape (?, d)."""
        rows = len(self)
        for number, block in enumerate(self._blocks):
            yield block[: max(0, rows - number * self._block_rows)]

    def clear(self) -> None:
        """Forget the rows, and keep a block for those to come."""
        self._added = []
        del self._blocks[1:]
