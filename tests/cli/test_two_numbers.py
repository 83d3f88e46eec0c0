"""One backbone has two numbers where `probe` computes in bf16 and `compare` in fp32: both say why, by real runs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.photos import MODEL, make_manifest

# `auto` decides by the clock; here it decides for bf16 wherever that is near enough, and looks also for a few images.
DECIDED = "import embedkit.backbones.choice as choice; choice.FASTER, choice.FEW_IMAGES = 1e-9, 1; "
WITHOUT_BF16 = "choice.available_precisions = lambda device: ['fp32']; "


@pytest.fixture
def run(tmp_path, environment):
    make_manifest(tmp_path / "photos", {"red": 8, "green": 8, "blue": 8}, test=3)

    def run(command: str, machine: str) -> dict:
        options = ("--model", MODEL, "--weights", "random", "--no-floors", "--json")
        code = machine + "from embedkit_cli.main import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, command, "photos/split.csv", *options],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_with_bf16_both_say_why_they_differ(run):
    probed, compared = run("probe", DECIDED), run("compare", DECIDED)
    [said] = [note for note in probed["notes"] if "differ a little" in note]
    assert "its features are of torch bf16; `compare` computes torch fp32" in said
    [said] = [note for note in compared["notes"] if "differ a little" in note]
    assert "features are of torch fp32 where precision and engine are auto; `probe`" in said
    used = [run_of["origin"]["fingerprints"] for run_of in (probed, compared)]
    assert used[0] != used[1]


def test_without_bf16_probe_computes_what_compare_does(run):
    probed, compared = run("probe", DECIDED + WITHOUT_BF16), run("compare", DECIDED + WITHOUT_BF16)
    assert not [note for note in probed["notes"] if "differ a little" in note]
    [said] = [note for note in compared["notes"] if "differ a little" in note]
    assert "features are of torch fp32 where" in said
    fingerprints = [run_of["origin"]["fingerprints"] for run_of in (probed, compared)]
    assert fingerprints[0] == fingerprints[1]
    values = {one["estimator"]: one["value"] for one in probed["results"]}
    [board] = compared["leaderboards"]
    assert board["rows"][0]["value"] == values[board["estimator"]]
