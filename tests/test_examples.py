"""The examples of the gallery run as they stand, with warnings as errors."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).resolve().parent.parent / "docs" / "examples").glob("plot_*.py"))

# What each has to print, so that an example that runs but says nothing true is found out.
PRINTS = {
    "plot_grid_search.py": "[200]\n",
    "plot_out_of_core.py": "the same predictions: 100%\nTrue\n",
    "plot_photos_and_table.py": "'shop__shop_north' 'shop__shop_south'",
    "plot_pipeline.py": "accuracy 0.9",
    "plot_regression.py": "always the mean  mean error",
    "plot_retrieval.py": "of the neighbours",
    "plot_several_backbones.py": "['bundled__imageembedder0' 'pixels__imageembedder3071']",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return str(tmp_path_factory.mktemp("store"))  # shared: what one example has embedded, the next finds


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs(example, store, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("EMBEDKIT_STORE", store)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)  # to be taken from TMPDIR again
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(example), run_name="__main__")
    assert PRINTS[example.name] in capsys.readouterr().out


def test_every_example_is_run():
    assert [path.name for path in EXAMPLES] == sorted(PRINTS)
