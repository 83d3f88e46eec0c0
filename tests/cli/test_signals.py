"""Ctrl-C and SIGTERM, whenever they come, end the command without a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

# As the console script does: its name is what the handler of the first moments goes by.
SCRIPT = "import sys; sys.argv[0] = 'embedkit'; from embedkit_cli.main import main; sys.exit(main())"


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


def test_an_interrupt_while_the_command_line_is_imported_is_one(tmp_path) -> None:
    """Click is imported late enough that the handler is there."""
    (tmp_path / "click.py").write_text("print('importing', flush=True)\nimport time\ntime.sleep(60)\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); " + SCRIPT
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"importing\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, b"")
