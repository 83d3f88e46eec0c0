"""What an attribute of a fitted estimator must be: its kind of numbers, its shape, its range.

Shapes are written in letters, ``"k n"``: ``n`` is ``n_features_in_``, ``k`` the number of ``classes_``, ``r`` the rows
of a linear classifier (one where there are two classes). Any other letter stands for what the first array with it has,
and must be the same in all.

Layer: persistence, its bottom. NumPy only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MAX_FEATURES = 1 << 24
"""More columns than any table of features has."""


class MisfitError(ValueError):
    """Something in a fitted estimator is not what fitting makes."""


def attributes_of(one: object) -> dict[str, Any]:
    """Return the attributes of an object that a file holds, by name."""
    kept = getattr(type(one), "kept_attributes", None)  # of the class: an object's own come from the file
    return vars(one) if kept is None else kept(one)


@dataclass(frozen=True, slots=True)
class Field:
    """What one attribute must be.

    Attributes
    ----------
    kinds : str
        NumPy's kinds of types, such as ``"f"`` or ``"iu"``.
    shapes : tuple of str
        Any of them; ``""`` is a single number.
    low, high : float
        Bounds of the values, both included.
    finite : bool
    optional : bool
        It may be None, or not be there.
    """

    kinds: str
    shapes: tuple[str, ...]
    low: float = -math.inf
    high: float = math.inf
    finite: bool = True
    optional: bool = False


def floats(*shapes: str, low: float = -math.inf, finite: bool = True, optional: bool = False) -> Field:
    """Describe an attribute of real numbers."""
    return Field("f", shapes, low, finite=finite, optional=optional)


def wholes(*shapes: str, low: float = -math.inf, high: float = math.inf, optional: bool = False) -> Field:
    """Describe an attribute of whole numbers."""
    return Field("iu", shapes, low, high, optional=optional)


Fields = Mapping[str, Field]
Validator = Callable[["Checked"], None]


class Checked:
    """A fitted estimator whose attributes are being checked, and what the letters of shapes stand for in it."""

    def __init__(self, one: Any) -> None:
        self.one = one
        self.attributes = attributes_of(one)
        self.name = type(one).__name__
        self.letters: dict[str, int] = {}
        if "n_features_in_" in self.attributes:
            self.letters["n"] = self.whole("n_features_in_", 1, MAX_FEATURES)
        classes: Any = self.attributes.get("classes_")
        if type(classes) is np.ndarray:
            known = self.array("classes_", Field("biufUSO", ("k",), finite=False))
            if not len(known):
                raise MisfitError(f"{self.name}.classes_ is empty, expected at least one class")
            self.letters["r"] = 1 if len(known) == 2 else len(known)
        elif isinstance(classes, list) and not all(np.size(one) for one in cast(list[Any], classes)):
            raise MisfitError(f"{self.name}.classes_ is empty for an output, expected at least one class")

    @property
    def n(self) -> int:
        """The number of features that it takes."""
        if "n" not in self.letters:
            raise self.misfit("n_features_in_", "nothing", "the number of features")
        return self.letters["n"]

    def has(self, fields: Fields) -> None:
        """Check attributes."""
        for name, field in fields.items():
            if field.optional and self.attributes.get(name) is None:
                continue
            self.array(name, field)

    def array(self, name: str, field: Field, value: Any = None) -> Array:
        """Return an attribute, or a part of it, as an array that is what it must be."""
        found: Any = self.attributes.get(name) if value is None else value
        if not isinstance(found, (np.ndarray, np.generic, int, float)):
            raise self.misfit(name, type(found).__name__, "an array" if any(field.shapes) else "a number")
        array = np.asarray(found)
        if array.dtype.kind not in field.kinds and not (array.dtype.kind in "iu" and array.ndim == 0):
            raise self.misfit(name, str(array.dtype), f"a type among NumPy's kinds {field.kinds!r}")
        if not any(self._fits(array.shape, shape) for shape in field.shapes):
            raise self.misfit(name, f"shaped {array.shape}", f"the shape {self._described(field.shapes)}")
        if array.size and array.dtype.kind in "iuf":
            if field.finite and not np.isfinite(array).all():
                raise self.misfit(name, "not finite", "finite numbers")
            if field.low > -math.inf or field.high < math.inf:
                low, high = array.min(), array.max()
                if not (field.low <= low and high <= field.high):
                    raise self.misfit(name, f"from {low} to {high}", f"{field.low:g} to {field.high:g}")
        return array

    def whole(self, name: str, low: float, high: float) -> int:
        """Return an attribute that is one whole number in a range."""
        value: Any = self.attributes.get(name)
        if (
            type(value) is not int
            and np.asarray(value).dtype.kind not in "iu"
            or np.ndim(value)
            or not low <= value <= high
        ):
            raise self.misfit(name, repr(value)[:60], f"a whole number from {low:g} to {high:g}")
        return int(value)

    def listed(self, name: str, length: int | None = None, kinds: type | tuple[type, ...] = list) -> list[Any]:
        """Return an attribute that is a list, of a length if one is given."""
        value = self.attributes.get(name)
        if not isinstance(value, kinds) or (length is not None and len(cast(Any, value)) != length):
            raise self.misfit(name, type(value).__name__, "a list" + (f" of {length}" if length is not None else ""))
        return list(cast(Any, value))

    def is_one_of(self, name: str, allowed: tuple[Any, ...]) -> None:
        """Check that an attribute is one of some plain values."""
        value = self.attributes.get(name)
        if not any(value is one or (type(value) is type(one) and value == one) for one in allowed):
            raise self.misfit(name, repr(value)[:60], f"one of {', '.join(map(repr, allowed))}")

    def misfit(self, name: str, got: str, expected: str) -> MisfitError:
        """Return the error about an attribute."""
        return MisfitError(f"{self.name}.{name} is {got}, expected {expected}")

    def _fits(self, shape: tuple[int, ...], letters: str) -> bool:
        names = letters.split()
        if len(names) != len(shape):
            return False
        known = dict(self.letters)
        for name, length in zip(names, shape, strict=True):
            if length != (int(name) if name.isdigit() else known.setdefault(name, length)):
                return False
        self.letters = known
        return True

    def _described(self, shapes: tuple[str, ...]) -> str:
        known = [f"({', '.join(str(self.letters.get(name, name)) for name in shape.split())})" for shape in shapes]
        return " or ".join(known)


def fields(described: Fields, *further: Validator) -> Validator:
    """Make a validator of descriptions, and of validators that come after them."""

    def validate(checked: Checked) -> None:
        _ = checked.n
        checked.has(described)
        for validator in further:
            validator(checked)

    return validate
