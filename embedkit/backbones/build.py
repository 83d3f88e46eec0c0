"""From a request to a timm model with its weights and without its classifier.

Layer: backbones. Imports torch and timm.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import timm
import torch
from torch import nn

from embedkit.backbones.models import KnownModel, resolve_model
from embedkit.backbones.pretrained import pretrained_file
from embedkit.backbones.request import FeatureRequest
from embedkit.backbones.weights import count_classes, describe_misfit, read_weights
from embedkit.errors import UsageError, WeightsError
from embedkit.specs import Json

_timm: Any = timm

BUNDLED_MODEL = "lcnet_075"
"""Of 40 small architectures with random weights the best, for its size and pace, on scikit-learn's digits: 97.6 %
where raw 32 x 32 pixels have 96.3 % and resnet10t 93.3 %; 1.1 million parameters, 2 to 4 ms an image on two cores."""

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


def build_model(request: FeatureRequest) -> Built:
    """Create the model that a request names, with the weights it names.

    Draws from torch's global generator, and seeds it for random weights: the caller forks it.

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
    if request.weights == "bundled":
        note = (
            f"the bundled backbone is {BUNDLED_MODEL} with random weights (seed {RANDOM_SEED}), a stand-in until a "
            "trained one ships: raw pixels may do as well"
        )
        request = dataclasses.replace(request, model=BUNDLED_MODEL, weights="random")
    else:
        note = f"random weights (seed {RANDOM_SEED}): a floor, not a backbone" if request.weights == "random" else ""
    assert request.model is not None
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
    elif request.weights == "pretrained":
        files = (pretrained_file(known),)
        model = _with_weights(known, arguments, files[0])
    else:
        files = (Path(request.weights),)
        model = _with_weights(known, arguments, files[0])

    if getattr(model, "num_classes", 0):
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


def _with_weights(known: KnownModel, arguments: Mapping[str, Json], file: Path) -> nn.Module:
    """Create a model and load a file into it strictly, with as many classes as the file's classifier has.

    timm itself loads, so that its filters for checkpoints from elsewhere and its resizing of position embeddings apply.
    """
    weights = read_weights(file)
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
