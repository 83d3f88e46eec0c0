"""What a user asks for: a backbone by name, where its weights come from, and what of it is wanted.

Layer: backbones, its bottom. Imports the standard library, errors and specs; neither torch nor timm.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from embedkit.errors import UsageError
from embedkit.specs import Engine, Json, Pool, Precision, canonical_json

RESERVED_MODEL_ARGS = {
    "pretrained": "weights",
    "pretrained_cfg": "weights and preprocess",
    "pretrained_cfg_overlay": "weights and preprocess",
    "checkpoint_path": "weights",
    "cache_dir": "the environment variable HF_HUB_CACHE",
    "num_classes": "nothing: the classifier is left out",
    "features_only": "layer",
    "in_chans": "nothing: images have three channels",
}
"""Arguments of ``timm.create_model`` that embedkit decides itself, and what says the same here."""

BUNDLED_MODELS = ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")
"""Those whose trained weights packages hold (`embedkit.backbones.bundled`). The first is a dependency, and the model
where none is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessOverrides:
    """Parts of the model's own preprocessing that a user replaces; None keeps the model's.

    Parameters
    ----------
    input_size : (int, int) or None
        Height and width in pixels; also given to the model as ``img_size`` where it takes it.
    mean, std : (float, float, float) or None
        Normalisation of RGB pixels scaled to [0, 1].
    interpolation : str or None
        As timm names them, e.g. ``"bicubic"``.
    crop_pct : float or None
        The fraction of the resized image that the crop keeps, above 0.
    crop_mode : {"center", "squash", "border"} or None

    Raises
    ------
    UsageError
        A value out of its range.
    """

    input_size: tuple[int, int] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    interpolation: str | None = None
    crop_pct: float | None = None
    crop_mode: str | None = None

    def __post_init__(self) -> None:
        if self.input_size is not None and (len(self.input_size) != 2 or min(self.input_size) < 1):
            raise UsageError(f"input_size is {self.input_size}, expected two positive numbers of pixels")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if values is not None and (len(values) != 3 or not all(math.isfinite(value) for value in values)):
                raise UsageError(f"{name} is {values}, expected three numbers, one for each of red, green and blue")
        if self.std is not None and min(self.std) <= 0:
            raise UsageError(f"std is {self.std}, expected three numbers above 0")
        if self.crop_pct is not None and not (math.isfinite(self.crop_pct) and self.crop_pct > 0):
            raise UsageError(f"crop_pct is {self.crop_pct}, expected a number above 0")
        if self.crop_mode not in (None, "center", "squash", "border"):
            raise UsageError(f"crop_mode is {self.crop_mode!r}, expected center, squash or border")

    def given(self) -> dict[str, Any]:
        """Return the overrides that are not None."""
        fields = (field.name for field in dataclasses.fields(self))
        return {name: getattr(self, name) for name in fields if getattr(self, name) is not None}


@dataclass(frozen=True, slots=True)
class BackboneRequest:
    """What a user asks for.

    Parameters
    ----------
    model : str or None
        A timm name, passed through unchanged (``arch``, ``arch.tag``, ``hf-hub:org/name``, ``local-dir:folder``), or a
        pseudo-backbone (``"pixels32"``, ``"colour-histogram"``). None and ``"bundled"`` become the backbone that comes
        with embedkit, ``"tf_efficientnet_lite0"``, and their weights ``"bundled"``.
    weights : str
        ``"pretrained"`` (timm's own, from a data package that is installed, the hub's cache or the hub), ``"random"``,
        ``"bundled"`` (from a data package, for `BUNDLED_MODELS`), or the path of a ``.safetensors``, ``.pth``, ``.pt``
        or ``.bin`` file.
    model_args : mapping
        Further arguments of ``timm.create_model``; JSON values.
    layer : int or None
        Index into ``forward_intermediates``, negative from the end; None is the model's own output.
    pool : str
        ``"auto"``, ``"avg"``, ``"cls"``, ``"cls+avg"``, ``"max"`` or ``"gem"``.
    precision : str
        ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp16"``.
    engine : str
        ``"auto"``, ``"torch"`` or ``"openvino"``.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:<index>"``.
    preprocess : PreprocessOverrides
    resize : {"fast", "exact"}
        ``"fast"`` becomes ``"exact"`` in the spec for interpolations that only Pillow has.
    expected_images : int or None
        How many images will be run, if known. It only helps ``auto`` to judge whether an engine pays for its start.

    Raises
    ------
    UsageError
        A value that no backbone could honour.
    """

    model: str | None = None
    weights: str = "pretrained"
    model_args: Mapping[str, Json] = dataclasses.field(default_factory=dict[str, Json])
    layer: int | None = None
    pool: Pool = "auto"
    precision: Precision | Literal["auto"] = "auto"
    engine: Engine | Literal["auto"] = "auto"
    device: str = "auto"
    preprocess: PreprocessOverrides = dataclasses.field(default_factory=PreprocessOverrides)
    resize: Literal["exact", "fast"] = "fast"
    expected_images: int | None = None

    def __post_init__(self) -> None:
        self._check_types()
        if not self.weights:
            raise UsageError("weights is empty, expected pretrained, random, bundled or the path of a file")
        if self.model in (None, "bundled"):
            if self.weights not in ("pretrained", "bundled"):
                raise UsageError(
                    f"no model was given for the weights {self.weights!r}: name it (`embedkit models` lists them), or "
                    "leave the weights out too for the bundled backbone"
                )
            # One name for one thing, whoever asks for it in whatever words.
            object.__setattr__(self, "model", BUNDLED_MODELS[0])
            object.__setattr__(self, "weights", "bundled")
        elif not self.model:
            raise UsageError("model is empty: name one (`embedkit models` lists them), or leave it out")
        elif self.weights == "bundled" and self.model.partition(".")[0] not in BUNDLED_MODELS:
            raise UsageError(f"no bundled weights of {self.model!r}; there are those of {', '.join(BUNDLED_MODELS)}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise UsageError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(choices)}")
        for name in sorted(set(self.model_args) & set(RESERVED_MODEL_ARGS)):
            raise UsageError(f"model argument {name!r} is decided by {RESERVED_MODEL_ARGS[name]}: leave it out")
        try:
            canonical_json(dict(self.model_args))
        except (TypeError, ValueError) as error:
            raise UsageError(f"model_args are {dict(self.model_args)!r}, expected JSON values: {error}") from error

    def _check_types(self) -> None:
        expected: dict[str, tuple[tuple[type, ...], str]] = {
            "model": ((str, type(None)), "the name of a model, or None"),
            "weights": ((str, os.PathLike), "pretrained, random, bundled or the path of a file"),
            "model_args": ((Mapping,), "a mapping"),
            "layer": ((int, type(None)), "a whole number, or None"),
            "device": ((str,), "auto, cpu, cuda or cuda:<index>"),
            "preprocess": ((PreprocessOverrides,), "PreprocessOverrides"),
        }
        for name, (types, described) in expected.items():
            value = getattr(self, name)
            if not isinstance(value, types) or isinstance(value, bool):  # a bool is an int to Python, but no layer
                raise UsageError(f"{name} is {value!r}, expected {described}")

    def to_dict(self) -> dict[str, Any]:
        """Return what was asked as plain JSON values: the key under which the answer may be remembered.

        `expected_images` is left out: it does not change what is asked, only how carefully ``auto`` decides.
        """
        record = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del record["expected_images"]
        record["model_args"] = dict(self.model_args)
        record["preprocess"] = {
            name: list(cast(tuple[Json, ...], value)) if isinstance(value, tuple) else value
            for name, value in self.preprocess.given().items()
        }
        return record


def check_batch_size(batch_size: object) -> None:
    """Raise UsageError unless a number of images in one forward pass is None or a whole number of at least 1."""
    if batch_size is None:
        return
    try:
        valid = not isinstance(batch_size, bool) and operator.index(cast(int, batch_size)) >= 1
    except TypeError:
        valid = False
    if not valid:
        raise UsageError(f"batch_size is {batch_size!r}, expected a whole number of at least 1")


_CHOICES: dict[str, tuple[str, ...]] = {
    "pool": get_args(Pool),
    "precision": ("auto", *get_args(Precision)),
    "engine": ("auto", *get_args(Engine)),
    "resize": ("fast", "exact"),
}
