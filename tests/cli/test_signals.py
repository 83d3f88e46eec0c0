"""Ctrl-C and SIGTERM, whenever they come, end the command without a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.photos import make_photo

# As the console script does: its name is what the handler of the first moments goes by.
SCRIPT = "import sys; sys.argv[0] = 'embedkit'; from embedkit_cli.main import main; sys.exit(main())"
WAYS = {"script": ["-c", SCRIPT], "module": ["-m", "embedkit_cli"]}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_at_work_says_that_it_was_interrupted(number: int) -> None:
    """It waits for rows on stdin."""
    command = [sys.executable, "-c", SCRIPT, "extract", "-", "--model", "pixels32"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        time.sleep(4)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number, said
    assert b"Traceback" not in said


@pytest.mark.parametrize("way", WAYS)
def test_an_interrupt_while_the_command_line_is_imported_is_one(tmp_path, way) -> None:
    """Click is imported late enough that the handler is there."""
    (tmp_path / "click.py").write_text("print('importing', flush=True)\nimport time\ntime.sleep(60)\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    command = [sys.executable, *WAYS[way]]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"importing\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, b"")


def test_the_module_is_the_command(tmp_path) -> None:
    command = [sys.executable, "-m", "embedkit_cli", "--version"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=tmp_path)
    assert done.stdout.startswith("embedkit, version ")


def test_what_a_killed_command_left_beside_its_output_goes_with_the_next(cli, tmp_path, environment) -> None:
    """Killed where it hurts most: all is written, and nothing has its name yet."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(2):
        make_photo(number).save(photos / f"{number}.png")
    killed = (
        "import os, signal; from embedkit.files import Disk\n"
        "def die_at(real):\n"
        "    def call(self, source, target, *more, **others):\n"
        "        if target.name.startswith('x.'): os.kill(os.getpid(), signal.SIGKILL)\n"
        "        real(self, source, target, *more, **others)\n"
        "    return call\n"
        "Disk.rename, Disk.link = die_at(Disk.rename), die_at(Disk.link)\n"
    ) + SCRIPT
    out = tmp_path / "out"
    out.mkdir()
    (out / ".tmp-of-mine").write_text("not embedkit's")
    for command in (
        ["extract", "photos", "--model", "pixels32", "-o", "out/x.h5"],
        ["export", "out/x.h5", "-o", "out/x.csv"],
    ):
        before = set(os.listdir(out))
        done = subprocess.run([sys.executable, "-c", killed, *command], cwd=tmp_path, env=environment)
        assert done.returncode == -signal.SIGKILL
        [left] = set(os.listdir(out)) - before
        assert left.startswith(".tmp-")
        ran = cli(*command)
        assert ran.code == 0, ran.err
        assert set(os.listdir(out)) == {*before, os.path.basename(command[-1])}
