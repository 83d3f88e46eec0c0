"""Damaged files, in a process with little memory: no crash, no hang, every one accounted for.

8,000 files; the long form has two seeds more: ``EMBEDKIT_SLOW=1 pytest tests/images/test_fuzz.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("resource")  # not on Windows

SCRIPT = Path(__file__).with_name("fuzzing.py")
ROOT = SCRIPT.parents[2]
SLOW = os.environ.get("EMBEDKIT_SLOW") == "1"


@pytest.mark.parametrize("seed", range(3) if SLOW else [0])
def test_every_damaged_file_is_accounted_for(seed):
    count = 8000
    finished = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT), str(seed), str(count), "2000"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    summary = json.loads(finished.stdout)
    outcomes = summary["outcomes"]
    assert sum(outcomes.values()) == count
    assert outcomes["undecodable"] > count / 4
    assert outcomes["decoded"] > count / 4
    assert outcomes.get("out of memory", 0) < count / 100
    for reason, _ in summary["reasons"]:
        assert len(reason) < 140
        assert reason.isprintable()
    assert "Warning" not in finished.stderr


BOMBS = """
import io, resource, struct, sys, zlib
import numpy as np
from PIL import Image
from embedkit.errors import UnreadableImageError
from embedkit.images import decode
from embedkit.specs import DecodeSpec

def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

side = 12_000
header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
rows = zlib.compress(bytes(side * (3 * side + 1)), 1)
png = b"\\x89PNG\\r\\n\\x1a\\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
gif = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes(6)
gif += b"," + struct.pack("<HHHHB", 0, 0, side, side, 0) + b"\\x02\\x02\\x44\\x01\\x00;"
small = io.BytesIO()
Image.new("RGB", (9, 9), "red").save(small, "PNG")
resource.setrlimit(resource.RLIMIT_AS, (700 << 20, 700 << 20))
reasons = []
for data in (png, gif, png):
    try:
        decode(data, DecodeSpec())
    except (UnreadableImageError, ValueError) as error:
        reasons.append(str(error))
assert decode(small.getvalue(), DecodeSpec()).shape == (9, 9, 3)
sys.stdout.write(";".join(reasons))
"""


def test_a_bomb_within_the_limits_costs_its_own_row_only():
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", BOMBS],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    png, gif, again = finished.stdout.split(";")
    assert png == again == "not enough memory to decode this PNG"
    assert "GIF" in gif
