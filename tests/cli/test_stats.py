"""stats and fit on statistics, as a person types them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from embedkit import FeatureTable, fit_statistics, load_model, load_result, stats
from embedkit.errors import OutputExistsError, SpecMismatchError, StatisticsFileError, UsageError
from embedkit_cli.main import cli as command_line
from tests.photos import MODEL, make_manifest

EXACT = ("--weights", "random", "--precision", "fp32", "--engine", "torch")


def test_two_sites_give_the_model_of_all_rows_and_it_predicts(cli, tmp_path):
    make_manifest(tmp_path / "photos", {"red": 9, "green": 8, "blue": 7})
    ran = cli("extract", "photos/split.csv", "--model", MODEL, *EXACT, "-o", "all.h5")
    assert ran.code == 0, ran.err
    table = FeatureTable.open(tmp_path / "all.h5")
    table[::2].write(tmp_path / "0.h5")
    table[1::2].write(tmp_path / "1.h5")
    # Nothing of the network is needed: features are in the file.
    ran = cli("stats", "0.h5", "-o", "0.stats", without=("torch", "timm"))
    assert ran.code == 0, ran.err
    assert "no image, no row" in ran.out
    assert "3 (test split)" in ran.out
    for name in ("1", "all"):
        stats(tmp_path / f"{name}.h5", output=tmp_path / f"{name}.stats")
    both = cli("fit", "1.stats", "0.stats", "-o", "both.skops", "--result", "r.json", without=("torch", "timm"))
    assert both.code == 0, both.err
    assert "cannot be known from sums" in both.err
    assert "accuracy     not known: statistics hold no rows" in both.out
    said = load_result(tmp_path / "r.json")
    assert (said.rows, said.classes) == (18, ["blue", "green", "red"])
    assert [one.file for one in said.sites] == ["1.stats", "0.stats"]
    one = fit_statistics([tmp_path / "all.stats"], output=tmp_path / "all.skops")
    assert said.params == one.params
    whole, added = (load_model(tmp_path / name).pipeline for name in ("all.skops", "both.skops"))
    np.testing.assert_allclose(added[-1].coef_, whole[-1].coef_, rtol=1e-6, atol=1e-6)
    ran = cli("predict", "both.skops", "photos/split.csv", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["accuracy"] > 0.6
    with pytest.raises(OutputExistsError, match=r"0\.stats exists"):
        stats(tmp_path / "0.h5", output=tmp_path / "0.stats")
    with pytest.raises(UsageError, match=r"let it end in \.stats"):
        stats(tmp_path / "0.h5", output=tmp_path / "0.json")


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """Statistics of floors, which need no network."""
    folder = tmp_path_factory.mktemp("kernels")
    make_manifest(folder / "photos", {"red": 9, "green": 8, "blue": 7})
    made = {}
    for name, fourier in (("k", 40), ("plain", None)):
        made[name] = stats(
            folder / "photos" / "split.csv",
            "colour-histogram",
            output=folder / f"{name}.stats",
            fourier=fourier,
            gamma=1.0,
            store=folder / "store",
        )
    assert made["k"].fourier == "40, gamma 1, seed 0"
    assert made["k"].width == 40
    assert made["plain"].labels == {"blue": 5, "green": 6, "red": 7}
    return folder


def test_a_kernel_and_discriminant_analysis(kernels):
    fitted = fit_statistics([kernels / "k.stats"], estimator="lda", shrinkage=0.5, output=kernels / "m.skops")
    assert fitted.steps == ["ImageEmbedder", "Normalizer", "RBFSampler", "StandardScaler", "StreamingLDA"]
    assert load_model(kernels / "m.skops").classes == ["blue", "green", "red"]


@pytest.mark.parametrize(
    ("files", "arguments", "error", "said"),
    [
        (["k", "plain"], {}, SpecMismatchError, "40 Fourier features with gamma 1 and seed 0"),
        (["k", "k"], {}, StatisticsFileError, "rows must count once"),
        (["gone"], {}, StatisticsFileError, "embedkit stats TARGET"),
        ([], {}, UsageError, "no statistics are named"),
        (["k"], {"estimator": "svm"}, UsageError, "ridge and lda can"),
        (["k"], {"estimator": "lda", "alpha": 1.0}, UsageError, "alpha is a parameter of ridge"),
        (["k"], {"alpha": -1.0}, UsageError, "expected a positive number"),
        (["k"], {"output": "m.h5"}, UsageError, "let it end in .skops"),
    ],
)
def test_what_is_refused(kernels, files, arguments, error, said):
    arguments = {"output": kernels / "n.skops", **arguments}
    with pytest.raises(error, match=said):
        fit_statistics([kernels / f"{name}.stats" for name in files], **arguments)
    assert not (kernels / "n.skops").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--folds", "3"), "--folds says nothing of statistics"),
        (("--param", "C=1"), "--param is alpha=NUMBER"),
        (("--param", "alpha=1,2"), "--param is alpha=NUMBER"),
        (("--report", "page.html"), "--report says nothing of statistics"),
    ],
)
def test_options_that_say_nothing_of_statistics(kernels, arguments, said):
    ran = CliRunner().invoke(
        command_line, ["fit", str(kernels / "k.stats"), *arguments, "-o", str(kernels / "n.skops")]
    )
    assert ran.exit_code == 2
    assert said in ran.output
