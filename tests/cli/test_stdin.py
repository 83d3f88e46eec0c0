"""extract - : paths on standard input."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.photos import MODEL, make_manifest

RANDOM = ("--model", MODEL, "--weights", "random", "--json")


@pytest.fixture
def paths(tmp_path):
    make_manifest(tmp_path / "photos", {"red": 2, "green": 2})
    return sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "photos").rglob("*.png"))


@pytest.mark.parametrize("end", ["\n", "\0"])
def test_paths_come_on_standard_input(cli, paths, end):
    ran = cli("extract", "-", *RANDOM, given="".join(path + end for path in paths))
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["images"] == len(paths) == 4


def test_blank_lines_are_no_images(cli, paths):
    ran = cli("extract", "-", *RANDOM, given="\n" + "\n  \n".join(paths) + "\n\t\r\n\n")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["images"] == len(paths)


def test_a_closed_standard_input_is_said(tmp_path, environment):
    command = [sys.executable, "-c", "from embedkit_cli.main import main; main()", "extract", "-", *RANDOM]
    closed = ["sh", "-c", 'exec "$@" <&-', "sh", *command]
    ran = subprocess.run(closed, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 2
    assert "nothing is piped in" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_paths_have_no_columns(cli, paths):
    ran = cli("extract", "-", *RANDOM, "--label-column", "label", given="\n".join(paths))
    assert ran.code == 1
    assert "a list of images has no columns" in ran.err
