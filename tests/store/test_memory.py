from __future__ import annotations

import numpy as np

from embedkit.store.memory import MemoryFeatureStore
from tests.store.samples import make_rows, make_spec

DIGESTS, ROWS = make_rows(4)


def test_a_set_lives_as_long_as_its_store() -> None:
    store = MemoryFeatureStore()
    with store.features(make_spec()).writer() as writer:
        writer.add(DIGESTS, ROWS)
    assert store.features(make_spec()).contains(DIGESTS).all()
    assert not MemoryFeatureStore().features(make_spec()).contains(DIGESTS).any()


def test_a_committed_row_never_changes() -> None:
    features = MemoryFeatureStore().features(make_spec())
    for factor in (1, 2):
        with features.writer() as writer:
            writer.add(DIGESTS, ROWS * factor)
            writer.add_undecodable(bytes(32), f"reason {factor}")
    np.testing.assert_array_equal(features.get(DIGESTS), ROWS)
    assert features.undecodable(np.zeros((1, 32), np.uint8)) == {bytes(32): "reason 1"}
