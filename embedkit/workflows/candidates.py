"""Which backbones `compare` takes where it is to find some by itself, and what that takes.

Layer: workflows; shared by compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embedkit.backbones import FeatureRequest, ListedModel, hub_answers, resolve_device, shortlist
from embedkit.images import ImageSource
from embedkit.workflows.pace import TRIED, seconds_an_image

_MOST_COST = {"cpu": 5.0, "cuda": 20.0}
"""Of a backbone that has to be fetched, in passes of the bundled one: what a machine does in reasonable time."""

_PASSES = 2
"""Of each image through each network: with its own weights, and with random ones as a floor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The backbones of a comparison, and what it is expected to take.

    Attributes
    ----------
    models : list of ListedModel
        Those at hand first.
    online : bool
        Whether the hub answers; else they are those at hand alone.
    images : int
        Of all sources together.
    download_bytes : int
        To be fetched, about.
    seconds : float
        For all forward passes, by the pace of the bundled backbone here and the published costs; what the store holds
        already is not taken off. A model without a published cost counts by its parameters.
    """

    models: list[ListedModel]
    online: bool
    images: int
    download_bytes: int
    seconds: float


def find_candidates(sources: Sequence[ImageSource], *, device: str = "auto", floors: bool = True) -> Candidates:
    """Take the shortlist's models that are at hand and, where the hub answers, those that are not too costly here.

    Parameters
    ----------
    sources : sequence of ImageSource
        At least one with an image.
    device : str
        As in a `FeatureRequest`.
    floors : bool
        Each network runs with random weights, too.
    """
    listed = shortlist()
    online = hub_answers()
    most = _MOST_COST[resolve_device(device).partition(":")[0]]
    models = [one for one in listed if one.weights_at_hand or (online and one.cost is not None and one.cost <= most)]
    bundled = listed[0]
    costs = [one.parameters / bundled.parameters if one.cost is None else one.cost for one in models]
    images = sum(len(source) for source in sources)
    longest = max(sources, key=len)
    pinned = FeatureRequest(precision="fp32", engine="torch", device=device)
    pace = seconds_an_image(longest, pinned, None, range(min(TRIED, len(longest))))
    return Candidates(
        models=models,
        online=online,
        images=images,
        download_bytes=sum(one.download_bytes for one in models),
        seconds=pace * images * sum(costs) * (_PASSES if floors else 1),
    )
