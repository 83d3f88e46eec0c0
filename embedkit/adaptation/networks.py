"""Networks that are taken apart between two blocks: what is cached there, and what follows.

Timm's vision transformers and its family of EfficientNets, MobileNetV2 among them. Of the latter a block is a stage,
and only some places between two stages can be asked for.

Layer: adaptation. Imports torch and timm; loaded when something is tuned.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, cast

import torch
from timm.models.efficientnet import EfficientNet
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from embedkit.backbones import FeatureRequest, build_model, quiet_timm
from embedkit.errors import AdaptationError


class Apart(ABC):
    """A network, and what becomes of what enters its last blocks.

    Attributes
    ----------
    blocks : nn.Sequential
        From the input on.
    layers : dict of int to int
        Of each number of last blocks that can be tuned on cached maps the layer that gives what enters them.
    """

    layers: dict[int, int]

    def __init__(self, model: Any) -> None:
        self.model = model
        self.blocks: Any = model.blocks

    @abstractmethod
    def after(self) -> list[nn.Module]:
        """Return what stands between the last block and the classifier."""

    @abstractmethod
    def features(self, maps: Tensor, depth: int) -> Tensor:
        """Compute what the classifier sees, (n, width), of what enters the last `depth` blocks, (n, any)."""

    def of_pixels(self, pixels: Tensor) -> Tensor:
        """Compute what the classifier sees, (n, width), of normalised pixels (n, 3, height, width)."""
        return self.model.forward_head(self.model.forward_features(pixels), pre_logits=True)


class _Transformer(Apart):
    def __init__(self, model: VisionTransformer) -> None:
        super().__init__(model)
        blocks = len(self.blocks)
        self.layers = {depth: blocks - depth - 1 for depth in range(1, blocks)}

    def after(self) -> list[nn.Module]:
        parts = (self.model.norm, self.model.fc_norm, self.model.attn_pool)
        return [part for part in parts if part is not None]

    def features(self, maps: Tensor, depth: int) -> Tensor:
        tokens = maps.reshape(len(maps), -1, self.model.embed_dim)
        *before, last = self.blocks[-depth:]
        for block in before:
            tokens = block(tokens)
        tokens = _class_token(last, tokens) if self._looks_at_class_token() else last(tokens)
        return self.model.fc_norm(self.model.pool(self.model.norm(tokens)))

    def _looks_at_class_token(self) -> bool:
        """Whether the last block is needed for the class token alone, and is of the kind that can give that alone."""
        model = self.model
        return model.global_pool == "token" and model.attn_pool is None and type(model.blocks[-1]) is Block


def _class_token(block: Any, tokens: Tensor) -> Tensor:
    """Run a block of timm's, the half that looks at each token by itself for the class token alone: a third of it."""
    first = (tokens + block.ls1(block.attn(block.norm1(tokens))))[:, :1]
    return first + block.ls2(block.mlp(block.norm2(first)))


class _Stages(Apart):
    def __init__(self, model: EfficientNet, ratio: float) -> None:
        super().__init__(model)
        ends: list[int] = list(self.model.stage_ends)
        self.layers = {len(self.blocks) - end: layer for layer, end in enumerate(ends) if 0 < end < len(self.blocks)}
        self._channels = {depth: int(self.model.feature_info[at]["num_chs"]) for depth, at in self.layers.items()}
        self._ratio = ratio

    def after(self) -> list[nn.Module]:
        return [self.model.conv_head, self.model.bn2]

    def features(self, maps: Tensor, depth: int) -> Tensor:
        positions = maps.reshape(len(maps), -1, self._channels[depth])
        rows = max(1, round(math.sqrt(positions.shape[1] * self._ratio)))
        x: Any = positions.transpose(1, 2).reshape(len(maps), self._channels[depth], rows, -1)
        x = self.model.bn2(self.model.conv_head(self.blocks[-depth:](x)))
        return self.model.forward_head(x, pre_logits=True)


class _Classifier(nn.Module):
    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential()
        self.head = nn.Linear(width, classes)

    def get_classifier(self) -> nn.Module:
        return self.head


class _Alone(Apart):
    """A classifier of features, of any network: there is nothing that can be tuned before it."""

    layers = {}

    def after(self) -> list[nn.Module]:
        return []

    def features(self, maps: Tensor, depth: int) -> Tensor:
        return maps


def classifier_alone(width: int, classes: int) -> Apart:
    """Return a classifier of features, of any network."""
    with cast(Any, torch.random).fork_rng(devices=[]):
        return _Alone(_Classifier(width, classes))


def tunable_network(request: FeatureRequest, classes: int) -> Apart:
    """Build the network of a request with a classifier, and find where it can be taken apart.

    Raises
    ------
    AdaptationError
        It is not known how to take it apart.
    """
    with quiet_timm(), cast(Any, torch.random).fork_rng(devices=[]):
        built = build_model(request)
        model: Any = built.model
        model.reset_classifier(classes)
    if isinstance(model, VisionTransformer) and type(model).forward_head is VisionTransformer.forward_head:
        return _Transformer(model)
    if isinstance(model, EfficientNet):
        height, width = request.overrides.input_size or built.config.get("input_size", (3, 1, 1))[1:]
        return _Stages(model, height / width)
    raise AdaptationError(
        f"{request.model or 'the bundled backbone'} is a {type(model).__name__}, and only blocks of timm's vision "
        "transformers (vit_*, deit_*) and EfficientNets (tf_efficientnet_*, mobilenetv2_*) are tuned; `--until head` "
        "works with any model"
    )


def batch_norms(model: nn.Module, parts: Iterable[nn.Module]) -> Iterator[tuple[str, nn.BatchNorm2d]]:
    """Yield the batch norms of some parts of a network by their names in it."""
    within = {id(one) for part in parts for one in part.modules()}
    for name, one in cast(Iterable[tuple[str, nn.Module]], model.named_modules()):
        if isinstance(one, nn.BatchNorm2d) and id(one) in within:
            yield name, one


def check_statistics(network: Apart, name: str | None) -> None:
    """Refuse to let batch norms learn that there are not, or that hold no statistics of images.

    Raises
    ------
    AdaptationError
        Their means are zero and their variances all alike: they were folded into the weights before them.
    """
    norms: list[Any] = [one for _, one in batch_norms(network.model, [network.model])]
    if not norms:
        raise AdaptationError(f"{name} has no batch norms that could learn: leave --batch-norm (batch_norm) at eval")
    if all(not one.running_mean.any() and not torch.diff(one.running_var).any() for one in norms):
        raise AdaptationError(
            f"the batch norms of {name} hold no statistics of images, they were folded into the weights before them: "
            "normalised by each batch it would be another network; leave --batch-norm (batch_norm) at eval"
        )


def depths_of(network: Apart, asked: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return how many of the last blocks are tuned, in each of the ways that are tried.

    Parameters
    ----------
    network : Apart
    asked : tuple of int, optional
        By default the last 2 and the last half of the blocks, or the next more of those that are possible.

    Raises
    ------
    AdaptationError
        The network cannot be taken apart there.
    """
    possible, blocks = sorted(network.layers), len(network.blocks)
    if not possible:
        raise AdaptationError(f"{type(network.model).__name__} has a single block: nothing before it can be cached")
    if asked is None:
        wanted = {min(least, possible[-1]) for least in (2, max(1, blocks // 2))}
        return tuple(sorted({next(one for one in possible if one >= least) for least in wanted}))
    for depth in asked:
        if depth >= blocks:
            raise AdaptationError(
                f"{depth} blocks are to be tuned, expected fewer than the {blocks} of the network: some have to stay "
                "for their output to be cached"
            )
        if depth not in possible:
            said = ", ".join(map(str, possible))
            raise AdaptationError(
                f"{depth} blocks are to be tuned, and this network of {blocks} can be taken apart before the last "
                f"{said}: take one of these"
            )
    return asked
