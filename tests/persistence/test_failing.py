"""A model that passes the validators and fails at its work: one line, which names the estimator."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.pipeline import make_pipeline

from embedkit import ImageEmbedder, predict, save_model
from embedkit.errors import ModelFileError, UsageError
from embedkit.persistence import at_work
from tests.photos import make_photo

PHOTOS = [make_photo(number, tint=number) for number in range(6)]


def test_predict_names_the_estimator_that_fails(tmp_path):
    store = str(tmp_path / "store")
    process = GaussianProcessRegressor(RBF(1.0), optimizer=None)
    model = make_pipeline(ImageEmbedder("colour-histogram", store=store), process).fit(PHOTOS, np.arange(6.0))
    model[-1].kernel_.length_scale = np.zeros(0)  # a validator of kernels does not know how many features there are
    save_model(model, tmp_path / "m.skops")
    with pytest.raises(
        ModelFileError, match=r"m\.skops does not work: its GaussianProcessRegressor fails .*again"
    ) as e:
        predict(tmp_path / "m.skops", PHOTOS, store=store)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    "error", [MemoryError(), RecursionError("deep"), KeyError("a\nb"), AttributeError("x"), OSError()]
)
def test_every_error_of_python_is_said_in_one_line(error):
    with (
        pytest.raises(ModelFileError, match=rf"x does not work: it fails \({type(error).__name__}") as said,
        at_work("x"),
    ):
        raise error
    assert "\n" not in str(said.value)


def test_errors_of_embedkit_and_interrupts_stay_what_they_are():
    for error in (UsageError("mine"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as said, at_work("x", on_a_table=True):
            raise error
        assert said.value is error
