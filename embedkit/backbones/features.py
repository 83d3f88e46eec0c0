"""The frozen module: uint8 pixels in, one vector an image out.

Layer: backbones. Imports torch; the timm model is handed to it.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from embedkit.backbones.pooling import pool_tokens
from embedkit.errors import UsageError
from embedkit.specs import Pool


class FrozenFeatures(nn.Module):
    """Normalise pixels, run a timm model without its classifier, pool.

    Parameters
    ----------
    model : nn.Module
        A timm model with ``num_classes=0``. It is put into eval mode and its parameters stop asking for gradients.
    mean, std : (float, float, float)
        Normalisation of RGB pixels scaled to [0, 1].
    layer : int or None
        Index into ``forward_intermediates``; None takes the model's own output.
    pool : Pool

    Raises
    ------
    UsageError
        The model has no such layer, or not what `pool` asks for.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        model: nn.Module,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        layer: int | None = None,
        pool: Pool = "auto",
    ) -> None:
        super().__init__()
        # (x / 255 - mean) / std in one subtraction and one division of the bytes themselves.
        self.register_buffer(
            "shift", torch.tensor([255.0 * value for value in mean]).view(1, 3, 1, 1), persistent=False
        )
        self.register_buffer("scale", torch.tensor([255.0 * value for value in std]).view(1, 3, 1, 1), persistent=False)
        self.model = model
        self.dtype = torch.float32
        self.layer = layer
        self.pool: Pool = pool
        self._takes_prefix = layer is not None and "return_prefix_tokens" in _parameters(model, "forward_intermediates")
        if layer is not None and not hasattr(model, "forward_intermediates"):
            raise UsageError(f"layer is {layer}, but {type(model).__name__} gives no intermediate layers: leave it out")
        if pool in ("cls", "cls+avg") and not self._has_class_token():
            raise UsageError(
                f"pool is {pool!r}, but {type(model).__name__} has no class token "
                f"{'here' if layer is None else 'in its layers'}: use avg, max or gem"
            )
        self.eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute features.

        Parameters
        ----------
        pixels : Tensor uint8 (n, 3, height, width)
            RGB, 0 to 255.

        Returns
        -------
        Tensor float32 (n, width)
        """
        images = ((pixels.float() - self.shift) / self.scale).to(self.dtype)
        if self.layer is not None:
            features = self._from_layer(images, self.layer)
        elif self.pool == "auto":
            features = self._own_output(images)
        else:
            features = self._from_last(images)
        return features.float()

    def _own_output(self, images: Tensor) -> Tensor:
        output = self.model(images)
        if isinstance(output, Tensor) and output.ndim == 2:
            return output
        return pool_tokens(*self._split(output), "avg")  # some models leave the pooling to their classifier

    def _from_last(self, images: Tensor) -> Tensor:
        return pool_tokens(*self._split(cast(Any, self.model).forward_features(images)), self.pool)

    def _from_layer(self, images: Tensor, layer: int) -> Tensor:
        arguments: dict[str, Any] = {"indices": [layer], "intermediates_only": True, "output_fmt": "NCHW"}
        if self._takes_prefix:
            arguments["return_prefix_tokens"] = True
        taken = cast(Any, self.model).forward_intermediates(images, **arguments)[0]
        # Asked for prefix tokens, a model that has some gives (map, prefix tokens), one that has none the map alone.
        patches, prefix = cast(tuple[Tensor, Tensor | None], taken if isinstance(taken, tuple) else (taken, None))
        cls = prefix[:, 0] if prefix is not None and self._has_class_token() else None
        return pool_tokens(patches.flatten(2).transpose(1, 2), cls, self.pool)

    def _split(self, output: Any) -> tuple[Tensor, Tensor | None]:
        """Split what the model gave into positions (n, tokens, channels) and class token."""
        if isinstance(output, Tensor) and output.ndim == 4:
            if getattr(self.model, "output_fmt", "NCHW") == "NHWC":
                return output.flatten(1, 2), None
            return output.flatten(2).transpose(1, 2), None
        if isinstance(output, Tensor) and output.ndim == 3:
            prefix = int(getattr(self.model, "num_prefix_tokens", 0))
            return output[:, prefix:], output[:, 0] if self._has_class_token() else None
        raise UsageError(
            f"pool is {self.pool!r}, but {type(self.model).__name__} gives neither a map nor tokens: use auto"
        )

    def _has_class_token(self) -> bool:
        there = getattr(self.model, "cls_token", None) is not None and getattr(self.model, "num_prefix_tokens", 0) > 0
        return there and (self.layer is None or self._takes_prefix)


def _parameters(model: nn.Module, method: str) -> Sequence[str]:
    function = getattr(model, method, None)
    return list(inspect.signature(function).parameters) if function is not None else []
