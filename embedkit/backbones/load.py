"""Loading backbones: from what a user asks for to something that turns pixels into features.

Layer: backbones, its top. Imports torch and timm, unless a pseudo-backbone is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from embedkit.backbones.backbone import Backbone
from embedkit.backbones.pseudo import PSEUDO_BACKBONES, load_pseudo
from embedkit.backbones.request import FeatureRequest, check_batch_size
from embedkit.errors import UsageError


def load_backbone(
    request: FeatureRequest,
    *,
    batch_size: int | None = None,
    expected_images: int | None = None,
    memo_folder: Path | None = None,
) -> Backbone:
    """Load a frozen backbone.

    Parameters
    ----------
    request : FeatureRequest
    batch_size : int or None
        Images that go through the network at once, 256 at most on a CPU and 4,096 on a GPU. Every pass then has
        exactly this many, a short batch being filled up, and features do not depend on the batch to the last bit (in
        fp32). None takes what suits the device, and fills short batches up to a power of two only: then features of
        one image agree to about 1e-6.
    expected_images : int or None
        How many images will be run, if known: it only helps ``auto`` to judge whether an engine pays for its start.
    memo_folder : Path or None
        Where networks that an engine has to convert are kept for the next process.

    Returns
    -------
    Backbone

    Raises
    ------
    UnknownModelError
        timm knows no model of this name.
    WeightsNotFoundError, WeightsError
        The weights are not to be had, or do not fit.
    DeviceError
        A device, engine or precision was named that this machine does not have.
    DriftError
        The engine that was named computes something else than fp32 torch.
    MissingExtraError
        The engine that was named is not installed.
    UsageError
        The model has no such layer, pool or argument.
    """
    return load_backbones([request], batch_size=batch_size, expected_images=expected_images, memo_folder=memo_folder)[0]


def load_backbones(
    requests: Sequence[FeatureRequest],
    *,
    batch_size: int | None = None,
    expected_images: int | None = None,
    memo_folder: Path | None = None,
) -> list[Backbone]:
    """Load several outputs of one network: backbones that differ in layer, pool and dtype alone and share each pass.

    `embedkit.backbones.run_together` computes their features at once.

    Parameters
    ----------
    requests : sequence of FeatureRequest
        At least one; equal but for `layer`, `pool` and `dtype`.
    batch_size, expected_images, memo_folder
        As for `load_backbone`, which also lists what is raised.
    """
    networks = [request.network for request in requests]
    if not networks or any(network != networks[0] for network in networks):
        raise UsageError("backbones that share a network may differ in layer and pool alone: load others one by one")
    check_batch_size(batch_size)
    if networks[0].model in PSEUDO_BACKBONES:
        return [load_pseudo(request) for request in requests]
    from embedkit.backbones.network import load_network

    return load_network(requests, batch_size, expected_images, memo_folder)
