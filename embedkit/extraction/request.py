"""What a user asks of an extraction, before anything is resolved.

Layer: extraction; above the rooms, below the embedder.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, cast

from embedkit.backbones import Backbone, BackboneRequest, PreprocessOverrides
from embedkit.errors import UsageError
from embedkit.specs import DecodeSpec, Dtype, FeatureSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionRequest:
    """A backbone and the type in which its features are stored.

    Parameters
    ----------
    backbone : BackboneRequest
    dtype : {"float32", "float16"}

    Raises
    ------
    UsageError
        The dtype is another.
    """

    backbone: BackboneRequest
    dtype: Dtype = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in ("float32", "float16"):
            raise UsageError(f"dtype={self.dtype!r} is not known; use 'float32' or 'float16'")

    def feature_spec(self, backbone: Backbone) -> FeatureSpec:
        """Return the spec of the features that a loaded backbone computes for this request."""
        return FeatureSpec(
            backbone=backbone.spec,
            preprocess=backbone.preprocess,
            decode=_decode_spec(backbone.preprocess.resize),
            dtype=self.dtype,
        )

    def pinned(self, spec: FeatureSpec) -> ExtractionRequest:
        """Return the request with `auto` replaced by what a spec resolved it to."""
        backbone = dataclasses.replace(
            self.backbone, precision=spec.backbone.precision, engine=spec.backbone.engine, resize=spec.preprocess.resize
        )
        return dataclasses.replace(self, backbone=backbone, dtype=spec.dtype)

    def settled(self, spec: FeatureSpec) -> ExtractionRequest:
        """Return the request with `auto` replaced as by `pinned`; what was named stays as it is."""
        asked, found = self.backbone, spec.backbone
        backbone = dataclasses.replace(
            asked,
            precision=found.precision if asked.precision == "auto" else asked.precision,
            engine=found.engine if asked.engine == "auto" else asked.engine,
        )
        return dataclasses.replace(self, backbone=backbone)

    def to_dict(self) -> dict[str, Any]:
        """Return the request as plain values, the key under which its resolution is remembered.

        A file of weights goes by its absolute path, so that the request means the same in every working folder.
        """
        backbone = self.backbone.to_dict()
        if backbone["weights"] not in _NAMED_WEIGHTS:
            backbone["weights"] = os.path.abspath(backbone["weights"])
        return {"backbone": backbone, "dtype": self.dtype}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Build a request from `to_dict`'s record, such as a feature file carries.

        Raises
        ------
        UsageError
            A field is missing or unknown.
        """
        try:
            backbone = dict(record["backbone"])
            backbone["preprocess"] = overrides_from(backbone["preprocess"])
            return cls(backbone=BackboneRequest(**backbone), dtype=record["dtype"])
        except (KeyError, TypeError) as error:
            raise UsageError(f"not a request that this embedkit understands: {error}") from error


def overrides_from(record: Mapping[str, Any]) -> PreprocessOverrides:
    """Build overrides from plain values, where tuples may be lists."""
    if isinstance(cast(object, record), PreprocessOverrides):
        return cast(PreprocessOverrides, record)
    if not isinstance(cast(object, record), Mapping):
        raise UsageError(f"preprocess is {record!r}, expected a dict of fields of PreprocessOverrides")
    values: dict[str, Any] = {
        name: tuple(cast(list[Any], value)) if isinstance(value, list) else value for name, value in record.items()
    }
    return PreprocessOverrides(**values)


_NAMED_WEIGHTS = ("pretrained", "random", "bundled")


def _decode_spec(resize: Literal["exact", "fast"]) -> DecodeSpec:
    """Decode as timm does, through Pillow, where the resize does so too; else JPEGs by simplejpeg, scaled."""
    if resize == "exact":
        return DecodeSpec(decoder="pillow", scale=0)
    return DecodeSpec(decoder="simplejpeg", scale=2)
