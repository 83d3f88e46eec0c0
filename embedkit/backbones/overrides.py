"""What a user replaces of a model's own preprocessing.

Layer: backbones, its bottom. Imports the standard library and errors.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from embedkit.errors import UsageError


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
    view, view_seed : int or None
        The k-th random view of each image, from 1 on, in place of the image, and the seed of its draws.

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
    view: int | None = None
    view_seed: int | None = None

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
        for name in ("view", "view_seed"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
                raise UsageError(f"{name} is {value!r}, expected a whole number from 0 on")

    def given(self) -> dict[str, Any]:
        """Return the overrides that are not None."""
        fields = (field.name for field in dataclasses.fields(self))
        return {name: getattr(self, name) for name in fields if getattr(self, name) is not None}


def as_overrides(given: object) -> PreprocessOverrides:
    """Return what a user gives as overrides: None, a mapping of their fields, or themselves."""
    if isinstance(given, PreprocessOverrides):
        return given
    if not isinstance(given, Mapping | None):
        raise UsageError(f"preprocess is {given!r}, expected a dict of fields of PreprocessOverrides")
    values: dict[str, Any] = {
        name: tuple(cast(list[Any], value)) if isinstance(value, list) else value
        for name, value in cast(Mapping[str, Any], given or {}).items()
    }
    try:
        return PreprocessOverrides(**values)
    except TypeError as error:
        raise UsageError(f"preprocess is {given!r}, expected fields of PreprocessOverrides: {error}") from error
