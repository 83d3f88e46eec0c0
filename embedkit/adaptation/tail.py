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

from embedkit.adaptation.lowrank import add_low_rank, merge_low_rank, set_weight
from embedkit.adaptation.start import LinearHead
from embedkit.backbones import FeatureRequest, build_model, quiet_timm
from embedkit.errors import AdaptationError

_INSIDE = ".parametrizations.weight.0.B"

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

    def set_depth(self, depth: int, rank: int = 0) -> None:
        """Choose how many of the last blocks are trained, and the rank of what may change in them; 0: everything may.

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
        self.merge()
        self.depth = depth
        self.requires_grad_(False)
        self._chosen = add_low_rank(self.model.blocks[-depth:], rank) if rank else self._parts()
        self._chosen += [*self.model.head.parameters()]
        for parameter in self._chosen:
            parameter.requires_grad_(True)

    def merge(self) -> None:
        """Make what LoRA has learnt part of the weights themselves."""
        merge_low_rank(getattr(self.model, "blocks", []))

    def _parts(self) -> list[nn.Parameter]:
        if not self.depth:
            return []
        model = self.model
        parts: list[nn.Module] = [*model.blocks[-self.depth :], model.norm, model.fc_norm]
        parts += [model.attn_pool] if model.attn_pool is not None else []
        return [parameter for part in parts for parameter in part.parameters()]

    def trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the parameters that are trained, by their names in the module as it is."""
        chosen = {id(parameter) for parameter in self._chosen}
        yield from ((name, one) for name, one in self.model.named_parameters() if id(one) in chosen)

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
        """Return copies of the tensors that training changes, by their names in timm's state dict, LoRA merged."""
        with torch.no_grad():
            named = {name.replace(_INSIDE, ".weight"): name for name, _ in self.trained() if not name.endswith(".A")}
            return {name: self._tensor(name).detach().numpy().copy() for name in named}

    def load(self, state: State) -> None:
        """Replace tensors by their names in timm's state dict."""
        with torch.no_grad():
            for name, value in state.items():
                tensor = torch.from_numpy(value)  # pyright: ignore[reportUnknownMemberType]
                path, _, last = name.rpartition(".")
                if last == "weight":
                    set_weight(self.model.get_submodule(path), tensor)
                else:
                    self.model.get_parameter(name).copy_(tensor)

    def _tensor(self, name: str) -> Tensor:
        path, _, last = name.rpartition(".")
        return getattr(self.model.get_submodule(path), last)

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
