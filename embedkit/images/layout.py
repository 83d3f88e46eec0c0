"""What the folders in the paths of images mean: classes, splits of classes, or classes of splits.

One reader for folders, archives and manifests. What it cannot tell it says, with both readings and the option that
decides.

Layer: images. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from embedkit.errors import ManifestError, UsageError

Layout = Literal["class", "split/class", "class/split", "flat"]
LAYOUTS: tuple[str, ...] = get_args(Layout)

PLAIN_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})
"""Names of splits that stay as they are written; other spellings become the one they stand for."""

_SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval", "evaluation"), "val"),
    **dict.fromkeys(("test", "testing", "holdout"), "test"),
    **dict.fromkeys(("unlabeled", "unlabelled", "unsupervised"), "unlabeled"),
    **dict.fromkeys(("pred", "predict", "prediction"), "pred"),
}
# What stands beside the word in the usual spellings: training_set, seg_test, train2017, test-images.
_BESIDE = frozenset(
    {"set", "sets", "data", "dataset", "split", "image", "images", "img", "imgs", "photos", "seg", "cls"}
)
_FOLD = re.compile(r"(?:fold|cv|split)[ _.-]?(\d+)")
_TOKEN = re.compile(r"[a-z]+")


@dataclass(slots=True)
class Reading:
    """What the folders say: one entry a path, blank where a path says nothing; None for what none of them says."""

    split: list[str] | None = None
    labels: list[str] | None = None
    notes: list[str] = field(default_factory=list[str])


def folders_of(paths: Sequence[str]) -> list[list[str]]:
    r"""Return the folders of each path. ``\`` separates them where no path has ``/``, as in archives of Windows."""
    if any("\\" in path for path in paths) and not any("/" in path for path in paths):
        paths = [path.replace("\\", "/") for path in paths]
    return [[part for part in path.split("/")[:-1] if part not in ("", ".", "..")] for path in paths]


def split_name(folder: str) -> str:
    """Return the split that the name of a folder stands for; empty for a name that is no split's.

    >>> [split_name(name) for name in ("train", "Training_Set", "seg_test", "val2017", "fold3", "dog")]
    ['train', 'train', 'test', 'val', 'fold3', '']
    """
    lowered = folder.lower()
    if lowered in PLAIN_SPLITS:
        return folder
    fold = _FOLD.fullmatch(lowered)
    if fold:
        return f"fold{fold.group(1)}"
    if not re.fullmatch(r"[a-z0-9 _.-]+", lowered):
        return ""
    tokens = [token for token in _TOKEN.findall(lowered) if token not in _BESIDE]
    if len(tokens) != 1:
        return ""
    word = tokens[0] if tokens[0] in _SPLIT_WORDS else re.sub("(set|data|images|imgs)$", "", tokens[0])
    return _SPLIT_WORDS.get(word, "")


def read_layout(paths: Sequence[str], where: str, layout: Layout | None = None) -> Reading:
    """Read what the folders of paths stand for.

    Parameters
    ----------
    paths : sequence of str
        Of the images, relative to their source.
    where : str
        The source, for messages.
    layout : {"class", "split/class", "class/split", "flat"}, optional
        What the folders are, from the first one down; by default read from their names. A folder that all images share
        is descended first.

    Raises
    ------
    ManifestError
        Some first folders are named like splits, others are not, and the same folders lie in all of them; or no folder
        is there for a `layout` that needs one.
    UsageError
        Another `layout`.

    Notes
    -----
    Without `layout`: first folders that are all named like splits are splits, and the second ones classes; second
    folders that are all named like splits are the splits of the classes above them; other first folders are classes.
    Where some images lie in no class folder there are no labels at all, unless a whole split has none.
    """
    if layout is not None and layout not in LAYOUTS:
        raise UsageError(f"layout={layout!r}, expected one of {', '.join(LAYOUTS)}")
    if layout == "flat":
        return Reading()
    parts = folders_of(paths)
    if not any(parts):
        if layout is not None:
            raise ManifestError(f"{where}: no folders, expected {layout} (layout={layout!r}); leave the option out")
        return Reading()
    notes: list[str] = []
    parts = _descended(parts, layout, notes)
    if layout == "class":
        return Reading(None, _labels(parts, notes), notes)
    if layout == "class/split":
        return Reading([_canonical(p[1]) if len(p) > 1 else "" for p in parts], _labels(parts, notes), notes)
    tops = {folders[0] if folders else "" for folders in parts}
    like = {top for top in tops if split_name(top)}
    if layout == "split/class" or like == tops:
        return _splits_of_classes(parts, notes, where)
    loose = sum(not folders for folders in parts)
    if loose:
        notes.append(
            f"{loose:,} of {len(parts):,} images lie in no class folder; no labels are read from folders "
            "(--layout class reads the folders there are, and leaves those images without a label)"
        )
        return Reading(None, None, notes)
    return _classes(parts, tops, like, notes, where)


def _classes(parts: list[list[str]], tops: set[str], like: set[str], notes: list[str], where: str) -> Reading:
    seconds = {top: {p[1] for p in parts if p[0] == top and len(p) > 1} for top in tops}
    names = set[str]().union(*seconds.values())
    if not like and names and all(split_name(name) for name in names) and all(len(p) > 1 for p in parts):
        notes.append(f"the folders {some_of(names)} inside the classes are read as splits (--layout class/split)")
        return Reading([_canonical(p[1]) for p in parts], [p[0] for p in parts], notes)
    common = {name for name in names if all(name in found for found in seconds.values())}
    recur = len(tops) > 1 and len(common) > 1
    as_classes = f"classes {some_of(tops)} (--layout class)"
    as_splits = f"splits of those names with classes {some_of(names)} (--layout split/class)"
    if like and recur:
        raise ManifestError(
            f"{where}: {some_of(like)} look like splits, {some_of(tops - like)} do not, and the same folders "
            f"({some_of(common)}) lie in all of them: are they {as_classes}, or {as_splits}? Say which"
        )
    if like:
        notes.append(
            f"{some_of(like)} look like splits, {some_of(tops - like)} do not: read as {as_classes}; the other "
            f"reading is {as_splits}"
        )
    elif recur:
        notes.append(
            f"the same folders ({some_of(common)}) lie in each of {some_of(tops)}: read as {as_classes}; the other "
            f"reading is {as_splits}"
        )
    elif len(tops) == 1:
        notes.append(f"all images lie in one folder: {some_of(tops)} is the only class (--layout flat reads no labels)")
    elif names and any(split_name(name) for name in names):
        found = {name for name in names if split_name(name)}
        notes.append(
            f"folders named like splits ({some_of(found)}) lie in some classes: read as {as_classes}, without splits; "
            "the other reading is --layout class/split"
        )
    return Reading(None, [p[0] for p in parts], notes)


def _splits_of_classes(parts: list[list[str]], notes: list[str], where: str) -> Reading:
    if not all(parts):
        raise ManifestError(
            f"{where}: {sum(not p for p in parts):,} images lie in no folder, expected split/class, as "
            "layout='split/class' says"
        )
    split = [_canonical(folders[0]) for folders in parts]
    renamed = sorted({(p[0], name) for p, name in zip(parts, split, strict=True) if p[0] != name})
    if renamed:
        said = ", ".join(f"{folder!r} as {name!r}" for folder, name in renamed[:4])
        notes.append(f"folders are read as splits: {said} (--layout class reads them as classes)")
    rest = [_below(folders) for folders in parts]
    inner = {folders[0] for folders in rest if folders}
    if len(inner) == 1 and any(len(folders) > 1 for folders in rest):
        rest = [folders[1:] for folders in rest]
    if not any(rest):
        return Reading(split, None, notes)
    loose = {name for name, folders in zip(split, rest, strict=True) if not folders}
    filled = {name for name, folders in zip(split, rest, strict=True) if folders}
    if loose & filled:
        count = sum(not folders for folders in rest)
        notes.append(f"{count:,} of {len(rest):,} images lie in no class folder; no labels are read from folders")
        return Reading(split, None, notes)
    if loose:
        notes.append(f"the split {some_of(loose)} has no class folders: its images have no label")
    labels = [folders[0] if folders else "" for folders in rest]
    by_split = {name: {la for la, of in zip(labels, split, strict=True) if of == name and la} for name in filled}
    for name, classes in sorted(by_split.items()):
        others = set[str]().union(*(found for other, found in by_split.items() if other != name))
        if others and not classes & others:
            notes.append(f"no class of split {name!r} ({some_of(classes)}) occurs in another split: are these classes?")
    return Reading(split, labels, notes)


def _descended(parts: list[list[str]], layout: Layout | None, notes: list[str]) -> list[list[str]]:
    """Leave out the first folder as long as all images share it and more folders lie below."""
    shared: list[str] = []
    while len({folders[0] if folders else "" for folders in parts}) == 1 and parts[0]:
        depths = [len(folders) for folders in parts]
        if layout == "class":
            deeper = min(depths) > 1
        elif split_name(parts[0][0]):
            deeper = False
        elif layout is None:
            deeper = max(depths) > 1
        else:
            named = all(len(folders) > 1 and split_name(folders[1]) for folders in parts)
            deeper = min(depths) > 2 or (layout == "split/class" and max(depths) > 2 and named)
        if not deeper:
            break
        shared.append(parts[0][0])
        parts = [folders[1:] for folders in parts]
    if shared:
        notes.append(f"all images lie in the folder {'/'.join(shared)!r}: the folders in it are read")
    return parts


def _below(folders: list[str]) -> list[str]:
    """Return what lies below the folder of a split, which some archives hold twice (seg_train/seg_train)."""
    top, *rest = folders
    while rest and rest[0] == top:
        rest = rest[1:]
    return rest


def _canonical(folder: str) -> str:
    return split_name(folder) or folder


def _labels(parts: list[list[str]], notes: list[str]) -> list[str]:
    loose = sum(not folders for folders in parts)
    if loose:
        notes.append(f"{loose:,} of {len(parts):,} images lie in no class folder and have no label")
    return [folders[0] if folders else "" for folders in parts]


def some_of(names: set[str]) -> str:
    """Show a few names of many, sorted: ``'a', 'b', 'c' and 7 more``."""
    ordered = sorted(names)
    shown = ", ".join(repr(name) for name in ordered[:4])
    return shown if len(ordered) <= 4 else f"{shown} and {len(ordered) - 4:,} more"
