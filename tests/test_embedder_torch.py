"""ImageEmbedder(output="torch")."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from embedkit import ImageEmbedder
from embedkit.errors import UsageError
from tests.photos import MODEL, make_photo

PHOTOS = [make_photo(number, tint=number) for number in range(4)]


@pytest.fixture
def embedder(tmp_path):
    return ImageEmbedder(MODEL, weights="random", precision="fp32", engine="torch", store=str(tmp_path / "store"))


def test_tensors_hold_the_very_features(embedder):
    expected = embedder.fit_transform(PHOTOS)
    in_torch = clone(embedder).set_params(output="torch", device="cpu")
    for features in (in_torch.fit_transform(PHOTOS), in_torch.transform(PHOTOS)):
        assert isinstance(features, torch.Tensor)
        assert (features.dtype, features.device.type) == (torch.float32, "cpu")
        np.testing.assert_array_equal(features.numpy(), expected)
    doubled = make_pipeline(in_torch, FunctionTransformer(torch.add, kw_args={"other": 1.0})).transform(PHOTOS)
    np.testing.assert_array_equal(doubled.numpy(), expected + 1)


def test_two_containers_at_once_are_refused_before_any_image_is_read(embedder):
    embedder.set_params(output="torch")
    with sklearn.config_context(transform_output="pandas"), pytest.raises(UsageError, match="'pandas'.*leave one out"):
        embedder.transform(["no such file.png"])
    with pytest.raises(UsageError, match="'polars'.*leave one out"):
        embedder.set_output(transform="polars").fit_transform(["no such file.png"])
    assert isinstance(embedder.set_output(transform="default").fit_transform(PHOTOS), torch.Tensor)


def test_an_output_that_is_not_known(embedder):
    with pytest.raises(UsageError, match="output='jax'.*'numpy' or 'torch'"):
        embedder.set_params(output="jax").transform(PHOTOS)


@pytest.mark.cuda
def test_tensors_are_on_the_embedders_device(embedder):
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU")
    features = embedder.set_params(output="torch", device="cuda").fit_transform(PHOTOS)
    assert features.device.type == "cuda"
