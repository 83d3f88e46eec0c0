"""A folder of images: its sub-folders are classes, or splits of classes, or it is flat.

Layer: images. Standard library only.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence

from embedkit.errors import EmptySourceError, SourceNotFoundError
from embedkit.images.access import is_url
from embedkit.images.remote import locate
from embedkit.images.source import IMAGE_EXTENSIONS, ImageSource, key_of

SPLIT_NAMES = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})
"""Sub-folders of these names, in any case, are splits when all of them are."""

_log = logging.getLogger("embedkit")


def open_folder(folder: str) -> ImageSource:
    """List the images in a folder.

    Every file with an image's extension is a row, in any depth, whether or not it turns out to be an image. Hidden
    files and folders are left out. Links to folders are followed, except back to a folder that the link lies in.

    Parameters
    ----------
    folder : str

    Returns
    -------
    ImageSource
        Rows sorted by key, the POSIX path relative to the folder.

    Raises
    ------
    SourceNotFoundError
        No such folder, or it may not be listed.
    EmptySourceError
        No file with an image's extension.
    """
    failures: list[tuple[str, str]] = []
    return folder_of(folder, _walk(folder, failures), failures)


def folder_of(folder: str, paths: Iterable[str], failures: Sequence[tuple[str, str]] = ()) -> ImageSource:
    """Return the source of a folder, or of the URL of one, in which these files lie.

    Parameters
    ----------
    folder : str
    paths : iterable of str
        Relative to it; what is hidden or has no image's extension is left out.
    failures : sequence of (key, reason)

    Raises
    ------
    EmptySourceError
        No file with an image's extension.
    """
    images = sorted((path for path in paths if _is_visible_image(path)), key=key_of)
    if not images:
        seen = f"; {failures[0][0]}: {failures[0][1]}" if failures else ""
        raise EmptySourceError(
            f"{folder}: no image in it, expected files ending in {', '.join(IMAGE_EXTENSIONS[:5])}, ...{seen}"
        )
    keys = [key_of(path) for path in images]
    split, labels = read_structure(keys, folder)
    return ImageSource(
        name=folder if is_url(folder) else os.path.abspath(folder),
        keys=keys,
        images=[locate(path, folder) for path in images],
        labels=labels,
        label_classes=sorted(set(labels)) if labels is not None else [],
        split=split,
        failures=sorted(failures),
    )


def read_structure(keys: Sequence[str], where: str) -> tuple[list[str] | None, list[str] | None]:
    """Return the splits and the labels that the folders in relative paths stand for; None for what they do not say.

    The first folder of each path is its class. When all first folders are named like splits, they are the splits and
    the second folders the classes. Where some images lie in no class folder, there are no labels at all.
    """
    parts = [key.split("/")[:-1] for key in keys]
    tops = {folders[0] if folders else "" for folders in parts}
    if tops == {""}:
        return None, None
    split = None
    if all(top.lower() in SPLIT_NAMES for top in tops):
        split = [folders[0] for folders in parts]
        parts = [folders[1:] for folders in parts]
        if not any(parts):
            return split, None
    loose = sum(not folders for folders in parts)
    if loose:
        _log.warning(
            "%s: %d of %d images lie in no class folder; no labels are read from folders", where, loose, len(keys)
        )
        return split, None
    return split, [folders[0] for folders in parts]


def is_image_name(name: str) -> bool:
    """Say whether a file name is one that a folder or an archive takes for an image."""
    return not name.startswith(".") and name.lower().endswith(IMAGE_EXTENSIONS)


def _is_visible_image(path: str) -> bool:
    *folders, name = path.split("/")
    return is_image_name(name) and not any(folder.startswith(".") for folder in folders)


def _walk(root: str, failures: list[tuple[str, str]]) -> Iterator[str]:
    """Yield the relative paths of images in no particular order; note the folders that cannot be listed."""
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while waiting:
        relative, ancestors = waiting.pop()
        here = os.path.join(root, relative)
        try:
            status = os.stat(here)
            identity = (status.st_dev, status.st_ino)
            if identity in ancestors:  # a link to a folder that it lies in
                continue
            with os.scandir(here) as listing:
                entries = [entry for entry in listing if not entry.name.startswith(".")]
        except OSError as error:
            if not relative:
                raise SourceNotFoundError(f"{root}: {error.strerror}, expected a folder of images") from error
            failures.append((key_of(relative), f"folder cannot be listed: {error.strerror}"))
            continue
        for entry in entries:
            path = os.path.join(relative, entry.name)
            if _is_folder(entry):
                waiting.append((path, ancestors | {identity}))
            elif is_image_name(entry.name):
                yield path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads round in a circle
        return False
