"""What a user asks for: a backbone by name, where its weights come from, what of it is wanted, and how it is stored.

Layer: backbones, its bottom. Imports the standard library, errors and specs; neither torch nor timm.
"""

from __future__ import annotations

import dataclasses
import json
import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

from embedkit.backbones.overrides import PreprocessOverrides, as_overrides
from embedkit.backbones.own import own_name, require_trusted
from embedkit.errors import UsageError
from embedkit.specs import Dtype, Engine, FeatureSpec, Json, Pool, Precision, canonical_json

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


@dataclass(frozen=True, slots=True)
class FeatureRequest:
    """Which features a user asks for.

    Two sequences pair: ``layer=(3, 6), pool=("avg", "cls")`` are two blocks of columns from one pass through the
    network, side by side; a single layer or pool goes with each of the other.

    Parameters
    ----------
    model : str or None
        A timm name, passed through unchanged (``arch``, ``arch.tag``, ``hf-hub:org/name``, ``local-dir:folder``), or a
        pseudo-backbone (``"pixels32"``, ``"colour-histogram"``). None and ``"bundled"`` become the backbone that comes
        with embedkit, ``"tf_efficientnet_lite0"``, and their weights ``"bundled"``. A function of yours, or its name
        as ``"python:package.module.function"``, builds a network from outside timm (`embedkit.backbones.own`).
    weights : str or path
        ``"pretrained"`` (timm's own, from a data package that is installed, the hub's cache or the hub), ``"random"``,
        ``"bundled"`` (from a data package, for `BUNDLED_MODELS`), or the path of a ``.safetensors``, ``.pth``, ``.pt``
        or ``.bin`` file.
    model_args : mapping, optional
        Further arguments of ``timm.create_model``; JSON values.
    layer : int, None, or sequence of them
        Index into ``forward_intermediates``, negative from the end; None is the model's own output.
    pool : str or sequence of str
        ``"auto"``, ``"avg"``, ``"cls"``, ``"cls+avg"``, ``"max"``, ``"gem"``, or, with a layer, ``"map"``.
    precision : str
        ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp16"``.
    engine : str
        ``"auto"``, ``"torch"`` or ``"openvino"``.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:<index>"``; ``"mps"``, ``"xpu"`` or ``"xpu:<index>"`` (unmeasured).
    preprocess : PreprocessOverrides or mapping, optional
        What replaces parts of the model's own preprocessing; a mapping has the fields of `PreprocessOverrides`.
    resize : {"fast", "exact"}
        ``"fast"`` becomes ``"exact"`` in the spec for interpolations that only Pillow has.
    dtype : {"float32", "float16"}
        The type in which features are stored.

    Raises
    ------
    UsageError
        A value that no backbone could honour.

    Examples
    --------
    >>> request = FeatureRequest("resnet50.a1_in1k", layer=[2, 3], preprocess={"input_size": (160, 160)})
    >>> request.layer
    (2, 3)
    """

    model: str | None = None
    weights: str | os.PathLike[str] = "pretrained"
    model_args: Mapping[str, Json] | None = None
    layer: int | None | Sequence[int | None] = None
    pool: Pool | Sequence[Pool] = "auto"
    precision: Precision | Literal["auto"] = "auto"
    engine: Engine | Literal["auto"] = "auto"
    device: str = "auto"
    preprocess: PreprocessOverrides | Mapping[str, Any] | None = None
    resize: Literal["exact", "fast"] = "fast"
    dtype: Dtype = "float32"

    def __post_init__(self) -> None:
        if callable(self.model):
            self._settle("model", own_name(self.model))
        self._settle("preprocess", as_overrides(self.preprocess))
        self._settle("model_args", {} if self.model_args is None else self.model_args)
        self._settle("weights", os.fspath(self.weights) if isinstance(self.weights, os.PathLike) else self.weights)
        for name in ("layer", "pool"):
            value = getattr(self, name)
            if isinstance(value, list | tuple):
                parts = tuple(cast(list[Any], value))
                self._settle(name, parts[0] if len(parts) == 1 else parts)
        if self.model in (None, "bundled") and self.weights in ("pretrained", "bundled"):
            # One name for one thing, whoever asks for it in whatever words.
            self._settle("model", BUNDLED_MODELS[0])
            self._settle("weights", "bundled")
        self._check_types()
        self._check_weights()
        for name, choices in _CHOICES.items():
            value: object = getattr(self, name)
            for one in cast(tuple[object, ...], value) if name == "pool" and isinstance(value, tuple) else (value,):
                if one not in choices:
                    raise UsageError(f"{name} is {one!r}, expected one of {', '.join(choices)}")
        if isinstance(self.layer, tuple) and isinstance(self.pool, tuple) and len(self.layer) != len(self.pool):
            raise UsageError(
                f"{len(self.layer)} layers and {len(self.pool)} pools were given, expected one pool, or one a layer"
            )
        if len(set(self.outputs)) < len(self.outputs):
            raise UsageError(f"layer {self.layer} with pool {self.pool} asks for a block of columns twice")
        arguments = dict(self.model_args or {})
        for name in sorted(set(arguments) & set(RESERVED_MODEL_ARGS)):
            raise UsageError(f"model argument {name!r} is decided by {RESERVED_MODEL_ARGS[name]}: leave it out")
        try:
            canonical_json(arguments)
        except (TypeError, ValueError) as error:
            raise UsageError(f"model_args are {arguments!r}, expected JSON values: {error}") from error

    @property
    def weights_file(self) -> Path | None:
        """The file of weights, where one is named."""
        return None if self.weights in _NAMED_WEIGHTS else Path(self.weights)

    def _settle(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # the one way to bring an argument of a frozen class into its one form

    def _check_weights(self) -> None:
        if not self.weights:
            raise UsageError("weights is empty, expected pretrained, random, bundled or the path of a file")
        if self.model in (None, "bundled"):
            raise UsageError(
                f"no model was given for the weights {self.weights!r}: name it (`embedkit models` lists them), or "
                "leave the weights out too, for the bundled backbone"
            )
        if not self.model:
            raise UsageError("model is empty: name one (`embedkit models` lists them), or leave it out")
        if self.weights == "bundled" and self.model.partition(".")[0] not in BUNDLED_MODELS:
            raise UsageError(f"no bundled weights of {self.model!r}; there are those of {', '.join(BUNDLED_MODELS)}")

    def _check_types(self) -> None:
        expected: dict[str, tuple[tuple[type, ...], str]] = {
            "model": ((str, type(None)), "the name of a model, or None"),
            "weights": ((str,), "pretrained, random, bundled or the path of a file"),
            "model_args": ((Mapping,), "a mapping"),
            "layer": ((int, type(None), tuple), "a whole number, None, or a list of them"),
            "device": ((str,), "names such as 'auto', 'cpu', 'cuda' or 'cuda:0'"),
        }
        for name, (types, described) in expected.items():
            value = getattr(self, name)
            if not isinstance(value, types) or isinstance(value, bool):  # a bool is an int to Python, but no layer
                raise UsageError(f"{name} is {value!r}, expected {described}")
        for layer in cast(tuple[object, ...], self.layer) if isinstance(self.layer, tuple) else ():
            if not isinstance(layer, int | None) or isinstance(layer, bool):
                raise UsageError(f"layer is {self.layer!r}, expected a whole number, None, or a list of them")
        if self.layer == () or self.pool == ():
            raise UsageError("no layer or no pool was given, expected at least one of each")

    @property
    def outputs(self) -> tuple[tuple[int | None, Pool], ...]:
        """The layer and the pool of each block of columns, in order."""
        layers = self.layer if isinstance(self.layer, tuple) else (self.layer,)
        pools = self.pool if isinstance(self.pool, tuple) else (self.pool,)
        number = max(len(layers), len(pools))
        if len(layers) < number:
            layers = (layers[0],) * number
        if len(pools) < number:
            pools = (cast(Pool, pools[0]),) * number
        return cast(tuple[tuple[int | None, Pool], ...], tuple(zip(layers, pools, strict=True)))

    @property
    def overrides(self) -> PreprocessOverrides:
        """What replaces parts of the model's own preprocessing."""
        return cast(PreprocessOverrides, self.preprocess)

    @property
    def network(self) -> FeatureRequest:
        """The request without what is taken of the network: equal where one pass serves both."""
        return dataclasses.replace(self, layer=None, pool="auto", dtype="float32")

    def pinned(self, spec: FeatureSpec) -> FeatureRequest:
        """Return the request with everything that a spec resolves as the spec has it."""
        found = spec.backbone
        return dataclasses.replace(
            self, precision=found.precision, engine=found.engine, resize=spec.preprocess.resize, dtype=spec.dtype
        )

    def settled(self, spec: FeatureSpec) -> FeatureRequest:
        """Return the request with `auto` replaced by what a spec resolved it to; what was named stays as it is."""
        return dataclasses.replace(
            self,
            precision=spec.backbone.precision if self.precision == "auto" else self.precision,
            engine=spec.backbone.engine if self.engine == "auto" else self.engine,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the request as plain JSON values, the key under which its resolution is remembered.

        A file of weights goes by its absolute path, so that the request means the same in every working folder.
        """
        record = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if self.weights not in _NAMED_WEIGHTS:
            record["weights"] = os.path.abspath(self.weights)
        record["model_args"] = dict(self.model_args or {})
        record["preprocess"] = self.overrides.given()
        return cast(dict[str, Any], json.loads(canonical_json(record)))

    def parts(self) -> dict[str, Any]:
        """Return the fields that are not at their defaults, as plain values."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        found["model_args"], found["preprocess"] = dict(self.model_args or {}) or None, self.overrides.given() or None
        return {
            field.name: found[field.name] for field in dataclasses.fields(self) if found[field.name] != field.default
        }

    @classmethod
    def of_spec(cls, spec: FeatureSpec, record: Mapping[str, Any] | None = None) -> Self:
        """Return the request that features come of: the recorded one, or what their spec says, with timm's weights."""
        backbone = spec.backbone
        if record is not None:
            return cls.from_dict(record)
        require_trusted(backbone.architecture, "the spec of the features")
        if backbone.weights == "none":
            return cls(backbone.architecture)
        return cls(
            backbone.architecture,
            model_args=backbone.model_args,
            layer=backbone.layer,
            pool=backbone.pool,
            preprocess={field: getattr(spec.preprocess, field) for field in _OVERRIDDEN}
            | ({"view": spec.preprocess.view, "view_seed": spec.preprocess.view_seed} if spec.preprocess.view else {}),
        )

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Build a request from `to_dict`'s record, such as a feature file carries.

        Raises
        ------
        UsageError
            A field is missing or unknown, or it asks for code that the user has not called theirs.
        """
        try:
            # Until 0.1.0 what is asked of the backbone stood in a record of its own.
            fields = {**record.get("backbone", {}), **record}
            fields.pop("backbone", None)
            require_trusted(fields["model"], "a recorded request")
            return cls(fields.pop("model"), **fields)
        except (KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"not a request that this embedkit understands: {error}") from error


def as_request(model: str | FeatureRequest | None, **parts: Any) -> FeatureRequest:
    """Return what a user asks for, given as a request, or as the name of a model with parts of a request beside it.

    Parameters
    ----------
    model : str, FeatureRequest or None
        None is the bundled backbone.
    **parts
        Further fields of a `FeatureRequest`; beside a request they have to stay at their defaults.
    """
    if not isinstance(model, FeatureRequest):
        return FeatureRequest(model, **parts)
    default = FeatureRequest("any")
    if beside := [name for name, value in parts.items() if value not in (None, getattr(default, name))]:
        raise UsageError(f"{beside[0]} was given beside a FeatureRequest, which has its own; use dataclasses.replace")
    return model


def as_requests(models: str | FeatureRequest | Sequence[str | FeatureRequest] | None) -> list[FeatureRequest]:
    """Return what a user asks for, given as one model or several, each a name or a request; None is none."""
    several = [] if models is None else [models] if isinstance(models, str | FeatureRequest) else list(models)
    return [as_request(model) for model in several]


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


_OVERRIDDEN = ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std")
_NAMED_WEIGHTS = ("pretrained", "random", "bundled")
_CHOICES: dict[str, tuple[str, ...]] = {
    "pool": get_args(Pool),
    "precision": ("auto", *get_args(Precision)),
    "engine": ("auto", *get_args(Engine)),
    "resize": ("fast", "exact"),
    "dtype": get_args(Dtype),
}


def weights_of(
    model: str | None, weights: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]]
) -> str | os.PathLike[str]:
    """Return the weights of a model, also where they are given for several models, by name.

    Raises
    ------
    UsageError
        They name others, and not this one.
    """
    if not isinstance(weights, Mapping):
        return weights
    if model is None or model not in weights:
        raise UsageError(
            f"weights name {', '.join(weights)} and not the model {model!r}; add an entry for it, as "
            f"{{{model!r}: 'pretrained'}}"
        )
    return weights[model]
