"""Floors: what features reach without any learning, so that a backbone's number can be read.

They are ordinary features of pseudo-backbones, extracted through the store, each once for ever: raw 32 x 32 pixels,
colour histograms, and the network itself with random weights.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from embedkit.backbones import Backbone, FeatureRequest
from embedkit.errors import EmbedkitError
from embedkit.extraction import Resolution, resolve_together
from embedkit.results import Unavailable
from embedkit.specs import FeatureSpec
from embedkit.store import FeatureStore
from embedkit.tables import FeatureTable

PSEUDO = ("pixels32", "colour-histogram")
"""Pseudo-backbones that any network has to beat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Floors:
    """The floors of some backbones, resolved.

    Attributes
    ----------
    requests : dict of str to FeatureRequest
        By the name that a table of results gives them.
    resolved : list of (Resolution, Backbone or None)
        One a request.
    unavailable : list of Unavailable
        Floors that cannot be had, and why.
    """

    requests: dict[str, FeatureRequest] = field(default_factory=dict[str, FeatureRequest])
    resolved: list[tuple[Resolution, Backbone | None]] = field(
        default_factory=list[tuple[Resolution, "Backbone | None"]]
    )
    unavailable: list[Unavailable] = field(default_factory=list[Unavailable])


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A backbone that floors are wanted for; without a request where a feature file does not record it."""

    name: str
    request: FeatureRequest | None
    spec: FeatureSpec


def resolve_floors(
    contenders: list[Contender], store: FeatureStore, *, expected_images: int, batch_size: int | None = None
) -> Floors:
    """Say which floors belong beside some backbones; none beside a pseudo-backbone, which is one."""
    floors = Floors()
    if any(contender.spec.backbone.architecture in PSEUDO for contender in contenders):
        return floors
    wanted = {name: FeatureRequest(name) for name in PSEUDO}
    for contender in contenders:
        name = f"{contender.name} random weights"
        if contender.request is None:
            floors.unavailable.append(
                Unavailable(name, "the feature file does not record the request it answers: extract again")
            )
        elif contender.request.weights != "random":
            wanted[name] = _with_random_weights(contender.request, contender.spec)
    seen = {contender.spec.fingerprint for contender in contenders}
    for name, request in wanted.items():
        try:
            [one] = resolve_together([request], store, expected_images=expected_images, batch_size=batch_size)
        except EmbedkitError as error:
            floors.unavailable.append(Unavailable(name, str(error)))
            continue
        if one[0].spec.fingerprint not in seen:
            seen.add(one[0].spec.fingerprint)
            floors.requests[name] = request
            floors.resolved.append(one)
    return floors


def recorded_request(table: FeatureTable) -> FeatureRequest | None:
    """Return the request that a table answers, where it records one that this version understands."""
    record = table.provenance.get("request")
    try:
        return FeatureRequest.from_dict(record) if isinstance(record, Mapping) else None
    except EmbedkitError:
        return None


def _with_random_weights(request: FeatureRequest, spec: FeatureSpec) -> FeatureRequest:
    """Ask for the same network untrained, computed in the same way."""
    return dataclasses.replace(request.pinned(spec), weights="random")
