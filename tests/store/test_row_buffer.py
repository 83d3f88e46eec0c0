from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedkit.errors import UsageError
from embedkit.store.row_buffer import RowBuffer
from tests.store.samples import make_rows, make_spec


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(0, 40), max_size=8), block_rows=st.integers(1, 50), again=st.booleans())
def test_rows_keep_their_order_over_any_blocks(sizes: list[int], block_rows: int, again: bool) -> None:
    buffer = RowBuffer(make_spec(), block_rows * 32)
    digests, rows = make_rows(sum(sizes))
    for _ in range(2 if again else 1):
        for start, size in zip(np.cumsum([0, *sizes]), sizes, strict=False):
            buffer.add(digests[start : start + size], rows[start : start + size])
        assert len(buffer) == sum(sizes)
        assert buffer.digests().tobytes() == digests.tobytes()
        assert b"".join(block.tobytes() for block in buffer.blocks()) == rows.tobytes()
        assert all(len(block) <= block_rows for block in buffer.blocks())
        buffer.clear()
    assert len(buffer) == 0
    assert sum(map(len, buffer.blocks())) == 0


def test_rows_that_are_refused_are_not_there() -> None:
    buffer = RowBuffer(make_spec(dtype="float16"), 64)
    digests, rows = make_rows(9)
    buffer.add(digests[:3], rows[:3])
    rows[8] = 1e6
    with pytest.raises(UsageError, match="exceed the range"):
        buffer.add(digests[3:], rows[3:])
    buffer.add(digests[3:8], rows[3:8])
    assert buffer.digests().tobytes() == digests[:8].tobytes()
    assert b"".join(block.tobytes() for block in buffer.blocks()) == rows[:8].astype(np.float16).tobytes()
