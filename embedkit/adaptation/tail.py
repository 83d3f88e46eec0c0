"""The last blocks of a network with a classifier behind them: what is trained on cached maps.

Layer: adaptation. Imports torch and timm; loaded when something is tuned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from embedkit.adaptation.lowrank import add_low_rank, merge_low_rank, set_weight
from embedkit.adaptation.networks import Apart, batch_norms
from embedkit.adaptation.start import LinearHead
from embedkit.errors import AdaptationError

_STATISTICS = ("running_mean", "running_var")
_INSIDE = ".parametrizations.weight.0.B"

State = dict[str, npt.NDArray[np.float32]]
"""Tensors of a network by their names in timm's state dict."""

Part = Literal["all", "bias"]
"""What of the blocks may change."""


class Tail(nn.Module):
    """The last blocks of a network and a linear classifier.

    Always in eval mode: no dropout, and batch norms, if there are any, keep their statistics.

    Parameters
    ----------
    network : Apart
        What `tunable_network` or `classifier_alone` gives.
    depth : int
        How many of the last blocks are trained; 0 trains the classifier alone, and as many as there are the whole
        network, from pixels.
    """

    def __init__(self, network: Apart, depth: int = 0) -> None:
        super().__init__()
        self.network = network
        self.model: Any = network.model
        self.head: Any = self.model.get_classifier()
        self.head_name = next(name for name, part in self.model.named_modules() if part is self.head)
        self.set_depth(depth)
        self.eval()

    def set_depth(self, depth: int, rank: int = 0, part: Part = "all", *, statistics: bool = False) -> None:
        """Choose what is trained beside the classifier.

        Parameters
        ----------
        depth : int
            How many of the last blocks.
        rank : int
            Of what may be added to each of their weights; 0: they themselves change.
        part : {"all", "bias"}
            Which of their tensors, where `rank` is 0.
        statistics : bool
            Batch norms of these blocks learn theirs.

        Raises
        ------
        AdaptationError
            There are no more blocks than that.
        """
        blocks = len(self.network.blocks)
        if not 0 <= depth <= blocks:
            raise AdaptationError(f"{depth} blocks are to be tuned, and the network has {blocks}")
        self.merge()
        self.depth = depth
        self.requires_grad_(False)
        if rank:
            self._chosen = add_low_rank(self.network.blocks[-depth:], rank)
        else:
            self._chosen = [one for name, one in self._parts() if part == "all" or name.endswith("bias")]
        self._chosen += [*self.head.parameters()]
        self._norms = [name for name, _ in batch_norms(self.model, self._tuned())] if statistics else []
        self.thaw(depth)

    def thaw(self, count: int) -> None:
        """Let of what is trained the last `count` blocks and what follows them learn; `count` is `depth` for all."""
        parts = [*self.network.blocks[len(self.network.blocks) - count :], *self.network.after(), self.head]
        thawed = {id(one) for part in parts for one in part.parameters()}
        for one in self._chosen:
            one.requires_grad_(count == self.depth or id(one) in thawed)
            one.grad = None

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.head.weight.device

    @property
    def whole(self) -> bool:
        """Whether the whole network is trained, from pixels."""
        return 0 < self.depth == len(self.network.blocks)

    def merge(self) -> None:
        """Make what LoRA has learnt part of the weights themselves."""
        merge_low_rank(self.network.blocks)

    def _tuned(self) -> list[nn.Module]:
        if self.whole:
            return [self.model]
        return [*self.network.blocks[-self.depth :], *self.network.after()] if self.depth else []

    def _parts(self) -> Iterator[tuple[str, nn.Parameter]]:
        for part in self._tuned():
            yield from part.named_parameters()

    def trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the parameters that are trained, by their names in the module as it is."""
        chosen = {id(parameter) for parameter in self._chosen}
        yield from ((name, one) for name, one in self.model.named_parameters() if id(one) in chosen)

    def learnt(self, model: Any = None) -> Iterator[tuple[str, Tensor]]:
        """Yield all that training changes: what is trained, and the statistics of batch norms that learn.

        Parameters
        ----------
        model : nn.Module, optional
            Another copy of the network, whose tensors are yielded.
        """
        whole = self.model if model is None else model
        for name, _ in self.trained():
            yield name, whole.get_parameter(name)
        for name in self._norms:
            for statistic in _STATISTICS:
                yield f"{name}.{statistic}", whole.get_buffer(f"{name}.{statistic}")

    def take(self, tensors: Mapping[str, Tensor], model: Any = None) -> None:
        """Replace what training changes, in the network or in another copy of it."""
        with torch.no_grad():
            for name, one in self.learnt(model):
                one.copy_(tensors[name])

    def learn_statistics(self, learn: bool) -> None:
        """Let the batch norms that learn normalise by each batch, or by what they have learnt."""
        for name in self._norms:
            self.model.get_submodule(name).train(learn)

    def forward(self, entering: Tensor) -> Tensor:
        """Compute logits.

        Parameters
        ----------
        entering : Tensor (n, tokens * channels)
            What enters the trained blocks; at depth 0 the features, (n, width), and of the whole network normalised
            pixels, (n, 3, height, width).

        Returns
        -------
        Tensor (n, classes)
        """
        features = self.features(entering)
        with torch.autocast(self.device.type, enabled=False):  # logits in bf16 would tie
            return self.head(features.float())

    def features(self, entering: Tensor) -> Tensor:
        """Compute the features that the classifier sees, (n, width), of maps, or of pixels (n, 3, height, width)."""
        if self.whole:
            return self.network.of_pixels(entering)
        return self.network.features(entering, self.depth) if self.depth else entering

    def state(self) -> State:
        """Return copies of the tensors that training changes, by their names in timm's state dict, LoRA merged."""
        with torch.no_grad():
            named = {name.replace(_INSIDE, ".weight"): name for name, _ in self.trained() if not name.endswith(".A")}
            named |= {f"{norm}.{statistic}": "" for norm in self._norms for statistic in _STATISTICS}
            return {name: self._tensor(name).detach().cpu().numpy().copy() for name in named}

    def load(self, state: State) -> None:
        """Replace tensors by their names in timm's state dict."""
        with torch.no_grad():
            for name, value in state.items():
                tensor = torch.from_numpy(value)  # pyright: ignore[reportUnknownMemberType]
                path, _, last = name.rpartition(".")
                if last == "weight":
                    set_weight(self.model.get_submodule(path), tensor)
                else:
                    self._tensor(name).copy_(tensor)

    def _tensor(self, name: str) -> Tensor:
        path, _, last = name.rpartition(".")
        return getattr(self.model.get_submodule(path), last)

    def set_head(self, head: LinearHead) -> None:
        """Replace the classifier."""
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(head.weight))  # pyright: ignore[reportUnknownMemberType]
            self.head.bias.copy_(torch.from_numpy(head.bias))  # pyright: ignore[reportUnknownMemberType]

    def linear_head(self) -> LinearHead:
        """Return a copy of the classifier."""
        weight, bias = (one.detach().cpu().numpy().copy() for one in (self.head.weight, self.head.bias))
        return LinearHead(weight=weight, bias=bias)
