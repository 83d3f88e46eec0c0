from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from embedkit.estimators import LogisticRegression
from embedkit.estimators.arrays import release_pages


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows"
    np.arange(64 * 4096, dtype=np.float32).tofile(path)
    return path


def resident_kilobytes(path: Path) -> int:
    """Give how much of a mapped file counts as this process's memory."""
    lines = Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines()
    here = False
    for line in lines:
        here = line.endswith(str(path)) or (here and ":" in line.split()[0] and "-" not in line.split()[0])
        if here and line.startswith("Rss:"):
            return int(line.split()[1])
    raise AssertionError(f"{path} is not mapped")


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="this system does not list mappings")
def test_pages_of_a_file_that_is_read_are_let_go(file):
    rows = np.memmap(file, np.float32, "r").view(np.ndarray)[: 32 * 4096]
    total = rows.sum()
    assert resident_kilobytes(file) >= 512
    release_pages(rows)
    assert resident_kilobytes(file) == 0
    assert rows.sum() == total


@pytest.mark.parametrize("mode", ["r+", "c"])
def test_what_was_written_to_a_mapping_stays(file, mode):
    rows = np.memmap(file, np.float32, mode)
    rows[:] = 7
    release_pages(rows)
    assert (rows == 7).all()


def test_anonymous_memory_stays():
    rows = np.frombuffer(mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.float32)
    rows[:] = 7
    rows.flags.writeable = False
    release_pages(rows)
    assert (rows == 7).all()


def test_a_fit_on_a_mapping_that_was_written_to_is_that_on_its_copy(tmp_path):
    random = np.random.default_rng(0)
    X = np.memmap(tmp_path / "rows", np.float32, "w+", shape=(60, 4))
    X[:] = random.standard_normal(X.shape)
    written = np.memmap(tmp_path / "rows", np.float32, "c", shape=(60, 4))
    written *= 2
    y = np.arange(60) % 3
    np.testing.assert_array_equal(
        LogisticRegression().fit(written, y).coef_, LogisticRegression().fit(np.array(written), y).coef_
    )
    np.testing.assert_array_equal(written, 2 * X)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_found_in_a_mapping_too(tmp_path, value):
    X = np.ones((40_000, 3), np.float32)
    X[39_990, 1] = value
    X.tofile(tmp_path / "rows")
    mapped = np.memmap(tmp_path / "rows", np.float32, "r", shape=X.shape)
    for rows in (X, mapped):
        with pytest.raises(ValueError, match="Input X contains (NaN|infinity)"):
            LogisticRegression().fit(rows, np.arange(40_000) % 2)
