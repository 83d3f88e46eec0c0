"""Where a run stands is said on a terminal, to a log, and to machines."""

from __future__ import annotations

import datetime
import json
import os
import pty
import struct
import subprocess
import sys
import time

import pytest

from embedkit import Tick
from embedkit_cli.log import FORMAT_VARIABLE
from embedkit_cli.progress import ProgressBar
from tests.photos import make_manifest

CODE = "from embedkit_cli.main import main; main()"


def test_without_a_terminal_a_line_now_and_then(capsys):
    progress = ProgressBar(every=0.05)
    progress(Tick(1200, 200, 200, 0))
    progress(Tick(1200, 700, 200, 3))
    time.sleep(0.2)
    progress(Tick(1200, 1200, 200, 3))
    progress(Tick(4, 0, 0, 0, of="fits"))
    time.sleep(0.2)  # one fit takes its time, and tells nothing by itself
    progress(Tick(4, 4, 0, 0, of="fits"))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("embedkit: 700 of 1,200 images, ")
    assert lines[0].endswith("/s, < 1 s left; 200 found, 3 failed")
    assert "embedkit: 0 of 4 fits" in lines
    time.sleep(0.1)
    assert not capsys.readouterr().err, "it still speaks"


def test_a_run_that_finds_everything_says_nothing(capsys):
    ProgressBar(every=0.0)(Tick(5, 5, 5, 0))
    assert not capsys.readouterr().err


def test_machines_get_objects(capsys, monkeypatch):
    monkeypatch.setenv(FORMAT_VARIABLE, "json")
    progress = ProgressBar()
    progress(Tick(10, 0, 0, 0))
    progress(Tick(10, 10, 2, 1))
    first, last = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["level"], first["of"], first["done"], first["seconds_left"]) == ("progress", "images", 0, None)
    assert (last["done"], last["total"], last["found"], last["failed"], last["seconds_left"]) == (10, 10, 2, 1, 0.0)
    assert last["rate"] > 0
    now = datetime.datetime.now(datetime.UTC)
    for one in (first, last):
        assert abs(now - datetime.datetime.fromisoformat(one["time"])) < datetime.timedelta(minutes=1)


def test_every_line_of_stderr_is_an_object_where_machines_read(cli, tmp_path):
    manifest = make_manifest(tmp_path / "photos", {"red": 4, "green": 4}, test=1)
    (tmp_path / "photos" / "red" / "000.png").write_bytes(b"no image")
    ran = cli("probe", manifest, "--model", "pixels32", "--log-format", "json", "--json")
    assert ran.code == 3
    said = [json.loads(line) for line in ran.err.splitlines()]
    assert {"images", "fits"} <= {one.get("of") for one in said}
    assert any("red/000.png" in one["message"] for one in said)
    assert json.loads(ran.out)["results"]
    ran = cli("--log-format", "json", "info", "nothing.h5")
    assert (ran.code, json.loads(ran.err)["level"]) == (1, "error")


@pytest.mark.parametrize("columns", [0, 60])
def test_a_terminal_without_a_width_is_one(columns, tmp_path, environment):
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    manifest = make_manifest(tmp_path / "photos", {"red": 6, "green": 6}, test=2)
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 0, columns, 0, 0))
    command = [sys.executable, "-c", CODE, "probe", str(manifest), "--model", "pixels32"]
    done = subprocess.run(command, env=environment, stderr=end, stdout=subprocess.PIPE, timeout=120)
    os.close(end)
    said = os.read(terminal, 4096).decode()
    os.close(terminal)
    assert done.returncode == 0, said
    assert "fit/s" in said or "s/fit" in said
    assert "/12" in said
