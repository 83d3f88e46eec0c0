"""Folding batch norms into the convolutions before them: the same function in fewer passes over memory.

Layer: backbones. Imports torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

TOLERANCE = 1e-4
"""Largest change of a feature, as a fraction of the largest feature, that is put down to rounding in fp32."""


@dataclass(slots=True)
class _Trace:
    """Which batch norm was fed with which convolution's output, call by call, while a module ran."""

    outputs: dict[int, tuple[str, Tensor]] = field(default_factory=dict[int, tuple[str, Tensor]])
    calls: dict[str, int] = field(default_factory=dict[str, int])
    feeders: dict[str, list[str | None]] = field(default_factory=dict[str, list[str | None]])

    def pairs(self) -> list[tuple[str, str]]:
        """Return the (convolution, norm) in which each output of the one went into the other, whenever either ran."""
        found: list[tuple[str, str]] = []
        for norm, feeders in self.feeders.items():
            conv = feeders[0]
            if conv is not None and set(feeders) == {conv} and self.calls[conv] == len(feeders):
                found.append((conv, norm))
        return found


def fold_batch_norms(module: nn.Module, example: Tensor) -> int:
    """Fold, in place, every batch norm that directly follows a convolution in a frozen module.

    What follows what is watched while the example runs through the module, so that it works for any architecture
    without tracing its code. Where the outcome differs by more than rounding (the convolution's output was used
    elsewhere too), the module is left as it was.

    Parameters
    ----------
    module : nn.Module
        In eval mode, in fp32.
    example : Tensor
        An input; what it gives is compared before and after.

    Returns
    -------
    int
        The number of batch norms that are gone.
    """
    with torch.inference_mode():
        before, pairs = _watch(module, example)
    if not pairs:
        return 0
    kept: list[tuple[str, nn.Module]] = []
    for conv_name, norm_name in pairs:
        conv, norm = cast(nn.Conv2d, module.get_submodule(conv_name)), module.get_submodule(norm_name)
        kept += [(conv_name, conv), (norm_name, norm)]
        _replace(module, conv_name, fuse_conv_bn_eval(conv, cast(nn.BatchNorm2d, norm)))
        _replace(module, norm_name, _what_is_left(norm))
    with torch.inference_mode():
        after = cast(Tensor, module(example))
    if _same(before, after):
        return len(pairs)
    for name, original in kept:
        _replace(module, name, original)
    return 0


def _watch(module: nn.Module, example: Tensor) -> tuple[Tensor, Sequence[tuple[str, str]]]:
    trace = _Trace()
    hooks: list[Any] = []
    for name, part in cast(Iterable[tuple[str, nn.Module]], module.named_modules()):
        if type(part) is nn.Conv2d:
            hooks.append(part.register_forward_hook(_note_output(trace, name)))
        elif isinstance(part, nn.BatchNorm2d) and part.running_mean is not None:
            hooks.append(part.register_forward_pre_hook(_note_input(trace, name)))
    try:
        output = cast(Tensor, module(example))
    finally:
        for hook in hooks:
            hook.remove()
    return output, trace.pairs()


def _note_output(trace: _Trace, name: str) -> Any:
    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        trace.outputs[id(output)] = (name, output)  # kept alive, so that no other tensor gets its id
        trace.calls[name] = trace.calls.get(name, 0) + 1

    return hook


def _note_input(trace: _Trace, name: str) -> Any:
    def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        fed = trace.outputs.get(id(inputs[0]))
        trace.feeders.setdefault(name, []).append(fed[0] if fed else None)

    return hook


def _what_is_left(norm: nn.Module) -> nn.Module:
    """Return what a norm does besides normalising: timm's BatchNormAct2d drops out and activates too."""
    rest = [part for part in (getattr(norm, "drop", None), getattr(norm, "act", None)) if isinstance(part, nn.Module)]
    return (nn.Sequential(*rest) if rest else nn.Identity()).eval()


def _replace(module: nn.Module, name: str, part: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    module.get_submodule(parent).register_module(child, part)


def _same(before: Tensor, after: Tensor) -> bool:
    largest = before.abs().amax().clamp(min=torch.finfo(torch.float32).tiny)
    return bool(((after - before).abs().amax() / largest) <= TOLERANCE)
