"""Where an image lands: the size it is resized to and the place of the crop, in timm's own arithmetic.

Every function here copies ``timm/data/transforms_factory.py`` (``transforms_imagenet_eval``),
``timm/data/transforms.py`` (``ResizeKeepRatio``, ``CenterCropOrPad``) and ``torchvision/transforms/functional.py``
(``_compute_resized_output_size``, ``center_crop``) operation by operation, because a resize to 341 instead of 342
columns moves every pixel. The contract suite compares the outcome with timm's (1.0.31; before, timm resized for inputs
that are not square by the bilinear filter, whatever it was told).

Layer: preprocess, arithmetic only. Imports the standard library and specs.
"""

from __future__ import annotations

import math

from embedkit.errors import UsageError
from embedkit.specs import PreprocessSpec

CROP_MODES = ("center", "squash", "border")


def check_geometry(spec: PreprocessSpec) -> None:
    """Refuse a spec whose geometry timm could not follow.

    Raises
    ------
    UsageError
        The input size or `crop_pct` is not positive, or the crop mode is unknown.
    """
    if min(spec.input_size) < 1:
        raise UsageError(f"input_size is {spec.input_size}, expected two positive numbers of pixels (height, width)")
    if not (math.isfinite(spec.crop_pct) and spec.crop_pct > 0):
        raise UsageError(f"crop_pct is {spec.crop_pct}, expected a number above 0 (1 keeps the whole image)")
    if spec.crop_mode not in CROP_MODES:
        raise UsageError(f"crop_mode is {spec.crop_mode!r}, expected one of {', '.join(CROP_MODES)}")


def resized_size(spec: PreprocessSpec, height: int, width: int) -> tuple[int, int]:
    """Return the size that an image is resized to before the crop.

    Parameters
    ----------
    spec : PreprocessSpec
    height, width : int
        The image's size in pixels, both at least 1.

    Returns
    -------
    (int, int)
        Height and width in pixels. A side that timm would round to 0 (an extreme aspect ratio in border mode, where
        timm raises) is 1.
    """
    scale_height, scale_width = (math.floor(side / spec.crop_pct) for side in spec.input_size)
    if spec.crop_mode == "squash":
        return max(scale_height, 1), max(scale_width, 1)
    if spec.crop_mode == "center" and scale_height == scale_width:
        # torchvision's Resize to one number: the shorter side gets it, the longer one is cut to an integer.
        short, long = (width, height) if width <= height else (height, width)
        new_short, new_long = max(scale_height, 1), int(max(scale_height, 1) * long / short)
        return (new_long, new_short) if width <= height else (new_short, new_long)
    # timm's ResizeKeepRatio: the longer side fits the target (border) or the shorter one does (center, not square).
    longest = 1.0 if spec.crop_mode == "border" else 0.0
    ratio_height, ratio_width = height / max(scale_height, 1), width / max(scale_width, 1)
    ratio = max(ratio_height, ratio_width) * longest + min(ratio_height, ratio_width) * (1.0 - longest)
    return max(round(height / ratio), 1), max(round(width / ratio), 1)


def crop_offset(resized: int, kept: int) -> int:
    """Return where the crop begins on one axis; negative where the image must be padded instead.

    Halves round to even when the crop is inside the image (``int(round(x / 2.0))``) and down when it is padded
    (``x // 2`` before the image), as in torchvision's ``center_crop`` and timm's ``center_crop_or_pad``.
    """
    if kept > resized:
        return -((kept - resized) // 2)
    return int(round((resized - kept) / 2.0))


def kept_part(resized: int, kept: int) -> tuple[int, int]:
    """Return where the part of the resized image that a crop keeps begins on one axis, and its length."""
    return max(crop_offset(resized, kept), 0), min(resized, kept)


def shown_box(spec: PreprocessSpec, height: int, width: int) -> tuple[float, float, float, float]:
    """Return where the crop lies on an image: left, top, right and bottom as fractions of its width and height.

    Below 0 or above 1 where the network sees padding.
    """
    resized = resized_size(spec, height, width)
    top, left = (crop_offset(side, kept) for side, kept in zip(resized, spec.input_size, strict=True))
    return (
        left / resized[1],
        top / resized[0],
        (left + spec.input_size[1]) / resized[1],
        (top + spec.input_size[0]) / resized[0],
    )


def padding_colour(spec: PreprocessSpec) -> tuple[int, int, int]:
    """Return the RGB value, 0 to 255, around an image that is smaller than the crop.

    Black in center and squash mode (torchvision pads with 0), the mean in border mode (timm rounds ``255 * mean``).
    """
    if spec.crop_mode != "border":
        return 0, 0, 0
    red, green, blue = (round(255 * value) for value in spec.mean)
    return red, green, blue
