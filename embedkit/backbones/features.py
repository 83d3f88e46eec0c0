"""The frozen module: uint8 pixels in, one vector an image out.

Layer: backbones. Imports torch; the timm model is handed to it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from embedkit.backbones.pooling import pool_tokens
from embedkit.errors import UsageError
from embedkit.specs import Pool


@dataclass(frozen=True, slots=True)
class Tap:
    """What is taken out of a network: a layer (None: the model's own output), counted from 0, and how it is pooled."""

    layer: int | None = None
    pool: Pool = "auto"


@dataclass(frozen=True, slots=True)
class _Taken:
    """What a layer gives: the positions (n, tokens, channels), and the tokens before them where it has any."""

    patches: Tensor
    prefix: Tensor | None
    has_class: bool

    def for_pool(self, pool: Pool) -> tuple[Tensor, Tensor | None]:
        if pool == "map" and self.prefix is not None:
            return torch.cat([self.prefix, self.patches], dim=1), None
        return self.patches, self.prefix[:, 0] if self.prefix is not None and self.has_class else None


class FrozenFeatures(nn.Module):
    """Normalise pixels, run a timm model without its classifier, pool.

    Parameters
    ----------
    model : nn.Module
        A timm model with ``num_classes=0``. It is put into eval mode and its parameters stop asking for gradients.
    mean, std : sequence of three floats
        Normalisation of RGB pixels scaled to [0, 1].
    taps : sequence of Tap
        At least one. However many layers are tapped, one pass through the network serves them all; so does one pass
        all taps of the model's own output.

    Raises
    ------
    UsageError
        The model has no intermediate layers, or no class token where `pool` asks for it.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, model: nn.Module, *, mean: Sequence[float], std: Sequence[float], taps: Sequence[Tap]) -> None:
        super().__init__()
        # (x / 255 - mean) / std in one subtraction and one division of the bytes themselves.
        self.register_buffer(
            "shift", torch.tensor([255.0 * value for value in mean]).view(1, 3, 1, 1), persistent=False
        )
        self.register_buffer("scale", torch.tensor([255.0 * value for value in std]).view(1, 3, 1, 1), persistent=False)
        self.model = model
        self.dtype = torch.float32
        self.taps = tuple(taps)
        self.layers = sorted({tap.layer for tap in taps if tap.layer is not None})
        self.takes_prefix = (
            getattr(model, "num_prefix_tokens", 0) > 0  # asked for those it does not have, some models break
            and "return_prefix_tokens" in _parameters(model, "forward_intermediates")
        )
        for tap in self.taps:
            self._check(tap)
        self.eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute the features of all taps, side by side.

        Parameters
        ----------
        pixels : Tensor uint8 (n, 3, height, width)
            RGB, 0 to 255.

        Returns
        -------
        Tensor float32 (n, sum of the taps' widths)
        """
        return torch.cat(self.each(pixels), dim=1)

    def each(self, pixels: Tensor) -> list[Tensor]:
        """Compute the features of each tap, float32 (n, its width)."""
        images = self._normalised(pixels)
        own = self.model(images) if Tap() in self.taps else None
        pooled_last = any(tap.layer is None and tap.pool != "auto" for tap in self.taps)
        last = cast(Any, self.model).forward_features(images) if pooled_last else None
        taken = dict(zip(self.layers, self._intermediates(images), strict=True)) if self.layers else {}
        return [
            (
                pool_tokens(*taken[tap.layer].for_pool(tap.pool), tap.pool)
                if tap.layer is not None
                else self._own_output(own)
                if tap.pool == "auto"
                else pool_tokens(*self._split(last, tap.pool), tap.pool)
            ).float()
            for tap in self.taps
        ]

    def positions(self, pixels: Tensor) -> Tensor | None:
        """Compute the map whose mean over places is the feature vector.

        Parameters
        ----------
        pixels : Tensor uint8 (n, 3, height, width)

        Returns
        -------
        Tensor float32 (n, rows, columns, channels), or None
            None where the features are no such mean: several taps, another pool, a class token, or something that the
            network does after its pooling.
        """
        if len(self.taps) != 1 or self.taps[0].pool not in ("auto", "avg"):
            return None
        images, layer, model = self._normalised(pixels), self.taps[0].layer, cast(Any, self.model)
        places: Tensor | None = None
        if layer is not None:
            [found] = model.forward_intermediates(images, indices=[layer], intermediates_only=True, output_fmt="NCHW")
            taken = cast(Tensor, found[0] if isinstance(found, tuple) else found)
            places = taken.permute(0, 2, 3, 1).float()
        elif hasattr(model, "forward_features"):
            places = self._grid(model.forward_features(images))
        features = self(pixels)
        if places is None or places.shape[-1] != features.shape[1]:
            return None
        near = (places.mean(dim=(1, 2)) - features).norm(dim=1) <= 1e-4 * features.norm(dim=1)
        return places if bool(near.all().item()) else None

    def _grid(self, output: Any) -> Tensor | None:
        """Arrange a map or tokens as (n, rows, columns, channels)."""
        if not isinstance(output, Tensor) or output.ndim not in (3, 4):
            return None
        if output.ndim == 4:
            channels_last = getattr(self.model, "output_fmt", "NCHW") == "NHWC"
            return (output if channels_last else output.permute(0, 2, 3, 1)).float()
        patches, _ = self._split(output, "auto")
        side = math.isqrt(patches.shape[1])
        grid = getattr(getattr(self.model, "patch_embed", None), "grid_size", (side, side))
        rows, columns = cast(tuple[int, int], grid)
        return patches.reshape(len(patches), rows, columns, -1).float() if rows * columns == patches.shape[1] else None

    def _normalised(self, pixels: Tensor) -> Tensor:
        # Bytes less floats are floats: a conversion of its own would write and read all of them once more.
        return ((pixels - self.shift) / self.scale).to(self.dtype)

    def _intermediates(self, images: Tensor) -> list[_Taken]:
        """Return what each tapped layer gives, not normed."""
        arguments: dict[str, Any] = {"indices": self.layers, "intermediates_only": True, "output_fmt": "NCHW"}
        if self.takes_prefix:
            arguments["return_prefix_tokens"] = True
        split: list[_Taken] = []
        for taken in cast(Any, self.model).forward_intermediates(images, **arguments):
            # Asked for prefix tokens, a model gives (map, prefix tokens), else the map alone.
            patches, prefix = cast(tuple[Tensor, Tensor | None], taken if isinstance(taken, tuple) else (taken, None))
            split.append(_Taken(patches.flatten(2).transpose(1, 2), prefix, self._has_class_token()))
        return split

    def _own_output(self, output: Any) -> Tensor:
        if isinstance(output, Tensor) and output.ndim == 2:
            return output
        return pool_tokens(*self._split(output, "auto"), "avg")  # some models leave the pooling to their classifier

    def _split(self, output: Any, pool: Pool) -> tuple[Tensor, Tensor | None]:
        """Split a map, or tokens, into positions (n, tokens, channels) and class token."""
        if isinstance(output, Tensor) and output.ndim == 4:
            if getattr(self.model, "output_fmt", "NCHW") == "NHWC":
                return output.flatten(1, 2), None
            return output.flatten(2).transpose(1, 2), None
        if isinstance(output, Tensor) and output.ndim == 3:
            prefix = int(getattr(self.model, "num_prefix_tokens", 0))
            return output[:, prefix:], output[:, 0] if self._has_class_token() else None
        raise UsageError(
            f"pool is {pool!r}, but the last layer of {type(self.model).__name__} is neither a map nor tokens: "
            "leave the pool out, or name a layer"
        )

    def _check(self, tap: Tap) -> None:
        name = type(self.model).__name__
        if tap.layer is not None and not hasattr(self.model, "forward_intermediates"):
            raise UsageError(f"layer is {tap.layer}, but {name} gives no intermediate layers: leave it out")
        if tap.pool == "map" and tap.layer is None:
            raise UsageError("pool is 'map', which keeps the map of a layer: name a layer")
        there = self._has_class_token() and (tap.layer is None or self.takes_prefix)
        if tap.pool in ("cls", "cls+avg") and not there:
            raise UsageError(f"pool is {tap.pool!r}, but {name} gives no class token here: use avg, max or gem")

    def _has_class_token(self) -> bool:
        return getattr(self.model, "cls_token", None) is not None and getattr(self.model, "num_prefix_tokens", 0) > 0


def _parameters(model: nn.Module, method: str) -> Sequence[str]:
    function = getattr(model, method, None)
    return list(inspect.signature(function).parameters) if function is not None else []
