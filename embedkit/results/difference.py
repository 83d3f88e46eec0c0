"""What `diff` leaves behind: how one feature file differs from another.

Layer: results; above record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from embedkit.results.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedRow:
    """A key that both files have, and what is not the same of it.

    Attributes
    ----------
    key : str
    fields : list of str
        Of ``"image"`` (other bytes), ``"label"``, ``"split"``, ``"groups"`` and the names of further columns.
    """

    key: str
    fields: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedRow:
    """An image that both files have, byte for byte, under different keys."""

    first: str
    second: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedSetting:
    """A field of the spec that differs; values as JSON."""

    name: str
    first: str
    second: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDiff(Record):
    """How a second feature file differs from a first.

    Attributes
    ----------
    first, second : str
        Paths.
    first_rows, second_rows : int
    added, removed : list of str
        Keys that the second alone has, and the first alone.
    moved : list of MovedRow
        Pairs of these that are one image: a folder was renamed, or packed into an archive.
    changed : list of ChangedRow
    settings : list of ChangedSetting
        How features were made differently; empty where their fingerprints are equal.
    same_backbone : bool
        Whether the features are of one backbone, layer and preprocessing, so that their rows can be compared.
    compared : int
        Rows of the same image, moved or not, whose features were compared; 0 for other backbones.
    unequal : int
        Of these, rows whose features are not equal to the last bit.
    worst, mean : float or None
        Drift: cosine of the second's row with the first's, both less the mean of the first's, -1 to 1.
    worst_key : str
        Where it is worst; empty where nothing was compared.
    """

    kind: ClassVar[str] = "diff"

    first: str
    second: str
    first_rows: int
    second_rows: int
    added: list[str]
    removed: list[str]
    changed: list[ChangedRow]
    settings: list[ChangedSetting]
    same_backbone: bool
    compared: int
    unequal: int
    worst: float | None
    mean: float | None
    worst_key: str = ""
    moved: list[MovedRow] = field(default_factory=list[MovedRow])

    def __post_init__(self) -> None:
        if self.same_backbone and self.unequal and None in (self.worst, self.mean):
            raise ValueError(f"{self.unequal} rows differ, and there is no cosine of them")

    def table(self) -> list[dict[str, Any]]:
        """Return one row a key that is not the same in both."""
        return [
            *({"change": "added", "key": key, "fields": ""} for key in self.added),
            *({"change": "removed", "key": key, "fields": ""} for key in self.removed),
            *({"change": "changed", "key": one.key, "fields": ", ".join(one.fields)} for one in self.changed),
        ]
