from __future__ import annotations

from embedkit import extract, load_model
from tests.photos import make_folder


def test_the_command_line_lets_scikit_learn_fit_on_tensors(cli, tmp_path):
    """SciPy must be told before it is imported: the device that is named would be refused otherwise."""
    folder = make_folder(tmp_path / "photos", {"red": 6, "green": 6})
    extract(folder, "pixels32", output=tmp_path / "photos.h5", store=tmp_path / "store")
    arguments = ("fit", "photos.h5", "--estimator", "sklearn.linear_model.LogisticRegression", "--folds", "2")
    ran = cli(*arguments, "--estimator-device", "torch:cpu", "-o", "tensors.skops")
    assert ran.code == 0, ran.err
    assert load_model(tmp_path / "tensors.skops").pipeline[-1].coef_.shape == (1, 3072)
    ran = cli("probe", "photos.h5", *arguments[2:], "--no-floors", "--estimator-device", "cuda:99")
    assert ran.code == 1
    assert "device 'cuda:99' is not available for estimators" in ran.err
