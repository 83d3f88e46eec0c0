"""Images and features to compare, for the tests of this room."""

from __future__ import annotations

from typing import Any

import numpy as np
import timm
import timm.data
import torch
from numpy.typing import NDArray
from PIL import Image

from embedkit.backbones import Backbone
from embedkit.backbones.drift import drift_images
from embedkit.preprocess import Preprocessor


def pictures(count: int, height: int = 150, width: int = 200) -> list[NDArray[np.uint8]]:
    """RGB pictures (height, width, 3) that differ from each other as photos do."""
    return [np.ascontiguousarray(image.transpose(1, 2, 0)) for image in drift_images(height, width)[:count]]


def pixels_for(backbone: Backbone, images: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return np.stack([Preprocessor(backbone.preprocess)(image) for image in images])


def features_by_timm(model: torch.nn.Module, images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """What a user of timm computes: the evaluation transform on PIL images, fp32, one batch."""
    anything: Any = timm.data
    transform = anything.create_transform(**anything.resolve_model_data_config(model), is_training=False)
    with torch.inference_mode():
        batch = torch.stack([transform(Image.fromarray(image)) for image in images])
        return model.eval()(batch).numpy()


def timm_model(name: str, **arguments: Any) -> Any:
    """A timm model as `weights="random"` makes it: seed 0, no classifier."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return timm.create_model(name, num_classes=0, **arguments)
