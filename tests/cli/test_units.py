"""Plans, units and clusters on the real command line, with workers that are killed while they work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from embedkit import FeatureTable, extraction_status
from tests.deadly import deadly_path, killing, poison, wait_for
from tests.photos import make_folder, make_manifest

MODEL = ("--model", "pixels32")


@pytest.fixture
def photos(tmp_path):
    return make_folder(tmp_path / "photos", {"red": 16, "green": 16})


def same_table(one: Path, other: Path) -> bool:
    left, right = FeatureTable.open(one), FeatureTable.open(other)
    assert left.keys == right.keys
    assert len(set(left.keys)) == len(left.keys)
    assert (left.y == right.y).all()
    np.testing.assert_array_equal(left.digests, right.digests)
    np.testing.assert_array_equal(left.X, right.X)
    assert left.spec == right.spec
    return True


def test_plan_units_status_table(cli, tmp_path):
    manifest = make_manifest(tmp_path / "photos", {"red": 8, "green": 8})
    (tmp_path / "photos" / "red" / "003.png").write_bytes(b"no image")
    ran = cli("extract", manifest, *MODEL, "--plan", "P.json", "--json")
    assert (ran.code, json.loads(ran.out)["images"], json.loads(ran.out)["units"]) == (0, 16, 1), ran.err
    assert not list((tmp_path / "store" / "features").rglob("part-*"))
    ran = cli("extract", "--plan", "P.json", "-o", "planned.h5")
    assert ran.code == 1
    assert "16 of 16 images" in ran.err
    assert "--status" in ran.err
    first = cli("extract", "--plan", "P.json", "--unit", "1/3", "--json")
    assert first.code == 3  # one image was skipped
    record = json.loads(first.out)
    assert (record["images"], record["forward_passes"], record["failed"], record["output"]) == (5, 4, 1, None)
    status = cli("extract", "--status", "P.json", "--json")
    units = [(unit["unit"], unit["done"], unit["failed"], unit["rows"]) for unit in json.loads(status.out)["units"]]
    assert units == [("1/3", 4, 1, 5), ("2/3", 0, 0, 5), ("3/3", 0, 0, 6)]
    assert "11 images to go" in cli("extract", "--plan", "P.json", "--status").out
    for unit in ("3/3", "2/3", "3/3"):
        assert cli("extract", "--plan", "P.json", "--unit", unit).code == 0
    assert "complete" in cli("extract", "--status", "P.json").out
    ran = cli("extract", "--plan", "P.json", "-o", "planned.h5", "--json", without=("torch", "timm"))
    assert (ran.code, json.loads(ran.out)["forward_passes"], json.loads(ran.out)["cache_hits"]) == (3, 0, 15)
    assert cli("extract", manifest, *MODEL, "--store", "other", "-o", "plain.h5").code == 3
    assert same_table(tmp_path / "planned.h5", tmp_path / "plain.h5")
    [failure] = FeatureTable.open(tmp_path / "planned.h5").failures
    assert failure.key == "red/003.png"


def test_a_lost_mount_is_no_success(cli, tmp_path, photos):
    assert cli("extract", photos, *MODEL, "--plan", "P.json", "--units", "2").code == 0
    photos.rename(tmp_path / "unmounted")
    for made in (False, True):
        if made:
            photos.mkdir()  # an empty mount point
        ran = cli("extract", "--plan", "P.json", "--unit", "1/2")
        assert (ran.code, ran.out, len(ran.err.strip().splitlines())) == (1, "", 1), ran.err
    for arguments in (("--root", "/nonexistent", "--unit", "2/2"), ("--device", "cpu,cpu"), ("-o", "f.h5")):
        assert cli("extract", "--plan", "P.json", *arguments).code == 1
    assert "32 images to go" in cli("extract", "--status", "P.json").out
    photos.rmdir()
    (tmp_path / "unmounted").rename(photos)
    (photos / "red" / "000.png").unlink()
    for unit, code in (("1/2", 0), ("2/2", 3)):
        assert cli("extract", "--plan", "P.json", "--unit", unit).code == code
    out = cli("extract", "--status", "P.json").out
    assert "32 (31 rows, 1 failed, 0 to go)" in out
    assert "complete without 1 image that could not be read; to try again, run unit 2/2" in out


def test_a_unit_runs_from_another_folder_and_mount(cli, tmp_path, photos, environment):
    assert cli("extract", "photos", *MODEL, "--store", "shared", "--plan", "P.json").code == 0
    (tmp_path / "elsewhere").mkdir()
    for name in ("photos", "shared", "P.json"):
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    command = [sys.executable, "-c", "from embedkit_cli.main import main; main()", "extract", "--plan"]
    places = ["--store", "elsewhere/shared", "--root", str(tmp_path / "elsewhere" / "photos")]
    done = subprocess.run(
        [*command, "elsewhere/P.json", "--unit", "1/1", *places], cwd=tmp_path, env=environment, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert b"32 (32 rows, 0 failed)" in done.stdout


def test_mistakes(cli, tmp_path, photos):
    assert cli("extract", photos, *MODEL, "--plan", "P.json", "--units", "4").code == 0
    for arguments, word in (
        (("extract",), "SOURCE"),
        (("extract", "--plan", "P.json"), "--unit"),
        (("extract", "--plan", "P.json", "--unit", "0/4"), "1/8"),
        (("extract", "--plan", "P.json", "--unit", "5/4"), "1/8"),
        (("extract", "--plan", "P.json", "--unit", "one"), "1/8"),
        (("extract", "--plan", "P.json", "--unit", "1/4", *MODEL), "--model"),
        (("extract", "--plan", "P.json", "--unit", "1/4", "-o", "f.h5"), "-o means nothing"),
        (("extract", "--plan", "P.json", "--dtype", "float16", "-o", "f.h5"), "--dtype"),
        (("extract", photos, *MODEL, "--unit", "1/4"), "--plan"),
        (("extract", photos, *MODEL, "--units", "4"), "--plan"),
        (("extract", photos, *MODEL, "--plan", "Q.json", "-o", "f.h5"), "plan"),
        (("extract", "--status"), "plan"),
    ):
        ran = cli(*arguments)
        assert (ran.code, ran.out) == (2, ""), arguments
        assert word in ran.err, (arguments, ran.err)
    for arguments, word in (
        (("extract", photos, *MODEL, "--plan", "P.json"), "--force"),
        (("extract", "--status", "gone.json"), "no plan at"),
        (("extract", "--plan", photos / "red" / "000.png", "--unit", "1/1"), "not a plan"),
        (("extract", photos, *MODEL, "--device", "cpu,cpu", "--cluster", "dask"), "several devices and a cluster"),
    ):
        ran = cli(*arguments)
        assert (ran.code, ran.out) == (1, ""), (arguments, ran.err)
        assert word in ran.err.strip().splitlines()[-1]


def test_a_poison_image_ends_in_the_ledger_of_a_unit_that_is_only_repeated(cli, tmp_path, photos, environment):
    """What a Slurm array with --requeue or a Kubernetes job does: the same unit again until it ends."""
    poison(photos / "red" / "005.png")
    assert cli("extract", photos, *MODEL, "--plan", "P.json").code == 0
    environment["PYTHONPATH"] = deadly_path(tmp_path / "site")
    codes = [cli("extract", "--plan", "P.json", "--unit", "1/1").code for _ in range(3)]
    assert codes == [9, 9, 3]
    ran = cli("extract", "--plan", "P.json", "-o", "f.h5", "--json")
    record = json.loads(ran.out)
    assert (ran.code, record["images"], record["failed"]) == (3, 32, 1)
    assert record["skipped"][0]["key"] == "red/005.png"
    assert "kills the process that reads it" in record["skipped"][0]["reason"]


def test_a_poison_image_that_takes_the_whole_container_along(tmp_path, photos, environment, cli):
    poison(photos / "red" / "005.png")
    assert cli("extract", photos, *MODEL, "--plan", "P.json").code == 0
    environment["PYTHONPATH"] = deadly_path(tmp_path / "site", kill="os.killpg(0, 9)")
    command = [sys.executable, "-c", "from embedkit_cli.main import main; main()", "extract", "--plan", "P.json"]
    codes: list[int] = []
    while not codes or (codes[-1] < 0 and len(codes) < 12):
        # A session of its own, so that killing the process group does not reach the test.
        ran = subprocess.run(
            [*command, "--unit", "1/1"], cwd=tmp_path, env=environment, capture_output=True, start_new_session=True
        )
        codes.append(ran.returncode)
    assert codes == [-9] * 5 + [3]
    [key] = [
        failure["key"]
        for failure in json.loads(cli("extract", "--plan", "P.json", "--json", "-o", "f.h5").out)["skipped"]
    ]
    assert key == "red/005.png"


def test_several_devices_are_several_processes(cli, tmp_path, photos):
    ran = cli("extract", photos, *MODEL, "--device", "cpu,cpu", "-o", "two.h5", "--json")
    assert ran.code == 0, ran.err
    record = json.loads(ran.out)
    assert (record["images"], record["forward_passes"], record["cache_hits"], record["copies"]) == (32, 32, 0, 0)
    assert not any((tmp_path / "store" / "memo" / "plans").iterdir())
    again = json.loads(cli("extract", photos, *MODEL, "--device", "cpu,cpu", "-o", "two.h5", "--json").out)
    assert (again["forward_passes"], again["cache_hits"]) == (0, 32)
    assert cli("extract", photos, *MODEL, "--store", "other", "-o", "one.h5").code == 0
    assert same_table(tmp_path / "two.h5", tmp_path / "one.h5")


def test_a_device_that_is_not_there_is_an_error(cli, photos):
    ran = cli("extract", photos, *MODEL, "--device", "cpu,cuda:7")
    assert ran.code == 1
    assert "device 'cuda:7' is not available" in ran.err.strip().splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupt_ends_the_processes_too(number, tmp_path, photos, environment, cli):
    assert cli("extract", photos, *MODEL, "--plan", "P.json", "--units", "2").code == 0
    environment["PYTHONPATH"] = deadly_path(tmp_path / "site", seconds=0.5)
    running = subprocess.Popen(
        [sys.executable, "-c", "from embedkit_cli.main import main; main()"]
        + ["extract", "--plan", "P.json", "--device", "cpu,cpu", "-o", "f.h5"],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    workers = wait_for(lambda: len(found := at_work(tmp_path / "P.json")) == 2 and found)
    if number == signal.SIGINT:
        os.killpg(running.pid, number)  # as a terminal does
    else:
        running.send_signal(number)
    error = running.communicate(timeout=120)[1]
    assert running.returncode == 128 + number
    assert error.strip().startswith("embedkit: error: interrupted"), error
    for worker in workers:
        wait_for(lambda worker=worker: not Path(f"/proc/{worker}").exists())


def at_work(plan: Path) -> list[int]:
    """Return the processes that work on units of a plan."""
    return [int(unit.worker.rpartition(":")[2]) for unit in extraction_status(plan).units if unit.worker]


@pytest.mark.parametrize("cluster", ["dask", "ray"])
def test_a_cluster_whose_workers_are_killed(cluster, cli, tmp_path, photos, environment):
    pytest.importorskip({"dask": "distributed", "ray": "ray"}[cluster], reason=f"the extra {cluster} is not installed")
    assert cli("extract", photos, *MODEL, "-o", "plain.h5", "--store", "plain").code == 0
    poison(photos / "red" / "009.png")
    assert cli("extract", photos, *MODEL, "--plan", "P.json", "--units", "4").code == 0
    environment["PYTHONPATH"] = deadly_path(tmp_path / "site", seconds=0.5)
    with killing(lambda: at_work(tmp_path / "P.json"), times=2) as killed:
        ran = cli("extract", "--plan", "P.json", "--cluster", cluster, "-o", "f.h5", "--json")
    assert ran.code == 3, ran.err
    assert killed
    record = json.loads(ran.out)
    assert [failure["key"] for failure in record["skipped"]] == ["red/009.png"]
    assert "kills the process that reads it" in record["skipped"][0]["reason"]
    plain, table = FeatureTable.open(tmp_path / "plain.h5"), FeatureTable.open(tmp_path / "f.h5")
    expected = plain.select(keys=[key for key in plain.keys if key != "red/009.png"])
    assert table.keys == expected.keys
    np.testing.assert_array_equal(table.X, expected.X)


@pytest.mark.parametrize(("cluster", "module"), [("dask", "distributed"), ("ray", "ray")])
def test_an_engine_that_is_not_installed_is_named(cluster, module, tmp_path, photos, environment):
    code = f"import sys; sys.modules[{module!r}] = None; from embedkit_cli.main import main; main()"
    command = [sys.executable, "-c", code, "extract", photos, *MODEL, "--cluster", cluster]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.returncode == 1
    assert ran.stderr.strip().splitlines()[-1].endswith(f"pip install 'embedkit[{cluster}]'")


@pytest.mark.parametrize("separator", [b"\n", b"\0"])
def test_paths_on_standard_input(tmp_path, photos, environment, separator):
    paths = [os.fsencode(path.relative_to(tmp_path)) for path in sorted(photos.rglob("*.png"))]
    odd = b"photos/\xff odd.png"
    (tmp_path / os.fsdecode(odd)).write_bytes((photos / "red" / "000.png").read_bytes())
    done = subprocess.run(
        [sys.executable, "-c", "from embedkit_cli.main import main; main()", "extract", "-", *MODEL, "-o", "f.h5"],
        input=separator.join([*paths, odd]) + separator,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert FeatureTable.open(tmp_path / "f.h5").keys == [*map(os.fsdecode, paths), "photos/\\xff odd.png"]


def test_nothing_on_standard_input(tmp_path, environment):
    done = subprocess.run(
        [sys.executable, "-c", "from embedkit_cli.main import main; main()", "extract", "-", *MODEL],
        input=b"",
        cwd=tmp_path,
        env=environment,
        capture_output=True,
    )
    assert done.returncode == 1
    assert b"an empty list, expected at least one image" in done.stderr


def test_a_folder_at_a_url(cli, tmp_path, photos):
    ran = cli("extract", photos.as_uri(), *MODEL, "-o", "remote.h5", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["forward_passes"] == 32
    ran = cli("extract", photos, *MODEL, "-o", "local.h5", "--json")
    assert json.loads(ran.out)["forward_passes"] == 0  # identity is by bytes
    assert same_table(tmp_path / "remote.h5", tmp_path / "local.h5")
    ran = cli("extract", "nowhere://photos", *MODEL)
    assert ran.code == 1
    assert "nowhere://photos" in ran.err
