"""What features are: frozen records that say how they were made, their canonical JSON and their fingerprint.

Two arrays of features may be mixed exactly when their fingerprints are equal. Whatever changes a feature is a field of
a spec; whatever does not (labels, file names, library versions, batch size, device) is not. A field that a later
version adds is left out of the JSON at its default, so that what was computed before keeps its fingerprint.

Layer: above errors, below every room. Reads no file, no environment variable.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, cast

from embedkit.errors import SpecMismatchError, UsageError

FORMAT_VERSION = 1
"""Major version of the spec, of the parts in a store and of the feature file (docs/format.md)."""

DECODE_CONTRACT = 2
"""Raised whenever embedkit itself decodes some image to other pixels than before."""

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Pool = Literal["auto", "avg", "cls", "cls+avg", "max", "gem", "map"]
Precision = Literal["fp32", "bf16", "fp16"]
Engine = Literal["torch", "openvino"]
Dtype = Literal["float32", "float16"]
TargetType = Literal["class", "value", "multilabel", "none"]


def canonical_json(value: object) -> str:
    """Return the one JSON text of a value: keys sorted, no spaces, ASCII, shortest floats; NaN is an error."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _later(default: Any) -> Any:
    """Declare a field that older specs do not have, and that means nothing at its default."""
    return dataclasses.field(default=default, metadata={"later": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeSpec:
    """How encoded bytes become RGB pixels.

    Parameters
    ----------
    decoder : str
        ``"pillow"``, or ``"simplejpeg"`` (JPEGs by simplejpeg, everything else by Pillow).
    scale : int
        0: every JPEG is decoded at full size. k >= 1: a JPEG may be decoded at a reduced DCT scale as long as each
        side stays at least k times the side that the resize asks for.
    exif, alpha, sixteen_bit, cmyk : str
        The policies: EXIF orientation applied, transparency over white, 16-bit scaled to 8, CMYK through Pillow.
    contract : int
        `DECODE_CONTRACT` of the code that decodes.
    """

    decoder: Literal["pillow", "simplejpeg"] = "simplejpeg"
    scale: int = 2
    exif: Literal["apply"] = "apply"
    alpha: Literal["white"] = "white"
    sixteen_bit: Literal["scale"] = "scale"
    cmyk: Literal["pillow"] = "pillow"
    contract: int = DECODE_CONTRACT


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessSpec:
    """How RGB pixels become what the network eats.

    Parameters
    ----------
    input_size : (int, int)
        Height and width in pixels.
    interpolation : str
        ``"bicubic"``, ``"bilinear"``, ``"nearest"``, ``"lanczos"``, ... as timm names them.
    crop_pct : float
        The fraction of the resized image that the crop keeps, as in timm.
    crop_mode : str
        ``"center"``, ``"squash"`` or ``"border"``, as in timm.
    mean, std : (float, float, float)
        Normalisation of pixels scaled to [0, 1].
    resize : str
        ``"exact"``: Pillow, equal to timm's own transform. ``"fast"``: antialiased uint8 tensor resize, at most two
        grey levels from it.
    view : int
        0: the image as it is. k >= 1: its k-th random view (`embedkit.preprocess.views`) in place of the centre.
    view_seed : int
        Of the draws.
    """

    input_size: tuple[int, int]
    interpolation: str
    crop_pct: float
    crop_mode: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: Literal["exact", "fast"] = "fast"
    view: int = _later(0)
    view_seed: int = _later(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneSpec:
    """Which network, and what of it is taken.

    Parameters
    ----------
    architecture : str
        timm's name without the tag, or the name of a pseudo-backbone (``"pixels32"``, ``"colour-histogram"``).
    model_args : mapping
        Arguments of ``timm.create_model`` beside the defaults; JSON values.
    weights : str
        ``"sha256:<hex>"`` over the backbone's tensors (classifier left out), or ``"none"``.
    layer : int, None, or tuple of them
        Index into ``forward_intermediates``; None is the model's own output before the classifier.
    pool : str or tuple of str
        ``"auto"`` (only without a layer: the model's own), ``"avg"``, ``"cls"``, ``"cls+avg"``, ``"max"``, ``"gem"``;
        ``"map"`` (only with a layer): nothing is pooled, all tokens or positions one behind the other.
    precision, engine : str
        What computed the features.
    width : int
        Number of features of one image, as measured.
    blocks : tuple of int
        Where `layer` and `pool` are tuples, the width of the block of columns of each pair, in their order; else empty.
    """

    architecture: str
    weights: str
    width: int
    model_args: Mapping[str, Json] = dataclasses.field(default_factory=dict[str, Json])
    layer: int | None | tuple[int | None, ...] = None
    pool: Pool | tuple[Pool, ...] = "auto"
    precision: Precision = "fp32"
    engine: Engine = "torch"
    blocks: tuple[int, ...] = _later(())


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """Everything that decides the numbers in a row of features.

    Parameters
    ----------
    backbone : BackboneSpec
    preprocess : PreprocessSpec
    decode : DecodeSpec
    dtype : {"float32", "float16"}
        The stored type.
    format : int
        `FORMAT_VERSION` of the code that wrote the features.
    """

    backbone: BackboneSpec
    preprocess: PreprocessSpec
    decode: DecodeSpec
    dtype: Dtype = "float32"
    format: int = FORMAT_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain JSON values (tuples become lists)."""
        return cast(dict[str, Any], json.loads(canonical_json(_as_dict(self))))

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Build a spec from `to_dict`'s record.

        Raises
        ------
        UsageError
            A field is missing or unknown: the record was written by another version of embedkit, or by hand.
        """
        try:
            made = cls(
                backbone=BackboneSpec(**_with_tuples(record["backbone"], "layer", "pool", "blocks")),
                preprocess=PreprocessSpec(**_with_tuples(record["preprocess"], "input_size", "mean", "std")),
                decode=DecodeSpec(**record["decode"]),
                **{name: value for name, value in record.items() if name not in _PARTS},
            )
            canonical_json(_as_dict(made))  # what has no fingerprint is no spec
            return made
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(
                f"not a feature spec of format {FORMAT_VERSION}: {error}; it was written by another version of embedkit"
            ) from error

    @property
    def canonical(self) -> str:
        """The canonical JSON text of the spec, the input of the fingerprint."""
        return canonical_json(_as_dict(self))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the canonical JSON, 64 hexadecimal digits."""
        return hashlib.sha256(self.canonical.encode("ascii")).hexdigest()

    @property
    def model_identity(self) -> str:
        """Digest of what an estimator depends on: the spec without what moves features within the drift bound.

        Left out: engine, precision, decoder and its scale, the way of resizing, the stored dtype.
        """
        record = _as_dict(self)
        del record["dtype"]
        del record["decode"]["decoder"], record["decode"]["scale"]
        del record["preprocess"]["resize"]
        del record["backbone"]["engine"], record["backbone"]["precision"]
        return hashlib.sha256(canonical_json(record).encode("ascii")).hexdigest()


def differences(got: FeatureSpec, expected: FeatureSpec) -> list[tuple[str, object, object]]:
    """List the fields in which two specs differ, as (dotted name, got, expected)."""
    left, right = _flatten(got.to_dict()), _flatten(expected.to_dict())
    missing = object()
    return [
        (name, left.get(name), right.get(name))
        for name in sorted(left.keys() | right.keys())
        if left.get(name, missing) != right.get(name, missing)
    ]


def require_equal(got: FeatureSpec, expected: FeatureSpec, what: str) -> None:
    """Raise SpecMismatchError naming the differing fields unless two specs are equal.

    Parameters
    ----------
    what : str
        The opening of the message, such as ``"grocery.h5 holds other features"``.
    """
    found = differences(got, expected)
    if found:
        raise SpecMismatchError(f"{what}: {describe_differences(found)}", found)


def describe_differences(found: list[tuple[str, object, object]]) -> str:
    """Say differences in one line: ``backbone.layer is 3, expected 11; dtype is ...``."""
    return "; ".join(f"{name} is {got!r}, expected {expected!r}" for name, got, expected in found)


def _as_dict(spec: FeatureSpec) -> dict[str, Any]:
    record = dataclasses.asdict(spec)
    record["backbone"]["model_args"] = dict(spec.backbone.model_args)
    for part, fields in ((record, spec), *((record[name], getattr(spec, name)) for name in _PARTS)):
        for field in dataclasses.fields(fields):
            if "later" in field.metadata and part[field.name] == field.default:
                del part[field.name]
    return record


_PARTS = ("backbone", "preprocess", "decode")


def _with_tuples(record: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Turn the lists of a JSON record into the tuples that they were."""
    return {
        name: tuple(cast(list[Any], value)) if name in names and isinstance(value, list) else value
        for name, value in record.items()
    }


def _flatten(record: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(cast(Mapping[str, Any], value), f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat
