"""What a network says of images in its own classes, from features that are there already.

Layer: backbones. Imports torch and timm.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from embedkit.backbones.build import build_model
from embedkit.backbones.features import FrozenFeatures, Tap
from embedkit.backbones.models import quiet_timm
from embedkit.backbones.own import is_own
from embedkit.backbones.pseudo import PSEUDO_BACKBONES
from embedkit.backbones.request import FeatureRequest
from embedkit.backbones.transform import resolve_preprocess


class OwnClassifier(NamedTuple):
    """The linear layer that a network was trained with.

    Attributes
    ----------
    weight : float32 (classes, width)
    bias : float32 (classes,)
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]

    def probabilities(self, X: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
        """Return what the network says of its own classes.

        Parameters
        ----------
        X : ndarray of shape (n, width)
            Its features.

        Returns
        -------
        float64 (n, classes)
            Each row adds up to 1.
        """
        logits = X.astype(np.float64) @ self.weight.T + self.bias
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)


def own_classifier(request: FeatureRequest) -> OwnClassifier | None:
    """Return the classifier behind the features of a request, with which no image has to pass the network again.

    Parameters
    ----------
    request : FeatureRequest

    Returns
    -------
    OwnClassifier or None
        None of a layer or another pool, of random weights, where the weights hold no classifier, or where it is
        something else than one linear layer on the features: whether it is that is computed on an image of noise.

    Raises
    ------
    UnknownModelError, WeightsNotFoundError, WeightsError
        As in `load_backbone`.
    """
    of_timm = request.model not in PSEUDO_BACKBONES and not is_own(str(request.model))
    if not of_timm or request.outputs != ((None, "auto"),) or request.weights == "random":
        return None
    with quiet_timm(), cast(Any, torch.random).fork_rng(devices=[]):
        built = build_model(request, classifier=True)
        model: Any = built.model
        preprocess = resolve_preprocess(built.architecture, built.config, request.overrides, request.resize)
        linear: Any = model.get_classifier() if hasattr(model, "get_classifier") else None
        if not isinstance(linear, nn.Linear):
            return None
        pixels = torch.randint(
            256, (1, 3, *preprocess.input_size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
        )
        module = FrozenFeatures(model, mean=preprocess.mean, std=preprocess.std, taps=[Tap()])
        with torch.inference_mode():
            logits = module(pixels)
            model.reset_classifier(0)
            features = module(pixels)
            if features.shape[1] != linear.in_features or not torch.allclose(
                linear(features), logits, rtol=1e-3, atol=1e-3
            ):
                return None
        given: Any = linear.bias
        bias = torch.zeros(linear.out_features) if given is None else given.detach().float()
        return OwnClassifier(linear.weight.detach().float().numpy(), bias.numpy())
