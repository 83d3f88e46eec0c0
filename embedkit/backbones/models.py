"""Which models timm knows: resolving a name, and listing them without fetching anything.

Layer: backbones. Imports timm, and torch through it.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import timm
import timm.models
import torch
from timm.models import _hub  # pyright: ignore[reportPrivateUsage]

from embedkit.backbones.hub import hub_file
from embedkit.errors import UnknownModelError, UsageError, WeightsNotFoundError
from embedkit.specs import Json

_timm: Any = timm
_registry: Any = timm.models


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A name that timm understands.

    Attributes
    ----------
    name : str
        As it was typed.
    timm_name : str
        What ``timm.create_model`` is given.
    architecture : str
        timm's name without the tag.
    config : mapping
        timm's ``pretrained_cfg``; empty where timm has none.
    model_args : mapping
        Arguments that a model folder or a hub repository brings along.
    trained_tags : tuple of str
        ``arch.tag`` of the architecture's pretrained weights.
    """

    name: str
    timm_name: str
    architecture: str
    config: Mapping[str, Any]
    model_args: Mapping[str, Json]
    trained_tags: tuple[str, ...]


def resolve_model(name: str) -> KnownModel:
    """Find what timm knows under a name: ``arch``, ``arch.tag``, ``hf-hub:org/name`` or ``local-dir:folder``.

    Raises
    ------
    UnknownModelError
        timm knows no such architecture or tag; the nearest names are offered.
    WeightsNotFoundError
        The configuration in a hub repository or folder could not be read.
    UsageError
        The name has an unknown prefix, or looks like a path without one.
    """
    source, colon, identifier = name.partition(":")
    if colon:
        return _resolve_elsewhere(name, source, identifier)
    if "/" in name or "\\" in name:
        # As timm does since 1.0.31: taking the last part for the model would load other weights than were meant.
        raise UsageError(f"model {name!r} looks like a repository or a folder: write hf-hub:{name} or local-dir:{name}")
    architecture, tag = cast(tuple[str, str], _registry.split_model_name_tag(name))
    if not _timm.is_model(architecture):
        raise UnknownModelError(_unknown(name, architecture))
    try:
        config = _registry.get_pretrained_cfg(name)
    except RuntimeError as error:
        tags = ", ".join(_trained_tags(architecture)) or "none"
        raise UnknownModelError(f"timm knows no tag {tag!r} of {architecture}; its tags are {tags}") from error
    return KnownModel(
        name=name,
        timm_name=name,
        architecture=architecture,
        config=config.to_dict() if config is not None else {},
        model_args={},
        trained_tags=_trained_tags(architecture),
    )


def licence_of(name: str) -> str | None:
    """Return the licence of a model's weights as timm states it; None where it does not."""
    try:
        said = resolve_model(name).config.get("license")
    except (UnknownModelError, UsageError, WeightsNotFoundError):
        return None
    return said if isinstance(said, str) and said else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What is known of a model without fetching its weights.

    Attributes
    ----------
    name : str
        ``arch.tag``, or ``arch`` alone.
    parameters : int
        Number of parameters without the classifier.
    input_size : (int, int)
        Height and width in pixels.
    width : int
        Number of features of one image.
    weights_at_hand : bool
        Whether its pretrained weights are on this machine; those of the default tag for ``arch`` alone.
    """

    name: str
    parameters: int
    input_size: tuple[int, int]
    width: int
    weights_at_hand: bool


def list_models(pattern: str = "*") -> Iterator[ModelInfo]:
    """List timm's architectures and pretrained tags whose name fits a shell pattern.

    An architecture by itself stands for its default tag, where it has one. Each is built once, without memory for its
    weights; a broad pattern takes a while, so models come one at a time.

    Parameters
    ----------
    pattern : str
        With ``*`` and ``?``; a pattern without either finds all names that contain it.
    """
    from embedkit.backbones.pretrained import pretrained_file_at_hand

    wanted = pattern if any(mark in pattern for mark in "*?[") else f"*{pattern}*"
    trained = cast(list[str], _timm.list_models(wanted, pretrained=True))
    architectures = cast(list[str], _timm.list_models(wanted))
    measured: dict[str, tuple[int, int]] = {}
    for name in sorted([*trained, *architectures]):
        known = resolve_model(name)
        if known.architecture not in measured:
            measured[known.architecture] = measure(known.architecture)
        parameters, width = measured[known.architecture]
        size = known.config.get("input_size", (3, 224, 224))
        yield ModelInfo(
            name=name,
            parameters=parameters,
            input_size=(int(size[1]), int(size[2])),
            width=width,
            weights_at_hand=pretrained_file_at_hand(known) is not None,
        )


def measure(architecture: str) -> tuple[int, int]:
    """Return the number of parameters and of features, from timm's declaration of them."""
    model = _without_memory(architecture)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return parameters, int(getattr(model, "head_hidden_size", None) or model.num_features)


def _without_memory(architecture: str) -> Any:
    """Create a model whose tensors have shapes and no content; with content where its code needs that."""
    with quiet_timm():
        try:
            with torch.device("meta"):
                return _timm.create_model(architecture, num_classes=0)
        except (RuntimeError, NotImplementedError):
            return _timm.create_model(architecture, num_classes=0)


def _resolve_elsewhere(name: str, source: str, identifier: str) -> KnownModel:
    """Read the configuration in a hub repository or a folder.

    A repository's cache folder is handed to timm as a local folder: timm would ask the hub again, and wait for it.
    """
    if source not in ("hf-hub", "local-dir") or not identifier:
        raise UsageError(f"model {name!r} has the prefix {source!r}, expected hf-hub:org/name or local-dir:folder")
    folder = hub_file(identifier, ["config.json"]).parent if source == "hf-hub" else Path(identifier)
    load: Any = _hub.load_model_config_from_path
    try:
        config, architecture, arguments = load(folder)
    except (OSError, ValueError, KeyError) as error:
        raise WeightsNotFoundError(
            f"model {name!r}: {folder / 'config.json'} could not be read ({error}), expected a folder saved by timm"
        ) from error
    if not _timm.is_model(architecture):
        raise UnknownModelError(_unknown(name, architecture))
    place = {"hf_hub_id": identifier} if source == "hf-hub" else {}
    return KnownModel(
        name=name,
        timm_name=f"local-dir:{folder}",
        architecture=architecture,
        config={**config, **place},
        model_args=_beside_defaults(architecture, dict(arguments or {})),
        trained_tags=_trained_tags(architecture),
    )


def _beside_defaults(architecture: str, arguments: dict[str, Json]) -> dict[str, Json]:
    """Leave out what newer timm saves with every model, so that a saved model and its name give one fingerprint."""
    kept = {name: value for name, value in arguments.items() if name not in ("num_classes", "in_chans")}
    if "global_pool" in kept and kept["global_pool"] == _default_pool(architecture):
        del kept["global_pool"]
    return kept


def _default_pool(architecture: str) -> str | None:
    model = _without_memory(architecture)
    for holder in (model, getattr(model, "head", None)):
        pool = getattr(holder, "global_pool", None)
        if pool is not None:
            return pool if isinstance(pool, str) else getattr(pool, "pool_type", None)
    return None


def _trained_tags(architecture: str) -> tuple[str, ...]:
    return tuple(cast(list[str], _timm.list_models(f"{architecture}.*", pretrained=True)))


def _unknown(name: str, architecture: str) -> str:
    near = difflib.get_close_matches(architecture, cast(list[str], _timm.list_models()), n=5, cutoff=0.5)
    nearest = f"the nearest names are {', '.join(near)}" if near else "no name is near"
    return f"timm knows no model {name!r}; {nearest} (`embedkit models PATTERN` lists them)"


@contextmanager
def quiet_timm() -> Generator[None]:
    """Keep timm's remarks about configurations and adapted weights to itself for a while."""
    logger = logging.getLogger("timm")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
