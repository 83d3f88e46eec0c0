"""From a request to the spec of its features, remembered so that a run that finds everything imports no torch.

A memory of requests is validated, never authoritative: deleting it costs one loading of the backbone.

Layer: extraction; above the rooms, below the embedder.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import logging
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedkit.backbones import Backbone, FeatureRequest, is_own
from embedkit.errors import DeviceError, MissingExtraError
from embedkit.files import Witness, recall_json, remember_json
from embedkit.specs import DecodeSpec, FeatureSpec, canonical_json
from embedkit.store import FeatureStore

log = logging.getLogger("embedkit")

# What `auto` settles.
_SETTLED = ("engine", "precision")

# `auto` keeps to the engine and precision of features that the store holds where these are at least so many, as a part
# of the images of the run: fewer cost less to compute again than a slower engine costs for all the others.
_WORTH_KEEPING = 0.25

# A new release of any of these may resolve the same request to another spec.
_LIBRARIES = ("embedkit", "torch", "timm", "openvino", "simplejpeg", "pillow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What a request was resolved to.

    Attributes
    ----------
    spec : FeatureSpec
    choice : str
        Why this engine and precision.
    drift : float or None
        Worst centred cosine to fp32 torch over the generated set; None where nothing was compared.
    provenance : mapping
        Plain values: library versions, the model as typed, notes.
    expected_images : int or None
        For how many images ``auto`` was settled; None where something else settled it, or nobody said.
    """

    spec: FeatureSpec
    choice: str
    drift: float | None
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    expected_images: int | None = None

    @classmethod
    def of(cls, request: FeatureRequest, backbone: Backbone) -> Resolution:
        """Return what a loaded backbone makes of a request."""
        return cls(
            spec=feature_spec(request, backbone),
            choice=backbone.choice,
            drift=backbone.drift,
            provenance={**backbone.provenance, "request": request.to_dict()},
        )


def feature_spec(request: FeatureRequest, backbone: Backbone) -> FeatureSpec:
    """Return the spec of the features that a loaded backbone computes for a request.

    Images are decoded as timm does, through Pillow, where the resize does so too; else JPEGs by simplejpeg, scaled.
    """
    if backbone.preprocess.resize == "exact":
        decode = DecodeSpec(decoder="pillow", scale=0)
    else:
        decode = DecodeSpec(decoder="simplejpeg", scale=2)
    return FeatureSpec(backbone=backbone.spec, preprocess=backbone.preprocess, decode=decode, dtype=request.dtype)


class RequestMemo:
    """Remembers, in a folder of small JSON files, what requests were resolved to.

    An entry holds as long as the libraries have the same versions and the files of weights the same content.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def lookup(self, request: FeatureRequest) -> Resolution | None:
        """Return the resolution of a request, or None when it is unknown or no longer holds.

        What a function of the user's builds now is for it to say: that is never remembered.
        """
        return None if is_own(request.model) else self._read(self._path(request))

    def others(self, request: FeatureRequest) -> list[Resolution]:
        """Return what requests were resolved to that differ in engine and precision alone, where this one has ``auto``.

        Only what is known to be close to fp32 torch: what ``auto`` had measured, and fp32 torch itself.
        """
        found: list[Resolution] = []
        for path in sorted(self._folder.glob("request-*.json")):
            resolution = self._read(path)
            if resolution is None or "request" not in resolution.provenance:
                continue
            record = resolution.provenance["request"]
            spec = resolution.spec.backbone
            open_fields = {name: "auto" for name in _SETTLED if getattr(request, name) == "auto"}
            close = resolution.drift is not None or (spec.engine, spec.precision) == ("torch", "fp32")
            if close and {**record, **open_fields} == request.to_dict():
                found.append(resolution)
        return found

    def _read(self, path: Path) -> Resolution | None:
        entry = recall_json(path, "the backbone is loaded again")
        if entry is None:
            return None
        try:
            seen = [Witness.from_dict(file) for file in entry["weights_files"]]
            now = [witness.again() for witness in seen]
            if not all(now):
                return None
            resolution = Resolution(
                spec=FeatureSpec.from_dict(entry["spec"]),
                choice=entry["choice"],
                drift=entry["drift"],
                provenance=dict(entry["provenance"]),
                expected_images=entry.get("expected_images"),
            )
        except (ValueError, KeyError, TypeError) as error:
            log.warning("%s cannot be understood (%s): the backbone is loaded again", path, error)
            return None
        if now != seen:  # touched, or too young to be trusted when it was recorded: do not read it every time
            remember_json(path, {**entry, "weights_files": [witness.to_dict() for witness in now if witness]})
        return resolution

    def record(self, request: FeatureRequest, resolution: Resolution, weights_files: Sequence[Path]) -> None:
        """Remember a resolution; a failure to write costs the next run a loading of the backbone, no more."""
        entry = {
            "spec": resolution.spec.to_dict(),
            "choice": resolution.choice,
            "drift": resolution.drift,
            "provenance": dict(resolution.provenance),
            "expected_images": resolution.expected_images,
            "weights_files": [Witness.of(path).to_dict() for path in weights_files],
        }
        # An embedder that was fitted with `auto` asks for what that was settled as from then on.
        for path in {self._path(request), self._path(request.settled(resolution.spec))}:
            remember_json(path, entry)

    def _path(self, request: FeatureRequest) -> Path:
        key = {"request": request.to_dict(), "libraries": _versions(), "machine": platform.machine()}
        return self._folder / f"request-{hashlib.sha256(canonical_json(key).encode()).hexdigest()[:32]}.json"


def resolve(
    request: FeatureRequest,
    store: FeatureStore,
    *,
    expected_images: int | None = None,
    batch_size: int | None = None,
    backbone: Backbone | None = None,
) -> tuple[Resolution, Backbone | None]:
    """Return what a request stands for, from the store's memo where it holds, else by loading the backbone.

    Parameters
    ----------
    request : FeatureRequest
    store : FeatureStore
    expected_images : int, optional
        Lets ``auto`` judge whether an engine pays for its start.
    batch_size : int, optional
        Images in one forward pass; by default what suits the device.
    backbone : Backbone, optional
        The backbone of this very request, where it was loaded before.

    Returns
    -------
    resolution : Resolution
    backbone : Backbone or None
        None where the memo answered and no backbone was given.
    """
    if backbone is not None:
        held = RequestMemo(store.memo_folder).lookup(request)
        if held is not None and held.spec == feature_spec(request, backbone):
            return held, backbone
        return _remember(request, store, backbone), backbone
    [resolved] = resolve_together([request], store, expected_images=expected_images, batch_size=batch_size)
    return resolved


def resolve_together(
    requests: Sequence[FeatureRequest],
    store: FeatureStore,
    *,
    expected_images: int | None = None,
    batch_size: int | None = None,
    remember: bool = True,
) -> list[tuple[Resolution, Backbone | None]]:
    """Resolve several requests; those that differ in layer, pool and dtype alone get outputs of one network.

    Where the store remembers one output of a network, the network's other outputs follow what was chosen for it, so
    that all come from one pass.

    Parameters and results are those of `resolve`, one for each request. Of one network either all backbones are
    given or none. Without `remember` nothing is written into the store's memo.
    """
    memo = RequestMemo(store.memo_folder)
    resolved: dict[int, tuple[Resolution, Backbone | None]] = {}
    for members in by_network(requests):
        remembered = [memo.lookup(requests[place]) for place in members]
        if _is_open(requests[members[0]]) and any(_outgrown(found, store, expected_images) for found in remembered):
            remembered = [None] * len(members)
        known = [resolution for resolution in remembered if resolution is not None]
        if len(known) == len(members):
            for place, resolution in zip(members, known, strict=True):
                choice = f"{resolution.choice} (as chosen for this store before)"
                resolved[place] = dataclasses.replace(resolution, choice=choice), None
            continue
        asked = [requests[place] for place in members]
        kept = known[0] if known else _held(asked[0], store, expected_images)
        backbones = _load_as(kept, asked, expected_images, batch_size, store.memo_folder)
        for place, held, backbone in zip(members, remembered, backbones, strict=True):
            found = held or _resolution(requests[place], backbone, kept)
            if kept is None and _is_open(requests[place]):
                found = dataclasses.replace(found, expected_images=expected_images)
            if held is None and remember:
                RequestMemo(store.memo_folder).record(requests[place], found, backbone.weights_files)
            resolved[place] = found, backbone
    return [resolved[place] for place in range(len(requests))]


def _is_open(request: FeatureRequest) -> bool:
    return any(getattr(request, name) == "auto" for name in _SETTLED)


def _outgrown(found: Resolution | None, store: FeatureStore, expected_images: int | None) -> bool:
    """Whether ``auto`` was settled for far fewer images than there are now, and next to none of these are in the store.

    A run that goes on after it was killed expects as many as before, and keeps to what it began with.
    """
    expected = _WORTH_KEEPING * (expected_images or 0)
    if found is None or found.expected_images is None or found.expected_images >= expected:
        return False
    return store.features(found.spec).counts()[0] < expected


def _held(request: FeatureRequest, store: FeatureStore, expected_images: int | None) -> Resolution | None:
    """Return the resolution that ``auto`` should follow because the store holds much of what it would compute again."""
    if not _is_open(request):
        return None
    there = set(store.fingerprints())
    held = [
        (store.features(other.spec).counts()[0], other)
        for other in RequestMemo(store.memo_folder).others(request)
        if other.spec.fingerprint in there
    ]
    rows, best = max(held, key=lambda one: one[0], default=(0, None))
    if best is None or rows < max(1.0, _WORTH_KEEPING * (expected_images or 0)):
        return None
    engine, precision = best.spec.backbone.engine, best.spec.backbone.precision
    return dataclasses.replace(best, choice=f"{engine} in {precision}: the store holds {rows} images of it")


def _load_as(
    kept: Resolution | None,
    asked: list[FeatureRequest],
    expected_images: int | None,
    batch_size: int | None,
    memo_folder: Path,
) -> list[Backbone]:
    """Load the outputs of one network, in the engine and precision of a resolution where this machine has them."""
    if kept is not None:
        try:
            like_kept = {name: getattr(kept.spec.backbone, name) for name in _SETTLED}
            pinned = [dataclasses.replace(request, **like_kept) for request in asked]
            return load(pinned, memo_folder, expected_images, batch_size)
        except (DeviceError, MissingExtraError) as error:
            log.warning("features of this model are in the store, but not as this machine computes them: %s", error)
    return load(asked, memo_folder, expected_images, batch_size)


def by_network(requests: Sequence[FeatureRequest]) -> list[list[int]]:
    """Group the places of requests that one network serves: equal but for layer, pool and dtype."""
    networks: dict[str, list[int]] = {}
    for place, request in enumerate(requests):
        networks.setdefault(canonical_json(request.network.to_dict()), []).append(place)
    return list(networks.values())


def load(
    requests: Sequence[FeatureRequest],
    memo_folder: Path,
    expected_images: int | None = None,
    batch_size: int | None = None,
) -> list[Backbone]:
    """Load the outputs of one network; only here are torch and timm imported."""
    from embedkit.backbones import check_weights_file, load_backbones

    for request in requests:
        if request.weights_file is not None:
            check_weights_file(request.weights_file)

    return load_backbones(requests, batch_size=batch_size, expected_images=expected_images, memo_folder=memo_folder)


def _remember(request: FeatureRequest, store: FeatureStore, backbone: Backbone) -> Resolution:
    resolution = Resolution.of(request, backbone)
    RequestMemo(store.memo_folder).record(request, resolution, backbone.weights_files)
    return resolution


def _resolution(request: FeatureRequest, backbone: Backbone, kept: Resolution | None) -> Resolution:
    resolution = Resolution.of(request, backbone)
    if kept is not None and resolution.spec == kept.spec:
        return dataclasses.replace(resolution, choice=kept.choice, drift=kept.drift)
    return resolution


@functools.cache  # reading them takes some milliseconds, and a pipeline asks often
def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions
