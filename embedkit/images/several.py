"""Several sources as one: their rows one after the other, under keys that lead to the images from a common folder.

Layer: images; above source. NumPy only.
"""

from __future__ import annotations

import os
import posixpath
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import cast, overload

import numpy as np
import numpy.typing as npt

from embedkit.errors import ManifestError
from embedkit.images.labels import one_form
from embedkit.images.layout import split_name
from embedkit.images.reading import ImageRef
from embedkit.images.remote import is_url
from embedkit.images.source import Column, ImageSource, Labels, key_of


def join_sources(paths: Sequence[str], sources: Sequence[ImageSource]) -> ImageSource:
    """Return the rows of several sources as one source.

    Parameters
    ----------
    paths : sequence of str, length k
        Where the sources lie: paths, or URLs. Keys become relative to the folder that all of them lie in.
    sources : sequence of ImageSource, length k

    Returns
    -------
    ImageSource
        A row has no label, split or group where its source has none. Where no source has splits and all are named like
        splits (``train``, ``test.csv``), those are the splits.

    Raises
    ------
    ManifestError
        A source given twice, or two that hold the same image; labels of which some are classes and others values.
    """
    notes = [f"{path}: {note}" for path, source in zip(paths, sources, strict=True) for note in source.notes]
    prefixes, common = _prefixes(paths)
    keys = [
        key if os.path.isabs(key) or is_url(key) else f"{prefix}{key}"
        for prefix, source in zip(prefixes, sources, strict=True)
        for key in source.keys
    ]
    labels, classes = _join_labels(sources, common, notes)
    split = _join_texts([source.split for source in sources], sources)
    names = [split_name(os.path.splitext(posixpath.basename(path.rstrip("/\\")))[0]) for path in paths]
    if split is None and all(names) and len(set(names)) > 1:
        split = [name for name, source in zip(names, sources, strict=True) for _ in source.keys]
        notes.append(f"the names of the sources are read as splits: {', '.join(dict.fromkeys(names))}")
    columns = list(dict.fromkeys(name for source in sources for name in source.columns))
    images = [source.images for source in sources]
    return ImageSource(
        name=common,
        keys=keys,
        images=[ref for refs in images for ref in refs] if all(isinstance(i, list) for i in images) else _Chain(images),
        labels=labels,
        label_classes=classes,
        split=split,
        groups=_join_texts([source.groups for source in sources], sources),
        columns={name: _join_columns([s.columns.get(name) for s in sources], sources) for name in columns},
        failures=[
            (f"{prefix}{key}", reason)
            for prefix, source in zip(prefixes, sources, strict=True)
            for key, reason in source.failures
        ],
        passed_over=dict(sorted(sum((Counter(s.passed_over) for s in sources), Counter[str]()).items())),
        notes=notes,
    )


class _Chain(Sequence[ImageRef]):
    """Sequences of images one after the other, none of them read before it is asked for."""

    def __init__(self, parts: Sequence[Sequence[ImageRef]]) -> None:
        self._parts = parts
        self._starts = [0, *accumulate(len(part) for part in parts)]

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, index: int) -> ImageRef: ...
    @overload
    def __getitem__(self, index: slice) -> list[ImageRef]: ...
    def __getitem__(self, index: int | slice) -> ImageRef | list[ImageRef]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        row = range(len(self))[index]
        part = bisect_right(self._starts, row) - 1
        return self._parts[part][row - self._starts[part]]


def _prefixes(paths: Sequence[str]) -> tuple[list[str], str]:
    """Return what stands before the keys of each source, and the folder that all of them lie in."""
    if any(is_url(path) for path in paths):
        bases = [posixpath.basename(path.rstrip("/")) + "/" for path in paths]
        return bases, ", ".join(paths)
    folders = [os.path.abspath(path if os.path.isdir(path) else os.path.dirname(path) or ".") for path in paths]
    common = os.path.commonpath(folders)
    relative = [os.path.relpath(folder, common) for folder in folders]
    return ["" if name == "." else f"{key_of(name)}/" for name in relative], common


def _join_labels(sources: Sequence[ImageSource], where: str, notes: list[str]) -> tuple[Labels | None, list[str]]:
    kinds = {source.target_type for source in sources} - {"none"}
    if not kinds:
        return None, []
    if len(kinds) > 1:
        found = ", ".join(f"{source.name}: {source.target_type}" for source in sources)
        raise ManifestError(f"{where}: labels of several kinds ({found}); say target_type, or take them one by one")
    if kinds == {"value"}:
        values = [_or_nan(cast("npt.NDArray[np.float64] | None", source.labels), source) for source in sources]
        return np.concatenate(values), []
    if kinds == {"multilabel"}:
        classes = sorted(set[str]().union(*(source.label_classes for source in sources)))
        table = np.zeros((sum(len(source) for source in sources), len(classes)), dtype=bool)
        row = 0
        for source in sources:
            if source.labels is not None:
                table[row : row + len(source), [classes.index(name) for name in source.label_classes]] = source.labels
            row += len(source)
        return table, classes
    texts = [cast("list[str] | None", source.labels) or [""] * len(source) for source in sources]
    labels = one_form([label for part in texts for label in part], notes)
    unlabelled = [source.name for source in sources if source.labels is None]
    if unlabelled:
        notes.append(f"no labels in {', '.join(unlabelled)}: the images there have none")
    return labels, sorted(set(labels) - {""})


def _join_texts(parts: Sequence[list[str] | None], sources: Sequence[ImageSource]) -> list[str] | None:
    if all(part is None for part in parts):
        return None
    filled = [part or [""] * len(source) for part, source in zip(parts, sources, strict=True)]
    return [text for part in filled for text in part]


def _join_columns(parts: Sequence[Column | None], sources: Sequence[ImageSource]) -> Column:
    if any(isinstance(part, list) for part in parts):
        texts = [part if part is None or isinstance(part, list) else [str(v) for v in part.tolist()] for part in parts]
        return cast(Column, _join_texts(texts, sources))
    integers = [part for part in parts if isinstance(part, np.ndarray) and part.dtype == np.int64]
    if len(integers) == len(parts):
        return np.concatenate(cast("list[npt.NDArray[np.int64]]", integers))
    numbers = [cast("npt.NDArray[np.float64] | None", part) for part in parts]
    return np.concatenate([_or_nan(part, source) for part, source in zip(numbers, sources, strict=True)])


def _or_nan(values: npt.NDArray[np.float64] | None, source: ImageSource) -> npt.NDArray[np.float64]:
    return np.full(len(source), np.nan) if values is None else values.astype(np.float64)
