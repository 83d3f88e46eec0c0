"""ImageSource: the rows of a source of images, before any of them is read.

Layer: images. NumPy only.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.errors import ManifestError
from embedkit.images.access import is_url
from embedkit.images.reading import ArchiveMember, ImageRef
from embedkit.specs import TargetType

Labels = list[str] | npt.NDArray[np.float64] | npt.NDArray[np.bool_]
Column = list[str] | npt.NDArray[np.float64] | npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ImageSource:
    """The rows of a source: keys, images and whatever is known about them.

    Attributes
    ----------
    name : str
        The absolute path or the URL of a folder, manifest or archive; a description of images in memory.
    keys : list of str
        One a row, unique, valid Unicode without NUL.
    images : sequence of ImageRef
        One a key. It may be lazy: an item may be read from disk when it is asked for.
    labels : list of str, float64 array (n,), bool array (n, k), or None
        Classes, values, or one column a label. An unlabelled row has ``""``, NaN or no label.
    label_classes : list of str
        Sorted names of the classes, or of the columns of multilabel `labels`; empty for values.
    split, groups : list of str, or None
        As written.
    columns : dict of name to list of str, float64 array or int64 array
        Everything else that the source says about its rows.
    failures : list of (key, reason)
        What cannot be rows at all: the rest of an archive that is cut short, a folder that may not be listed.
    passed_over : dict of str to int
        Why files of a folder or an archive are no rows -> how many.
    notes : list of str
        What was decided about its rows where it could be meant in another way, each with what decides it.

    Raises
    ------
    ManifestError
        Keys that are not unique; not exactly one image, label, split, group and value of each column a row.
    """

    name: str
    keys: list[str]
    images: Sequence[ImageRef]
    labels: Labels | None = None
    label_classes: list[str] = field(default_factory=list[str])
    split: list[str] | None = None
    groups: list[str] | None = None
    columns: dict[str, Column] = field(default_factory=dict[str, Column])
    failures: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    passed_over: dict[str, int] = field(default_factory=dict[str, int])
    notes: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        check_keys(self.keys, self.name)
        members = {"images": self.images, "labels": self.labels, "splits": self.split, "groups": self.groups}
        for what, values in {**members, **{f"values of {name!r}": v for name, v in self.columns.items()}}.items():
            if values is not None and len(values) != len(self.keys):
                raise ManifestError(
                    f"{self.name}: {len(values):,} {what} for {len(self.keys):,} images, expected one each"
                )

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        labels = f"{len(self.label_classes)} classes" if self.label_classes else f"labels: {self.target_type}"
        splits = "" if self.split is None else f", splits {', '.join(sorted(set(self.split) - {''}))}"
        return f"<ImageSource {len(self):,} images, {labels}{splits}, {self.name}>"

    @property
    def target_type(self) -> TargetType:
        """``"class"``, ``"value"``, ``"multilabel"`` or ``"none"``."""
        if self.labels is None:
            return "none"
        if isinstance(self.labels, list):
            return "class"
        return "multilabel" if self.labels.ndim == 2 else "value"

    @property
    def labelled(self) -> npt.NDArray[np.bool_]:
        """Which rows have a label: ndarray of shape (n,). Of several labels an image, no label is one too."""
        if self.labels is None:
            return np.zeros(len(self), np.bool_)
        if isinstance(self.labels, list):
            return np.array([label != "" for label in self.labels], np.bool_)
        return np.ones(len(self), np.bool_) if self.labels.ndim == 2 else ~np.isnan(self.labels)

    def some(self, mask: npt.NDArray[np.bool_]) -> ImageSource:
        """Return the source of the rows where a mask of shape (n,) is true."""
        rows = np.flatnonzero(mask).tolist()

        def of(values: list[str]) -> list[str]:
            return [values[row] for row in rows]

        return replace(
            self,
            keys=of(self.keys),
            images=[self.images[row] for row in rows],
            labels=of(self.labels)
            if isinstance(self.labels, list)
            else None
            if self.labels is None
            else self.labels[mask],
            split=None if self.split is None else of(self.split),
            groups=None if self.groups is None else of(self.groups),
            columns={name: of(v) if isinstance(v, list) else v[mask] for name, v in self.columns.items()},
        )

    def on_disk(self) -> tuple[list[int], list[str | ArchiveMember]]:
        """Return the rows whose bytes lie in a file, and where: what a `StatMemo` can know. Reads no lazy image."""
        if not isinstance(self.images, list):
            return [], []
        found = [(row, ref) for row, ref in enumerate(self.images) if isinstance(ref, (str, ArchiveMember))]
        return [row for row, _ in found], [ref for _, ref in found]

    @property
    def is_remote(self) -> bool:
        """Whether the images lie at URLs, going by the first. Reads no lazy image."""
        first = self.images[0] if isinstance(self.images, list) and self.images else None
        return is_url(first.archive if isinstance(first, ArchiveMember) else first if isinstance(first, str) else "")

    @property
    def memo_name(self) -> str:
        """The name of this source's file in a folder of stat memos."""
        named = self.name if os.path.isabs(self.name) else "in memory"
        return f"stat-{hashlib.sha256(named.encode('utf-8', 'backslashreplace')).hexdigest()[:16]}.npy"


def key_of(name: str) -> str:
    r"""Return a file name as a key: POSIX separators, bytes that are not UTF-8 as ``\xff``."""
    posix = name if os.sep == "/" else name.replace(os.sep, "/")
    return os.fsencode(posix).decode("utf-8", "backslashreplace") if not _is_unicode(posix) else posix


def check_keys(keys: Sequence[str], where: str) -> None:
    """Raise ManifestError unless keys are unique, valid Unicode and free of NUL."""
    if len(set(keys)) != len(keys):
        twice = [key for key, count in Counter(keys).items() if count > 1]
        raise ManifestError(f"{where}: {some(twice)} more than once, expected each key once; remove the doubles")
    for key in keys:
        if "\x00" in key or not _is_unicode(key):
            raise ManifestError(f"{where}: key {key!r} holds a NUL or a lone surrogate; rename the file")


def some(items: Iterable[Any]) -> str:
    """Show a few items of many: ``'a', 'b', 'c' and 7 more``."""
    listed = list(items)
    shown = ", ".join(repr(item) for item in listed[:3])
    return shown if len(listed) <= 3 else f"{shown} and {len(listed) - 3:,} more"


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
