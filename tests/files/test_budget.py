"""What becomes much larger than it is: refused by what it says of itself, or cut off; in little memory."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from embedkit.backbones.weights import read_weights
from embedkit.errors import ModelFileFormatError, SourceError, UnreadableImageError, WeightsError
from embedkit.files import Budget, inflated_limit
from embedkit.images import open_source, read_bytes
from embedkit.persistence import load_model

GIB = 1 << 30


def zeros(path: Path, name: str, size: int, head: bytes = b"") -> Path:
    """Write a zip of one member that begins in some way and goes on in zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w", force_zip64=True) as file:
        file.write(head)
        for _ in range(size >> 24):
            file.write(bytes(1 << 24))
    return path


def test_one_budget_for_all_threads():
    budget, most, together = Budget(100), [], []

    def work() -> None:
        with budget.hold(40):
            together.append(1)
            most.append(len(together))
            together.pop()

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) <= 2
    with budget.hold(1000):  # alone, larger than the budget
        pass
    assert inflated_limit(0) == 256 << 20
    assert inflated_limit(GIB) == 8 * GIB


def test_a_thread_that_holds_something_waits_for_nothing():
    budget = Budget(100)
    budget.take(1000)  # nothing was opened, nothing is counted
    with budget.hold(60), budget.hold(60):
        budget.take(60)
        assert budget.keep(1) is None
    with budget.hold():
        budget.take(100)
        assert budget.keep(1) is None
    kept = [budget.keep(100)]
    assert kept[0] is not None
    assert budget.keep(1) is None
    kept.clear()
    with budget.hold(1):
        pass


def test_a_model_file_that_says_it_holds_gigabytes(tmp_path):
    with pytest.raises(ModelFileFormatError, match=r"holds 536,\d+,\d+ bytes in a file of .*, more than"):
        load_model(zeros(tmp_path / "m.skops", "embedkit.json", GIB // 2))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 30,)})
    with zipfile.ZipFile(tmp_path / "n.skops", "w") as archive:
        archive.writestr("embedkit.json", '{"format": 1}')
        archive.writestr("schema.json", '{"protocol": 2}')
        archive.writestr("1.npy", header.getvalue())
    with pytest.raises(ModelFileFormatError, match="its header promises 8,589,"):
        load_model(tmp_path / "n.skops")


def test_a_member_of_zeros_is_no_image(tmp_path):
    source = open_source(zeros(tmp_path / "a.zip", "a.png", GIB // 2, b"\x89PNG\r\n\x1a\n"))
    with pytest.raises(UnreadableImageError, match="bytes say that they become 536,"):
        read_bytes(source.images[0])


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_tar_header_of_gigabytes(tmp_path, kind):
    entry = tarfile.TarInfo("name")
    entry.type, entry.size = kind, 8 * GIB
    with open(tmp_path / "a.tar", "wb") as file:
        file.write(entry.tobuf(tarfile.GNU_FORMAT))
        file.truncate(9 * GIB)  # a hole, which takes no disk
    with pytest.raises(SourceError, match="a header of 8,589,934,592 bytes"):
        open_source(tmp_path / "a.tar")


def test_weights_that_say_they_become_gigabytes(tmp_path):
    with pytest.raises(WeightsError, match=r"become 536,\d+,\d+: they are made up"):
        read_weights(zeros(tmp_path / "w.pth", "archive/data/0", GIB // 2))


PARQUET = """
import resource, sys
from embedkit.errors import ManifestError
from embedkit.images import open_source
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
try:
    open_source(sys.argv[1])
except ManifestError as error:
    sys.stdout.write(str(error))
"""


def test_parquet_that_repeats_itself(tmp_path):
    rows = 20_000
    long = pyarrow.array(["x" * 1_000_000]).dictionary_encode()
    again = pyarrow.DictionaryArray.from_arrays(np.zeros(rows, np.int32), long.dictionary)
    table = pyarrow.table({"path": again})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", compression="zstd", store_schema=False)
    assert (tmp_path / "a.parquet").stat().st_size < 2_000_000  # of 20 GB
    done = subprocess.run(
        [sys.executable, "-c", PARQUET, str(tmp_path / "a.parquet")],
        capture_output=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert "becomes more than the 268,435,456 bytes" in done.stdout.decode(), done.stderr.decode()[-1500:]


def test_what_is_small_beside_the_total_is_not_counted_and_what_is_kept_always_is():
    budget = Budget(25_600)
    with budget.hold_large(100), budget.hold(100):
        budget.take(100)
        assert budget.keep(25_600) is not None
    with budget.hold_large(101):
        assert budget.keep(25_500) is None
        kept = budget.keep(25_499)
        assert kept is not None
    with budget.hold():
        budget.take(101)
        assert budget.keep(1) is None
    del kept
    assert budget.keep(25_600) is not None
