"""extract, probe, fit and predict, as a person types them."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time

import h5py
import pytest

from tests.photos import MODEL, make_folder, make_manifest, make_photo

OPTIONS = ("--model", MODEL, "--weights", "random")
HEAVY = ("torch", "timm")


@pytest.fixture
def manifest(tmp_path):
    return make_manifest(tmp_path / "photos", {"red": 9, "green": 9, "blue": 9}, test=3)


def test_extract_probe_fit_predict(cli, manifest, tmp_path):
    ran = cli("extract", manifest, *OPTIONS, "-o", "photos.h5", "--json")
    assert (ran.code, ran.err) == (0, "embedkit: random weights (seed 0): a floor, not a backbone\n")
    report = json.loads(ran.out)
    assert (report["images"], report["forward_passes"], report["cache_hits"], report["failed"]) == (27, 27, 0, 0)
    assert {"fingerprint", "store", "output", "seconds", "images_per_second", "engine", "precision", "drift"} <= set(
        report
    )
    with h5py.File(tmp_path / "photos.h5") as file:
        assert file["features"].shape == (27, report["width"])

    ran = cli("probe", "photos.h5", "--json", without=HEAVY)
    assert ran.code == 0, ran.err
    results = json.loads(ran.out)["results"]
    assert {result["estimator"] for result in results if not result["floor"]} == {
        "logistic",
        "pca+logistic",
        "svm",
        "knn",
    }
    assert {result["model"] for result in results if result["floor"]} == {"pixels32", "colour-histogram"}
    for result in results:
        assert 0 <= result["interval"][0] <= result["value"] <= result["interval"][1] <= 1
        assert (result["n_train"], result["n_test"]) == (18, 9)
        assert (result["metric"], result["protocol"]) == ("accuracy", "quick")
        assert result["reported_on"] == "test split (9 images)"
        assert result["selected_on"].startswith("a stratified 20% of train")
    best = {(result["model"], result["estimator"]): result["value"] for result in results}
    assert best[MODEL, "logistic"] >= 0.8  # three tints

    ran = cli("fit", "photos.h5", "--estimator", "svm", "-o", "model.skops")
    assert ran.code == 0, ran.err
    assert "ImageEmbedder -> LinearSVC" in ran.out

    new = make_folder(tmp_path / "new", {"some": 2, "more": 2})
    ran = cli("predict", "model.skops", new, "-o", "predicted.csv")
    assert ran.code == 0, ran.err
    table, labelled = ran.out.split("\n\n", 1)
    assert len(table.splitlines()) == 5
    assert "decision value" in table.splitlines()[0]
    assert "some" in labelled  # the folders' names are labels, too, none of which the model knows
    with (tmp_path / "predicted.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == ["more/000.png", "more/001.png", "some/000.png", "some/001.png"]
    assert {row["predicted"] for row in rows} <= {"red", "green", "blue"}
    assert all(float(row["decision value"]) == pytest.approx(float(row["decision value"])) for row in rows)


def test_a_second_extraction_imports_no_torch(cli, manifest):
    assert cli("extract", manifest, *OPTIONS, "-o", "photos.h5").code == 0
    ran = cli("extract", manifest, *OPTIONS, "-o", "photos.h5", "--json", without=HEAVY)
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert (report["forward_passes"], report["cache_hits"]) == (0, 27)


def test_a_first_extraction_needs_torch(cli, manifest):
    """So that the test above could fail."""
    assert cli("extract", manifest, *OPTIONS, without=HEAVY).code != 0


def test_renamed_edited_and_doubled_images(cli, manifest, tmp_path):
    folder = manifest.parent
    assert cli("extract", folder, *OPTIONS).code == 0
    (folder / "red").rename(folder / "crimson")
    report = json.loads(cli("extract", folder, *OPTIONS, "--json", without=HEAVY).out)
    assert (report["images"], report["forward_passes"]) == (27, 0)
    make_photo(999).save(folder / "crimson" / "000.png")
    (folder / "crimson" / "copy.png").write_bytes((folder / "blue" / "000.png").read_bytes())
    report = json.loads(cli("extract", folder, *OPTIONS, "--json").out)
    assert (report["images"], report["forward_passes"], report["cache_hits"]) == (28, 1, 27)


def test_labels_from_another_column(cli, manifest, tmp_path):
    text = manifest.read_text().splitlines()
    lines = [f"{text[0]},coarse", *(f"{line},{'warm' if 'red' in line else 'cold'}" for line in text[1:])]
    manifest.write_text("\n".join(lines))
    assert cli("extract", manifest, *OPTIONS, "-o", "coarse.h5", "--label-column", "coarse").code == 0
    assert "2 classes" in cli("info", "coarse.h5").out
    assert cli("extract", manifest, *OPTIONS, "-o", "fine.h5").code == 0
    ran = cli("probe", "fine.h5", "--label-column", "coarse", "--estimator", "logistic", "--no-floors", "--json")
    assert ran.code == 0, ran.err


def test_a_folder_without_splits_is_cross_validated(cli, tmp_path):
    folder = make_folder(tmp_path / "photos", {"red": 6, "green": 6})
    ran = cli("probe", folder, *OPTIONS, "--estimator", "logistic", "--json")
    assert ran.code == 0, ran.err
    [first, *_] = [result for result in json.loads(ran.out)["results"] if not result["floor"]]
    assert first["reported_on"] == "5-fold cross-validation (12 images, each tested once)"
    assert first["n_test"] == 12


def test_what_cannot_be_read_is_listed_and_exits_with_3(cli, manifest, tmp_path):
    (manifest.parent / "red" / "000.png").write_bytes(b"no image")
    (manifest.parent / "red" / "001.png").unlink()
    ran = cli("extract", manifest, *OPTIONS, "-o", "photos.h5", "--json")
    assert ran.code == 3
    report = json.loads(ran.out)
    assert report["failed"] == 2
    assert [failure["key"] for failure in report["skipped"]] == ["red/000.png", "red/001.png"]
    with h5py.File(tmp_path / "photos.h5") as file:
        assert file["features"].shape[0] == 25
        assert len(file["failures/key"]) == 2
    ran = cli("probe", "photos.h5", "--estimator", "knn")
    assert ran.code == 3
    assert "2 images skipped" in ran.err


def test_info_and_store_info(cli, manifest, tmp_path):
    assert cli("extract", manifest, *OPTIONS, "-o", "photos.h5").code == 0
    info = json.loads(cli("info", "photos.h5", "--json", without=HEAVY).out)
    assert (info["rows"], info["classes"], info["splits"]) == (27, 3, {"test": 9, "train": 18})
    assert "27 rows" in cli("info", "photos.h5").out
    found = json.loads(cli("store", "info", "--json", without=HEAVY).out)
    assert found["path"] == str(tmp_path / "store")
    assert [(one["rows"], one["damaged"]) for one in found["fingerprints"]] == [(27, 0)]
    assert cli("store", "verify").code == 0


def test_models_lists_names_and_widths(cli):
    ran = cli("models", "test_res*", "--json")
    assert ran.code == 0, ran.err
    [model] = [model for model in json.loads(ran.out)["models"] if model["name"].startswith("test_resnet.")]
    assert model["width"] > 0
    assert model["weights_at_hand"] is False
    assert cli("models", "no_such_model_at_all").code == 1


def test_interrupted_keeps_what_was_committed_and_goes_on(environment, cli, tmp_path):
    folder = make_folder(tmp_path / "photos", {"many": 600})
    code = "from embedkit_cli.main import main; main()"
    report = {"cache_hits": 0}
    for seconds in (0.2, 1.0, 4.0, 16.0):  # a slow machine has computed nothing after the first of them
        store = tmp_path / f"store-{seconds}"
        command = ["extract", str(folder), *OPTIONS, "--store", str(store), "--batch-size", "4"]
        process = subprocess.Popen(
            [sys.executable, "-c", code, *command],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 120
        while not list(store.glob("features/*/leases/*")) and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "Traceback" not in err
        assert "run the same command again" in err
        report = json.loads(cli(*command, "--json").out)
        assert report["forward_passes"] + report["cache_hits"] == 600
        if report["cache_hits"]:
            break
    assert 0 < report["cache_hits"] < 600
