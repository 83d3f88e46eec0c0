from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.blocked import blocking

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Cli = Callable[..., Ran]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A user of their own: no store but a new one, no hub, no terminal."""
    return {
        **os.environ,
        "EMBEDKIT_STORE": str(tmp_path / "store"),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "PYTHONWARNINGS": "error",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "cli")]),
    }


@pytest.fixture
def cli(tmp_path: Path, environment: dict[str, str]) -> Cli:
    """Run the real command line in a process of its own."""

    def run(*arguments: object, without: tuple[str, ...] = (), given: str = "") -> Ran:
        """`without` names modules whose import ends the process with an error; `given` comes on standard input."""
        code = blocking(without) + "from embedkit_cli.main import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=300,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run
