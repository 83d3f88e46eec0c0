"""Whatever is wrong with what a person types: one line on stderr, no traceback, nothing lost."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.photos import MODEL, make_folder, make_manifest

OPTIONS = ("--model", MODEL, "--weights", "random")


def assert_one_line(ran, *words: str, code: int = 1) -> None:
    lines = ran.err.strip().splitlines()
    assert ran.code == code, ran.err
    assert ran.out == ""
    assert len(lines) == 1, ran.err
    assert lines[0].startswith("embedkit: error: ")
    for word in words:
        assert word in lines[0]


@pytest.fixture
def photos(tmp_path):
    return make_folder(tmp_path / "photos", {"red": 3, "green": 3})


def test_unknown_model_offers_the_nearest(cli, photos):
    assert_one_line(cli("extract", photos, "--model", "resnet5O", "--weights", "random"), "resnet5O", "resnet50")


def test_missing_hub_names_the_file_and_the_way_out(cli, photos):
    assert_one_line(cli("extract", photos, "--model", "resnet18.a1_in1k"), "timm/resnet18.a1_in1k", "--weights")


def test_weights_that_do_not_fit_name_the_keys(cli, photos, tmp_path):
    import torch
    from safetensors.torch import save_file

    save_file({"some.weight": torch.zeros(2)}, tmp_path / "wrong.safetensors")
    ran = cli("extract", photos, "--model", MODEL, "--weights", tmp_path / "wrong.safetensors")
    assert_one_line(ran, "wrong.safetensors", "conv1.0.weight", "some.weight")
    assert_one_line(cli("extract", photos, "--model", MODEL, "--weights", "gone.safetensors"), "gone.safetensors")


def test_empty_folder(cli, tmp_path):
    (tmp_path / "empty").mkdir()
    assert_one_line(cli("extract", "empty", *OPTIONS), "empty", "no image")


def test_missing_source(cli):
    assert_one_line(cli("extract", "nowhere", *OPTIONS), "nowhere")


def test_one_class_only(cli, tmp_path):
    make_folder(tmp_path / "one", {"red": 6})
    ran = cli("probe", "one", *OPTIONS, "--no-floors")
    said, error = ran.err.splitlines()  # how the folder was read, and why that is no use
    assert ran.code == 1
    assert "'red' is the only class" in said
    assert "1 class (red)" in error


def test_fewer_rows_than_folds(cli, photos):
    assert_one_line(cli("probe", photos, *OPTIONS, "--no-floors"), "5 folds", "smallest has 3")


def test_missing_labels(cli, tmp_path):
    manifest = make_manifest(tmp_path / "photos2", {"red": 4, "green": 4})
    manifest.write_text(manifest.read_text().replace("red/000.png,red", "red/000.png,"))
    assert_one_line(cli("probe", manifest, *OPTIONS, "--no-floors"), "1 of 8 rows have no label")
    flat = tmp_path / "flat"
    flat.mkdir()
    (flat / "a.png").write_bytes((tmp_path / "photos2" / "red" / "000.png").read_bytes())
    assert_one_line(cli("probe", flat, *OPTIONS, "--no-floors"), "no labels")


def test_no_train_split(cli, tmp_path):
    manifest = make_manifest(tmp_path / "photos2", {"red": 4, "green": 4})
    manifest.write_text(manifest.read_text().replace(",train,", ",other,"))
    assert_one_line(cli("probe", manifest, *OPTIONS, "--no-floors"), "train split", "other: 4")


def test_a_feature_file_has_its_model(cli, photos):
    assert cli("extract", photos, *OPTIONS, "-o", "photos.h5").code == 0
    assert_one_line(cli("probe", "photos.h5", *OPTIONS), "has its model")


def test_unwritable_output(cli, photos):
    assert_one_line(cli("extract", photos, *OPTIONS, "-o", "no/such/folder/photos.h5"), "no/such/folder")


def test_output_of_another_fingerprint_is_not_overwritten(cli, photos, tmp_path):
    assert cli("extract", photos, *OPTIONS, "-o", "photos.h5").code == 0
    before = (tmp_path / "photos.h5").read_bytes()
    ran = cli("extract", photos, *OPTIONS, "--input-size", "64", "-o", "photos.h5")
    assert_one_line(ran, "preprocess.input_size", "--force")
    assert (tmp_path / "photos.h5").read_bytes() == before
    assert cli("extract", photos, *OPTIONS, "--input-size", "64", "-o", "photos.h5", "--force").code == 0
    assert (tmp_path / "photos.h5").read_bytes() != before


def test_a_model_file_refuses_other_weights(cli, tmp_path):
    import timm
    from safetensors.torch import save_file

    manifest = make_manifest(tmp_path / "photos2", {"red": 5, "green": 5})
    for name in ("first", "second"):
        save_file(timm.create_model(MODEL, pretrained=False).state_dict(), tmp_path / f"{name}.safetensors")
    assert cli("extract", manifest, "--model", MODEL, "--weights", "first.safetensors", "-o", "p.h5").code == 0
    assert cli("fit", "p.h5", "-o", "model.skops").code == 0
    assert_one_line(cli("fit", "p.h5", "-o", "model.skops"), "model.skops", "--force")
    ran = cli("predict", "model.skops", "photos2", "--weights", "second.safetensors")
    assert_one_line(ran, "backbone.weights", "--weights")
    (tmp_path / "first.safetensors").rename(tmp_path / "moved.safetensors")
    assert_one_line(cli("predict", "model.skops", "photos2"), "first.safetensors", "--weights")
    ran = cli("predict", "model.skops", "photos2", "--weights", "moved.safetensors")
    assert ran.code == 0, ran.err


def test_what_is_no_model_file_is_refused(cli, photos, tmp_path):
    import pickle

    (tmp_path / "text.skops").write_text("nothing")
    (tmp_path / "pickle.skops").write_bytes(pickle.dumps({}))
    assert_one_line(cli("predict", "text.skops", photos), "text.skops")
    assert_one_line(cli("predict", "pickle.skops", photos), "pickle")
    assert_one_line(cli("predict", "gone.skops", photos), "gone.skops")


def test_a_damaged_feature_file_is_refused(cli, photos, tmp_path):
    assert cli("extract", photos, *OPTIONS, "-o", "photos.h5").code == 0
    content = bytearray((tmp_path / "photos.h5").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "photos.h5").write_bytes(content)
    assert_one_line(cli("probe", "photos.h5"), "photos.h5")
    assert_one_line(cli("info", "gone.h5"), "gone.h5")


def test_copies_of_training_images_in_the_test_split_are_counted(cli, tmp_path):
    manifest = make_manifest(tmp_path / "photos2", {"red": 6, "green": 6}, test=2)
    for name in ("red", "green"):
        copy = tmp_path / "photos2" / name / "005.png"
        copy.write_bytes((tmp_path / "photos2" / name / "000.png").read_bytes())
    ran = cli("probe", manifest, *OPTIONS, "--no-floors", "--estimator", "knn")
    assert ran.code == 0, ran.err
    assert "2 of 4 tested images are byte for byte among the training images" in ran.err


def test_outputs_are_not_replaced_and_have_the_right_ending(cli, photos, tmp_path):
    manifest = make_manifest(tmp_path / "photos2", {"red": 5, "green": 5})
    assert_one_line(cli("extract", manifest, *OPTIONS, "-o", "photos.csv"), "photos.csv", ".h5")
    assert cli("extract", manifest, *OPTIONS, "-o", "p.h5").code == 0
    assert_one_line(cli("fit", "p.h5", "-o", "model.pkl"), "model.pkl", ".skops")
    assert cli("fit", "p.h5", "-o", "model.skops", "--estimator", "knn").code == 0
    before = manifest.read_bytes()
    assert_one_line(cli("predict", "model.skops", manifest, "-o", manifest), "split.csv", "--force")
    assert manifest.read_bytes() == before


def test_formats_of_phones_are_failures_not_gaps(cli, photos):
    (photos / "red" / "IMG_1.HEIC").write_bytes(b"\x00\x00\x00\x20ftypheic\x00\x00\x00\x00")
    ran = cli("extract", photos, *OPTIONS)
    assert ran.code == 3
    assert "red/IMG_1.HEIC: not an image that embedkit reads: AVIF, HEIC" in ran.err


def test_a_target_without_rows(cli, photos):
    for path in photos.rglob("*.png"):
        path.write_bytes(b"nothing")
    ran = cli("extract", photos, *OPTIONS, "-o", "none.h5")
    assert ran.code == 3
    assert "every feature was" not in ran.out
    assert_one_line(cli("probe", "none.h5", "--no-floors"), "6 failed")


def test_a_pickle_is_not_loaded_unasked(cli, photos, tmp_path, monkeypatch):
    import joblib
    from click.testing import CliRunner

    from embedkit import ImageEmbedder, fit
    from embedkit_cli.main import cli as commands

    monkeypatch.setenv("EMBEDKIT_STORE", str(tmp_path / "store"))
    backbone = ImageEmbedder(MODEL, weights="random").request()
    fitted = fit(photos, backbone, output=tmp_path / "m.skops", folds=2)
    joblib.dump(fitted.pipeline, tmp_path / "m.joblib")
    assert_one_line(cli("predict", "m.joblib", photos), "m.joblib is a pickle", "--trust-pickle")
    arguments = ["predict", str(tmp_path / "m.joblib"), str(photos), "--trust-pickle"]
    trusted = CliRunner().invoke(commands, arguments, catch_exceptions=False, standalone_mode=False)
    assert trusted.return_value == 0
    assert trusted.stdout.count("red/") == 3


def test_no_url_of_data_is_followed_where_the_user_says_so(cli, tmp_path):
    (tmp_path / "m.csv").write_text("path,label\nhttp://example.com/x.png,a\n")
    assert_one_line(cli("--no-data-urls", "extract", "m.csv", "--dry-run"), "http://example.com/x.png", "data name")


@pytest.mark.parametrize(("command", "offline"), [("predict", True), ("explain", True), ("probe", False)])
def test_no_network_of_a_model_file_is_fetched_where_the_user_says_so(monkeypatch, command, offline):
    from click.testing import CliRunner

    from embedkit_cli.main import cli as commands

    for name in ("HF_HUB_OFFLINE", "EMBEDKIT_DATA_URLS"):
        monkeypatch.setenv(name, "")  # and restored afterwards
    assert CliRunner().invoke(commands, ["--no-data-urls", command, "--help"]).exit_code == 0
    assert (os.environ["HF_HUB_OFFLINE"] == "1") is offline  # what the user names by --model is no data


def test_a_url_of_data_is_followed_where_the_command_line_names_it(cli, tmp_path):
    (tmp_path / "m.csv").write_text("path,label\nmemory://here/x.png,a\n")
    assert_one_line(cli("extract", "m.csv", "--dry-run"), "memory://here/x.png", "embedkit --allow-url")
    assert_one_line(cli("--allow-url", "memory://there/", "extract", "m.csv", "--dry-run"), "memory://here/x.png")
    allowed = cli("--no-data-urls", "--allow-url", "memory://here/", "extract", "m.csv", "--dry-run")
    assert "allow-url" not in allowed.err
    assert "memory" not in allowed.err or "x.png" in allowed.err
    assert cli("--allow-url", "here", "extract", "m.csv", "--dry-run").code == 2


@pytest.mark.parametrize(
    "command",
    [
        ["extract", "p.csv"],
        ["extract", "p.tar"],
        ["extract", "p.npy"],
        ["extract", "p.parquet"],
        ["probe", "p.csv"],
        ["predict", "p.skops", "p.csv"],
        ["info", "p.h5"],
        ["report", "p.json", "-o", "page.html"],
        ["extract", "--status", "p.json"],
    ],
    ids=" ".join,
)
def test_a_pipe_in_place_of_a_file_keeps_nobody_waiting(cli, tmp_path, command):
    paths = [str(tmp_path / word) if word.startswith("p.") or word == "page.html" else word for word in command]
    for word in {path for path in paths if "/p." in path}:
        os.mkfifo(word)
    ran = cli(*paths)
    assert_one_line(ran)


def test_escapes_in_wrong_usage_do_not_reach_the_terminal(cli):
    ran = cli("info", "a.h5", "b\x1b[31m.h5")  # as a shell puts names in place of *
    assert (ran.code, "\x1b" in ran.err) == (2, False)
    assert "b\\x1b[31m.h5" in ran.err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is full")
@pytest.mark.parametrize("command", [["models", "resnet18"], ["--help"]], ids=" ".join)
def test_an_output_without_room_is_one_line(environment, command):
    code = "from embedkit_cli.main import main; main()"
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            [sys.executable, "-c", code, *command], env=environment, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert ran.returncode == 1
    assert (
        ran.stderr
        == "embedkit: error: cannot write the output: No space left on device; free some space, and run again\n"
    )


def test_a_store_whose_folder_is_none_is_one_line(cli, photos, tmp_path):
    assert cli("extract", photos, "--model", "pixels32", "--store", tmp_path / "store").code == 0
    (tmp_path / "store" / "features").rename(tmp_path / "elsewhere")
    (tmp_path / "store" / "features").write_bytes(b"")
    assert_one_line(cli("store", "info", tmp_path / "store"), "store/features", "Not a directory")
