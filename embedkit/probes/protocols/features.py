"""What a protocol prescribes of the features, compared with how a table's features were made.

A protocol run on a table starts from features: whether the images were resized, normalised and passed through the
network as the protocol says can only be read from the table's spec, and is said beside the number.

Layer: probes.protocols; above embedkit.specs; NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from embedkit.specs import FeatureSpec

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prescription:
    """The transform and the features of a protocol; None is whatever the model's own is.

    The features are always the model's own output before the classifier (no layer, pool "auto").

    Attributes
    ----------
    input_size : (int, int), optional
    interpolation, crop_mode : str, optional
    crop_pct : float, optional
        Crop over resize: 1.0 for resize 224 and crop 224, 0.875 for resize 256 and crop 224.
    mean, std : (float, float, float), optional
    """

    input_size: tuple[int, int] | None = None
    interpolation: str | None = None
    crop_mode: str | None = None
    crop_pct: float | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None

    def departures(self, spec: FeatureSpec, protocol: str) -> list[str]:
        """Say in one line in what features depart from the protocol; nothing for pseudo-backbones."""
        backbone, transform = spec.backbone, spec.preprocess
        if backbone.weights == "none":
            return []
        found = [
            f"{name} {_shown(got)}, not {_shown(wanted)}"
            for name, got, wanted in (
                ("input size", transform.input_size, self.input_size),
                ("interpolation", transform.interpolation, self.interpolation),
                ("crop mode", transform.crop_mode, self.crop_mode),
                ("crop fraction", transform.crop_pct, self.crop_pct),
                ("mean", transform.mean, self.mean),
                ("std", transform.std, self.std),
            )
            if wanted is not None and not _same(got, wanted)
        ]
        if backbone.layer is not None:
            found.append(f"layer {backbone.layer}, not the model's output before the classifier")
        if backbone.pool != "auto":
            found.append(f"pool {backbone.pool}, not the model's own")
        if transform.resize != "exact":
            found.append("a fast resize (within two grey levels), not Pillow's")
        return [f"{protocol}: the features depart from the protocol's: {'; '.join(found)}"] if found else []


def _same(got: object, wanted: object) -> bool:
    if isinstance(wanted, str):
        return got == wanted
    return bool(np.allclose(cast(Any, got), cast(Any, wanted), rtol=0, atol=1e-6))


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(_shown(part) for part in cast(tuple[object, ...], value))})"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
