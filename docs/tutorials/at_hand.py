"""What the tutorials work on: real photos where there are any, and a shell that shows what it does."""

from __future__ import annotations

import csv
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ASSETS = (ROOT / os.environ.get("EMBEDKIT_TEST_ASSETS", "../shared")).resolve()
FRUIT = (
    "Anjou",
    "Banana",
    "Conference",
    "Granny-Smith",
    "Kiwi",
    "Lemon",
    "Lime",
    "Mango",
    "Orange",
    "Pink-Lady",
    "Red-Delicious",
    "Satsumas",
)

here = Path(tempfile.mkdtemp(prefix="embedkit-tutorial-"))
"""The folder in which commands are typed."""


def photos() -> str:
    """Make ``here/photos/`` (train and test, in each a folder a class) and say what is in it."""
    shutil.rmtree(here / "photos", ignore_errors=True)
    os.environ["EMBEDKIT_STORE"] = str(here / "store")
    grocery = ASSETS / "data" / "grocery" / "split.csv"
    if not grocery.is_file():
        _draw()
        return "No photos were at hand when this page was built: drawn patterns stand in for them."
    with grocery.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["label"] in FRUIT and row["split"] in ("train", "test"):
                place = Path(here, "photos", row["split"], row["label"], Path(row["path"]).name)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(grocery.parent / row["path"], place)
    return "Photos of fruit in a supermarket (Grocery Store Dataset, MIT licence)."


def embedkit(line: str) -> int:
    """Type a command, show it and what it prints, and return its exit code."""
    print(f"$ embedkit {line}", flush=True)
    program = shutil.which("embedkit")
    start = [program] if program else [sys.executable, "-c", "from embedkit_cli.main import main; main()"]
    done = subprocess.run(
        [*start, *shlex.split(line)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd=here
    )
    print(done.stdout.replace(f"{here}{os.sep}", ""))
    return done.returncode


def _draw() -> None:
    import numpy as np
    from PIL import Image

    from embedkit.workflows.patterns import PATTERNS, draw_pattern

    random = np.random.default_rng(0)
    for label in PATTERNS:
        for number in range(18):
            place = Path(here, "photos", "train" if number < 11 else "test", label, f"{number:02d}.png")
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw_pattern(label, random)).save(place)
