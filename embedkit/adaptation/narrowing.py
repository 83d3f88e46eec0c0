"""The start of a narrow network in a wider one of its family.

Networks of linear bottlenecks are fitted to the wider one by least squares. Of others some channels are taken, evenly
spaced: which of them a narrower network begins with matters less than that it begins with trained ones (Xu et al.,
Initializing Models with Larger Ones, ICLR 2024). As sums over fewer channels come out smaller, each batch norm is then
set so that a channel varies over images as it does in the wider network, and its statistics are measured in the narrow
one. Either way a file whose batch norms were folded into the convolutions gets true ones.

Layer: adaptation. Imports torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from embedkit.adaptation.bottlenecks import has_bottlenecks
from embedkit.adaptation.keeping import evenly_spaced
from embedkit.adaptation.reducing import reduce
from embedkit.errors import AdaptationError


def narrow(network: nn.Module, wider: nn.Module, batches: Sequence[Tensor], name: str, wider_name: str) -> None:
    """Give a network the weights of a wider one, in place.

    Parameters
    ----------
    network, wider : nn.Module
        Of the same layers, by name.
    batches : sequence of Tensor (n, 3, H, W)
        Images, normalised, of which what the layers say is looked at.
    name, wider_name : str
        For messages.

    Raises
    ------
    AdaptationError
        The networks are not of one family, or the second is not the wider one.
    """
    check_wider(network, wider, name, wider_name)
    if has_bottlenecks(network) and has_bottlenecks(wider):
        reduce(network, wider, batches)
        return
    given = wider.state_dict()
    network.load_state_dict({n: _chosen(given[n], tensor.shape) for n, tensor in network.state_dict().items()})
    _set_batch_norms(network, wider, batches)


def check_wider(network: nn.Module, wider: nn.Module, name: str, wider_name: str) -> None:
    """Raise an `AdaptationError` unless the second is a wider network of the family of the first."""
    own, given = network.state_dict(), wider.state_dict()
    strangers = sorted(own.keys() ^ given.keys())
    misfits = [n for n in own if n in given and not _fits(own[n], given[n])]
    if strangers or misfits:
        raise AdaptationError(
            f"{name} cannot start from {wider_name}: {(strangers or misfits)[0]} is in one of them only, or not wider "
            "there; name a wider network of the same family, such as mobilenetv2_100 for mobilenetv2_050"
        )


def _fits(own: Tensor, given: Tensor) -> bool:
    return own.ndim == given.ndim and all(a <= b for a, b in zip(own.shape, given.shape, strict=True))


def _chosen(tensor: Tensor, shape: torch.Size) -> Tensor:
    for axis, few in enumerate(shape):
        if few != tensor.shape[axis]:
            tensor = tensor.index_select(axis, evenly_spaced(few, tensor.shape[axis]))
    return tensor.clone()


def _set_batch_norms(network: nn.Module, wider: nn.Module, batches: Sequence[Tensor]) -> None:
    mean, deviation = _outputs(wider, batches)
    norms = _batch_norms(network)
    momenta = {name: part.momentum for name, part in norms.items()}
    with torch.no_grad():
        for name, part in norms.items():
            chosen = evenly_spaced(part.num_features, len(mean[name]))
            part.weight.copy_(deviation[name][chosen])
            part.bias.copy_(mean[name][chosen])
            part.reset_running_stats()
            part.momentum = None  # a plain mean over the batches
        network.train()
        for batch in batches:
            network(batch)
    for name, part in norms.items():
        part.momentum = momenta[name]


def _batch_norms(network: nn.Module) -> dict[str, nn.BatchNorm2d]:
    named = cast(Iterable[tuple[str, nn.Module]], network.named_modules())
    return {name: part for name, part in named if isinstance(part, nn.BatchNorm2d)}


def _outputs(network: nn.Module, batches: Sequence[Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return mean and signed deviation of what each batch norm gives, channel by channel, before any activation."""
    sums: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def note(name: str) -> Any:
        def hook(_part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            sums.setdefault(name, []).append((inputs[0].mean((0, 2, 3)), inputs[0].square().mean((0, 2, 3))))

        return hook

    norms = _batch_norms(network)
    hooks = [part.register_forward_pre_hook(note(name)) for name, part in norms.items()]
    network.eval()
    with torch.inference_mode():
        for batch in batches:
            network(batch)
    for hook in hooks:
        hook.remove()
    means: dict[str, Tensor] = {}
    deviations: dict[str, Tensor] = {}
    for name, part in norms.items():
        first, second = (torch.stack(found).mean(0) for found in zip(*sums[name], strict=True))
        assert part.running_mean is not None
        assert part.running_var is not None
        slope = part.weight / (part.running_var + part.eps).sqrt()
        means[name] = (first - part.running_mean) * slope + part.bias
        deviations[name] = (second - first.square()).clamp(min=0).sqrt() * slope
    return means, deviations
