"""A run that was killed goes on to the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from embedkit.adaptation.training import Schedule, Trained, train
from tests.adaptation.scenes import Scene

ROOT = Path(__file__).resolve().parents[2]
SCHEDULE = Schedule(rate=1e-3, epochs=6, batch_size=4, mixup=0.2, ema_decay=0.9)


def run(folder: Path, checkpoint: Path | None) -> Trained:
    scene = Scene(folder / "store")
    return train(
        scene.tail(2),
        scene.read(2),
        scene.y,
        scene.problem.fit,
        2,
        SCHEDULE,
        select=scene.problem.select,
        checkpoint=checkpoint,
        of="pictures",
        step=(lambda: time.sleep(float(os.environ.get("PAUSE", "0")))),
    )


def test_killed_while_it_trains(tmp_path: Path) -> None:
    checkpoint = tmp_path / "run.pt"
    whole = run(tmp_path, None)
    code = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}]\nfrom pathlib import Path\n"
        f"from tests.adaptation.test_resuming import run\n"
        f"run(Path({str(tmp_path)!r}), Path({str(checkpoint)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PAUSE": "60"}, cwd=ROOT)
    for _ in range(1200):
        if checkpoint.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    assert process.poll() is None, "it ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = run(tmp_path, checkpoint)
    assert resumed.epochs == whole.epochs == 6
    assert (resumed.losses, resumed.scores) == (whole.losses, whole.scores)
    assert all(np.array_equal(resumed.state[name], one) for name, one in whole.state.items())


def test_a_checkpoint_of_something_else_or_a_damaged_one_is_not_taken_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene, checkpoint = Scene(tmp_path / "store"), tmp_path / "run.pt"

    def losses(rate: float, kept: Path | None) -> list[float]:
        schedule = Schedule(rate=rate, epochs=2)
        return train(scene.tail(1), scene.read(1), scene.y, scene.problem.fit, 0, schedule, checkpoint=kept).losses

    losses(1e-3, checkpoint)
    assert losses(1e-2, checkpoint) == losses(1e-2, None) != losses(1e-3, None)
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    assert losses(1e-2, checkpoint) == losses(1e-2, None)
    assert "training begins anew" in caplog.text
