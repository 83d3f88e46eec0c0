"""What ``-o`` and ``--result`` save says where it comes from."""

from __future__ import annotations

from embedkit import load_result
from tests.photos import MODEL, make_manifest


def test_every_measuring_command_saves_its_result(cli, tmp_path):
    manifest = make_manifest(tmp_path / "photos", {"red": 6, "green": 6}, test=2)
    exact = ("--model", MODEL, "--weights", "random", "--precision", "fp32", "--engine", "torch")
    for arguments in (
        ("probe", manifest, *exact, "--no-floors", "--shots", "1,2", "--seeds", "2", "-o", "curve.json"),
        ("fit", manifest, *exact, "-o", "model.skops", "--result", "fit.json"),
        ("predict", "model.skops", manifest, "-o", "predictions.json"),
    ):
        ran = cli(*arguments)
        assert ran.code == 0, ran.err
    curve, fit, predictions = (load_result(tmp_path / f"{name}.json") for name in ("curve", "fit", "predictions"))
    assert [len(one.points) for one in curve.curves] == [2]
    assert fit.result.rows.confusion().sum() == 4
    assert len(predictions.predictions) == 12
    for record in (curve, fit, predictions):
        origin = record.origin
        assert origin.request["command"] in ("probe", "curve", "fit", "predict")
        assert all(len(digest) == 64 for digest in origin.fingerprints.values())
        assert origin.fingerprints
        assert origin.data == ["photos"]
        assert {"embedkit", "scikit-learn", "torch"} <= origin.versions.keys()
        assert origin.machine["cores"]
        assert origin.created.endswith("Z")
    for record in (curve, fit):
        [digest] = record.origin.split.values()
        assert len(digest) == 64
        assert record.origin.seeds[0] == 0
