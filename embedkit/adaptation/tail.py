"""The last blocks of a network with a classifier behind them: what is trained on cached maps.

Layer: adaptation. Imports torch and timm; loaded when something is tuned.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from embedkit.adaptation.start import LinearHead
from embedkit.backbones import FeatureRequest, build_model, quiet_timm
from embedkit.errors import AdaptationError

State = dict[str, npt.NDArray[np.float32]]
"""Tensors of a network by their names in timm's state dict."""


class Tail(nn.Module):
    """The last blocks of a network and a linear classifier.

    Always in eval mode: no dropout, and batch norms, if there are any, keep their statistics.

    Parameters
    ----------
    model : nn.Module
        What `vision_transformer` or `classifier_alone` gives.
    depth : int
        How many of the last blocks are trained; 0 trains the classifier alone.
    """

    def __init__(self, model: nn.Module, depth: int = 0) -> None:
        super().__init__()
        self.model: Any = model
        self.set_depth(depth)
        self.eval()

    def set_depth(self, depth: int) -> None:
        """Choose how many of the last blocks are trained.

        Raises
        ------
        AdaptationError
            There are no more blocks than that.
        """
        if depth and not 0 < depth < len(self.model.blocks):
            raise AdaptationError(
                f"{depth} blocks are to be tuned, expected fewer than the {len(self.model.blocks)} of the network: "
                "some have to stay for their output to be cached"
            )
        self.depth = depth
        self.requires_grad_(False)
        for _, parameter in self.trained():
            parameter.requires_grad_(True)

    def trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the parameters that are trained, by their names in timm's state dict."""
        model = self.model
        parts: list[nn.Module] = [model.head]
        if self.depth:
            parts += [*model.blocks[-self.depth :], model.norm, model.fc_norm]
            parts += [model.attn_pool] if model.attn_pool is not None else []
        chosen = {id(parameter) for part in parts for parameter in part.parameters()}
        yield from ((name, one) for name, one in model.named_parameters() if id(one) in chosen)

    def forward(self, maps: Tensor) -> Tensor:
        """Compute logits.

        Parameters
        ----------
        maps : Tensor (n, tokens * channels)
            What enters the trained blocks; at depth 0 the features, (n, width).

        Returns
        -------
        Tensor (n, classes)
        """
        features = self.features(maps) if self.depth else maps
        with torch.autocast("cpu", enabled=False):  # logits in bf16 would tie
            return self.model.head(features.float())

    def features(self, maps: Tensor) -> Tensor:
        """Compute the features that the classifier sees, (n, width), of maps."""
        tokens = maps.reshape(len(maps), -1, self.model.embed_dim)
        *before, last = self.model.blocks[-self.depth :]
        for block in before:
            tokens = block(tokens)
        tokens = _class_token(last, tokens) if self._looks_at_class_token() else last(tokens)
        return self.model.fc_norm(self.model.pool(self.model.norm(tokens)))

    def _looks_at_class_token(self) -> bool:
        """Whether the last block is needed for the class token alone, and is of the kind that can give that alone."""
        model = self.model
        return model.global_pool == "token" and model.attn_pool is None and type(model.blocks[-1]) is Block

    def state(self) -> State:
        """Return copies of the trained tensors."""
        return {name: one.detach().numpy().copy() for name, one in self.trained()}

    def load(self, state: State) -> None:
        """Replace trained tensors."""
        with torch.no_grad():
            for name, one in self.trained():
                one.copy_(torch.from_numpy(state[name]))  # pyright: ignore[reportUnknownMemberType]

    def set_head(self, head: LinearHead) -> None:
        """Replace the classifier."""
        with torch.no_grad():
            self.model.head.weight.copy_(torch.from_numpy(head.weight))  # pyright: ignore[reportUnknownMemberType]
            self.model.head.bias.copy_(torch.from_numpy(head.bias))  # pyright: ignore[reportUnknownMemberType]


def _class_token(block: Any, tokens: Tensor) -> Tensor:
    """Run a block of timm's, the half that looks at each token by itself for the class token alone: a third of it."""
    first = (tokens + block.ls1(block.attn(block.norm1(tokens))))[:, :1]
    return first + block.ls2(block.mlp(block.norm2(first)))


class _Classifier(nn.Module):
    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, classes)


def classifier_alone(width: int, classes: int) -> nn.Module:
    """Return a classifier of features, of any network."""
    with cast(Any, torch.random).fork_rng(devices=[]):
        return _Classifier(width, classes)


def vision_transformer(request: FeatureRequest, classes: int) -> nn.Module:
    """Build the network of a request, whose last blocks can be taken apart from the others, with a classifier.

    Raises
    ------
    AdaptationError
        It is no vision transformer of timm's.
    """
    with quiet_timm(), cast(Any, torch.random).fork_rng(devices=[]):
        model = build_model(request).model
        if not isinstance(model, VisionTransformer) or type(model).forward_head is not VisionTransformer.forward_head:
            raise AdaptationError(
                f"{request.model} is a {type(model).__name__}, and only the blocks of timm's vision transformers "
                "(vit_*, deit_*) are tuned on cached maps; `--until head` works with any model"
            )
        cast(Any, model).reset_classifier(classes)
    return model
