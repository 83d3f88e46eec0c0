"""Loading a backbone: from what a user asks for to something that turns pixels into features.

Layer: backbones, its top. Imports torch and timm, unless a pseudo-backbone is asked for.
"""

from __future__ import annotations

from embedkit.backbones.backbone import Backbone
from embedkit.backbones.pseudo import PSEUDO_BACKBONES, load_pseudo
from embedkit.backbones.request import BackboneRequest


def load_backbone(request: BackboneRequest, *, batch_size: int | None = None) -> Backbone:
    """Load a frozen backbone.

    Parameters
    ----------
    request : BackboneRequest
    batch_size : int or None
        Images that go through the network at once; None takes what suits the device.

    Raises
    ------
    UnknownModelError
        timm knows no model of this name.
    WeightsNotFoundError, WeightsError
        The weights are not to be had, or do not fit.
    DeviceError
        A device, engine or precision was named that this machine does not have.
    UsageError
        The model has no such layer, pool or argument.
    """
    if request.model in PSEUDO_BACKBONES:
        return load_pseudo(request)
    from embedkit.backbones.network import load_network

    return load_network(request, batch_size=batch_size)
