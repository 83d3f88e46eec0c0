"""The array script of a plan: as many tasks as keep each busy for a while, and a script that does the plan."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys

import pytest

from embedkit import slurm_script
from embedkit.backbones import FeatureRequest
from embedkit.errors import UsageError
from embedkit.extraction import resolve, write_plan
from embedkit.images import open_source
from embedkit.store import FeatureStore
from tests.photos import make_folder


@pytest.fixture
def planned(tmp_path):
    """Plan 40 images at a pace that is given."""
    folder, store = make_folder(tmp_path / "photos", {"red": 20, "blue": 20}), FeatureStore(tmp_path / "store")

    def plan(pace, memory=0, device="auto"):
        source, request = open_source(folder), FeatureRequest("pixels32", device=device)
        resolution, _ = resolve(request, store, expected_images=len(source))
        path = tmp_path / "P.json"
        write_plan(path, source, request, resolution, store, force=True, pace=pace, memory=memory)
        return path

    return plan


def options(script: str) -> dict[str, str]:
    return dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", script, re.M))


def test_tasks_are_as_long_as_they_are_worth(planned):
    asked = options(slurm_script(planned(90.0, memory=6 * 2**30), minutes=15, at_once=3))  # an hour in all
    assert (asked["array"], asked["time"], asked["mem"]) == ("1-4%3", "00:55:00", "9G")
    assert options(slurm_script(planned(1e5)))["array"] == "1-40%40"  # never more tasks than images
    assert options(slurm_script(planned(0.001)))["array"] == "1-1%1"
    assert options(slurm_script(planned(None)))["array"] == "1-1%1"  # a plan of before: as it proposes
    assert options(slurm_script(planned(1e5), minutes=10_000))["time"] == "20-20:10:00"


@pytest.mark.parametrize("name", ["a\ntouch b", "a\r", "a\x1b[31m", "a\u2028b"])
def test_no_name_ends_the_line_that_it_stands_in(planned, tmp_path, name):
    """The last line is a comment: behind a line feed in a folder's name, it would be a command."""
    path = planned(1.0)
    for given in ({"output": name}, {"partition": name}):
        with pytest.raises(UsageError, match="control characters"):
            slurm_script(path, **given)
    (tmp_path / name).mkdir()
    with pytest.raises(UsageError, match="control characters"):
        slurm_script(path.rename(tmp_path / name / "P.json"))
    # What is no control character is quoted.
    odd = path.parent / "a $(touch b) 'c'.json"
    (tmp_path / name / "P.json").rename(odd)
    script = slurm_script(odd)
    assert subprocess.run(["sh", "-n", "-s"], input=script, text=True).returncode == 0
    assert shlex.split(script.splitlines()[-4].split("||")[0])[3] == str(odd)


def test_a_gpu_is_asked_for_where_the_plan_is_for_one(planned):
    assert "gres" not in options(slurm_script(planned(1.0)))
    assert options(slurm_script(planned(1.0), gpu=True, partition="long"))["gres"] == "gpu:1"


def test_the_script_does_the_plan(planned, cli, tmp_path, environment):
    """As Slurm runs it: once for each number of the array, and what it says last at the end."""
    path = planned(60.0).rename(tmp_path / "a plan.json")
    assert cli("extract", "--status", path).code == 4
    ran = cli("slurm", path, "--minutes", "20")
    assert ran.code == 0
    shim = tmp_path / "bin" / "embedkit"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from embedkit_cli.main import main; main()" "$@"\n')
    shim.chmod(0o755)
    environment |= {"PATH": f"{shim.parent}{os.pathsep}{os.environ['PATH']}"}
    for number in ("1", "2"):
        done = subprocess.run(
            ["sh", "-s"], input=ran.out, text=True, cwd="/", env=environment | {"SLURM_ARRAY_TASK_ID": number}
        )
        assert done.returncode == 0
    watched = cli("extract", "--status", path, "--watch", "--json")
    assert (watched.code, json.loads(watched.out)["complete"]) == (0, True)
    last = ran.out.splitlines()[-1].partition(" --wrap ")[2]
    subprocess.run(f"sh -c {last}", shell=True, cwd="/", env=environment, check=True)
    assert (tmp_path / "a plan.h5").is_file()


def test_watching_is_of_a_status(cli):
    assert cli("extract", "photos", "--watch").code == 2
