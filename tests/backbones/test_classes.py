"""What networks say in their own classes, from features alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from embedkit import FeatureRequest
from embedkit.backbones import build_model, load_backbone, own_classifier


def test_the_bundled_network_says_what_timm_says() -> None:
    request = FeatureRequest("tf_efficientnet_lite0", "bundled", precision="fp32", engine="torch")
    pixels = torch.randint(256, (3, 3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    backbone = load_backbone(request)
    found = own_classifier(request)
    assert found is not None
    said = found.probabilities(backbone.module(pixels).numpy())
    whole = build_model(request, classifier=True).model.eval()
    with torch.inference_mode():
        expected = whole((pixels - backbone.module.shift) / backbone.module.scale).softmax(1).numpy()
    assert said.shape == (3, 1000)
    np.testing.assert_allclose(said, expected, atol=1e-5)


@pytest.mark.parametrize(
    "request_",
    [
        FeatureRequest("tf_efficientnet_lite0", "random"),
        FeatureRequest("pixels32"),
        FeatureRequest("tf_efficientnet_lite0", "bundled", layer=-1),
    ],
)
def test_of_others_nothing_is_said(request_: FeatureRequest) -> None:
    assert own_classifier(request_) is None


def test_a_classifier_that_is_not_linear_on_the_features(tmp_path) -> None:
    """Pooled otherwise than the network was trained with, they do not mean what its classifier takes them for."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=7)
    file = tmp_path / "seven.safetensors"
    save_file(model.state_dict(), file)
    request = FeatureRequest("test_vit", file)
    found = own_classifier(request)
    assert found is not None
    assert found.weight.shape[0] == 7
    assert own_classifier(dataclasses.replace(request, pool="avg")) is None
    save_file({name: one for name, one in model.state_dict().items() if not name.startswith("head.")}, file)
    assert own_classifier(request) is None
