"""Data sets of other libraries (Hugging Face ``datasets``, torch), known by what they can do, not by import.

Layer: images. Neither library is imported.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast, overload

from embedkit.errors import EmptySourceError, ManifestError, UsageError
from embedkit.images.columns import Table, source_of
from embedkit.images.labels import CellKind, TargetOption, class_texts, kind_of
from embedkit.images.reading import IMAGE_NAMES, ArchiveMember, ImageRef, as_ref
from embedkit.images.source import ImageSource

# What arrays and Series, frames, and mappings (and pandas) have.
_NO_DATASET = ("dtype", "dtypes", "keys")
_LABEL_NAMES = ("label", "labels", "fine_label")

# How many items at the start may fail until it is the data set that fails: a mistake in its code fails for all of them.
_TRIED = 100

# How many items are compared with what `targets` says of them before it is believed for all.
_COMPARED = 16


def is_dataset(target: Any) -> bool:
    """Say whether an object has a length and items by number, and is no list, array, frame or mapping."""
    if isinstance(target, (str, bytes, list, tuple)) or any(hasattr(target, name) for name in _NO_DATASET):
        return False
    return hasattr(target, "__len__") and hasattr(target, "__getitem__")


def is_rows(target: Any) -> bool:
    """Say whether a list holds rows such as ``{"image": ..., "label": ...}``, going by the first."""
    if not isinstance(target, (list, tuple)) or not target:
        return False
    first: object = cast("Sequence[object]", target)[0]
    return isinstance(first, dict) and any(name in first for name in IMAGE_NAMES)


def open_dataset(
    dataset: Any, *, label_column: str | None, target_type: TargetOption, image_column: str | None = None
) -> ImageSource:
    """Open a map-style data set, or a list of rows.

    Items are images, pairs (image, label), or dicts with ``"image"`` or ``"img"``. Of a ``datasets.Dataset`` the
    columns are read as columns, class names included, and the images as the encoded files they are. Of another data
    set the labels are its attribute ``targets``, as long as that has one entry an item, nothing transforms it, and
    items that are tried say the same; else they are found by going through all items once. -1 and None are no label
    where classes have names. An item that raises, such as a damaged file, is an image that cannot be read, with what
    it raised as the reason.

    Raises
    ------
    ManifestError
        No image in the items; no such label column; none of the first 100 items can be had; two classes of one name,
        or a label that names none.
    UsageError
        The image is something else, such as a tensor made by a transform.
    EmptySourceError
    """
    if not len(dataset):
        raise EmptySourceError(f"{_name(dataset)}: no items, expected at least one image")
    if hasattr(dataset, "column_names") and hasattr(dataset, "features"):
        return _open_columns(dataset, label_column, target_type, image_column)
    return _open_map(dataset, label_column, target_type, image_column)


class DatasetImages(Sequence[ImageRef]):
    """The images of a data set, fetched when they are asked for, by one thread at a time.

    `lost` are items that cannot be had, as is known by now, with the reasons.
    """

    def __init__(self, dataset: Any, image_of: Callable[[Any], Any], lost: Mapping[int, str]) -> None:
        self._dataset = dataset
        self._name = _name(dataset)
        self._image_of = image_of
        self._lost = lost
        self._lock = threading.Lock()  # nothing promises that a data set may be read by several threads

    def __len__(self) -> int:
        return len(self._dataset)

    @overload
    def __getitem__(self, index: int) -> ImageRef: ...
    @overload
    def __getitem__(self, index: slice) -> list[ImageRef]: ...
    def __getitem__(self, index: int | slice) -> ImageRef | list[ImageRef]:
        """Return the image of an item; one that cannot be had is a member that says why."""
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        row = range(len(self))[index]
        if row in self._lost:
            return ArchiveMember(self._name, str(row), problem=self._lost[row])
        try:
            with self._lock:
                item = self._dataset[row]
                image = None if item is None else self._image_of(item)
        except Exception as error:  # whatever code of its own a data set runs for an item
            return ArchiveMember(self._name, str(row), problem=_raised(error))
        ref = as_ref(image)
        return ref if ref is not None else ArchiveMember(self._name, str(row), problem=f"not an image: {_kind(image)}")


def _open_columns(
    dataset: Any, label_column: str | None, target_type: TargetOption, image_column: str | None
) -> ImageSource:
    """Open a ``datasets.Dataset``."""
    features: dict[str, Any] = dict(dataset.features)
    image = _image_name(list(features), image_column, f"{_name(dataset)}: no column", "; columns found")
    columns: dict[str, list[str]] = {}
    kinds: dict[str, CellKind] = {}
    for name, feature in features.items():
        if name != image and hasattr(feature, "dtype"):
            values: list[Any] = list(dataset[name])
            names = getattr(feature, "names", None)
            columns[name] = class_texts(values, names, f"{_name(dataset)}, column {name!r}")
            kinds[name] = "text" if names is not None else kind_of(values)
    feature = features[image]
    if hasattr(dataset, "cast_column") and hasattr(feature, "decode"):
        # The encoded files have the identity of files and are decoded by us; otherwise they come as Pillow images.
        dataset = dataset.cast_column(image, type(feature)(decode=False))
    images = DatasetImages(dataset, lambda item: item[image], {})
    return _source(dataset, images, columns, kinds, label_column, target_type, [])


def _open_map(
    dataset: Any, label_column: str | None, target_type: TargetOption, image_column: str | None
) -> ImageSource:
    """Open a data set that only has items."""
    first = _first_item(dataset)
    image_of, label_of = _parts(dataset, first, label_column, image_column)
    image = image_of(first)
    if image is not None and as_ref(image) is None:
        raise UsageError(
            f"{_name(dataset)}: its images are {_kind(image)}, expected a path, bytes, a Pillow image, an array or a "
            "tensor; take its transform off"
        )
    lost: dict[int, str] = {}
    columns: dict[str, list[str]] = {}
    kinds: dict[str, CellKind] = {}
    notes: list[str] = []
    if label_of is not None:
        doubt, targets = _believed_targets(dataset, label_of) if label_column is None else ("", None)
        if doubt:
            notes.append(f"{doubt}: the labels are those of its items, which were all read once")
        values = targets if targets is not None else _labels(dataset, label_of, lost)
        transformed = getattr(dataset, "target_transform", None) is not None
        names = None if transformed else getattr(dataset, "classes", None)
        column = label_column or "label"
        columns[column] = class_texts(values, names, _name(dataset))
        kinds[column] = "text" if names is not None else kind_of(values)
    images = DatasetImages(dataset, image_of, lost)
    return _source(dataset, images, columns, kinds, label_column, target_type, notes)


def _believed_targets(dataset: Any, label_of: Callable[[Any], Any]) -> tuple[str, list[Any] | None]:
    """Return the attribute `targets` of a data set if it holds what the items say, else why it is not believed."""
    targets = getattr(dataset, "targets", None)
    if targets is None:
        return "", None
    values = [_plain(value) for value in targets]
    if len(values) != len(dataset):
        return f"its 'targets' has {len(values):,} entries for {len(dataset):,} items", None
    if getattr(dataset, "target_transform", None) is not None:
        return "its 'target_transform' changes its 'targets'", None
    samples: Any = getattr(dataset, "samples", None)
    pairs = cast("list[Any]", samples) if isinstance(samples, list) else []
    if any(_disagree(target, pair) for target, pair in zip(values, pairs, strict=False)):
        return "its 'targets' and its 'samples' do not agree", None
    step = max(1, (len(values) - 1) // (_COMPARED - 1))
    for row in dict.fromkeys([*range(0, len(values), step), len(values) - 1]):
        try:
            item = dataset[row]
            said = _plain(label_of(item))
        except Exception:  # whatever code of its own a data set runs for an item; a damaged one says nothing
            continue
        if not _same(said, values[row]):
            return f"its 'targets' says {values[row]!r} of item {row}, which itself says {said!r}", None
    return "", values


def _disagree(target: Any, pair: Any) -> bool:
    return (
        isinstance(pair, (tuple, list)) and len(cast("Sequence[Any]", pair)) == 2 and not _same(_plain(pair[1]), target)
    )


def _same(left: Any, right: Any) -> bool:
    return left == right or (left != left and right != right)  # NaN too


def _plain(value: Any) -> Any:
    """Return a label without the NumPy or torch type around it."""
    return value.tolist() if hasattr(value, "tolist") else value


def _image_name(names: Sequence[str], image_column: str | None, where: str, found: str) -> str:
    wanted = (image_column,) if image_column is not None else IMAGE_NAMES
    for name in wanted:
        if name in names:
            return name
    expected = " or ".join(repr(name) for name in wanted)
    raise ManifestError(f"{where} {expected}{found}: {', '.join(names)}; image_column names another one")


def _first_item(dataset: Any) -> Any:
    """Return the first item that can be had: what items are made of."""
    failed: Exception | None = None
    tried = min(len(dataset), _TRIED)
    for row in range(tried):
        try:
            item = dataset[row]
        except Exception as error:  # whatever code of its own a data set runs for an item
            failed = failed or error
        else:
            if item is not None:
                return item
    reason = "they are None" if failed is None else _raised(failed)
    raise ManifestError(
        f"{_name(dataset)}: none of its first {tried} items can be had, {reason}; expected what dataset[0] gives to be "
        "an image, a pair (image, label) or a dict"
    ) from failed


def _labels(dataset: Any, label_of: Callable[[Any], Any], lost: dict[int, str]) -> list[Any]:
    """Return the label of each item, None for one that cannot be had, which is noted in `lost` with the reason.

    Such an item is not asked for again: if it could be had then, it would be a row without its label.
    """
    labels: list[Any] = []
    for row in range(len(dataset)):
        try:
            item = dataset[row]
            labels.append(None if item is None else label_of(item))
        except Exception as error:  # as above
            labels.append(None)
            lost[row] = _raised(error)
    return labels


def _parts(
    dataset: Any, item: Any, label_column: str | None, image_column: str | None
) -> tuple[Callable[[Any], Any], Callable[[Any], Any] | None]:
    """Return how to take the image and the label out of an item; None where it has no label."""
    if isinstance(item, dict):
        names = list(cast(dict[str, Any], item))
        image = _image_name(names, image_column, f"{_name(dataset)}: no", " in its items; found")
        label = label_column or next((name for name in _LABEL_NAMES if name in names), None)
        if label is not None and label not in names:
            raise ManifestError(
                f"{_name(dataset)}: no {label!r} in its items for the labels; found: {', '.join(names)}"
            )
        return (lambda item: item[image]), None if label is None else (lambda item: item[label])
    if isinstance(item, (tuple, list)):
        if label_column is not None:
            raise ManifestError(f"{_name(dataset)}: its items are pairs and have no {label_column!r}; leave it out")
        return (lambda item: item[0]), (lambda item: item[1]) if len(cast(Sequence[Any], item)) > 1 else None
    return (lambda item: item), None


def _source(
    dataset: Any,
    images: DatasetImages,
    columns: dict[str, list[str]],
    kinds: dict[str, CellKind],
    label_column: str | None,
    target_type: TargetOption,
    notes: list[str],
) -> ImageSource:
    name = _name(dataset)
    return source_of(
        Table(name, columns, lambda row: f"{name}, item {row}", kinds, notes),
        [str(row) for row in range(len(images))],
        images,
        label_column=label_column,
        target_type=target_type,
        default_labels=_LABEL_NAMES,
    )


def _name(dataset: Any) -> str:
    return f"{type(dataset).__name__} of {len(dataset)} items"


def _raised(error: Exception) -> str:
    return f"the data set raised {type(error).__name__}: {' '.join(str(error).split())}"


def _kind(item: Any) -> str:
    return "missing" if item is None else type(item).__name__
