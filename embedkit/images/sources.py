"""open_source: from whatever a person points at to the rows of an ImageSource.

Layer: images, the top of it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast

from embedkit.errors import EmptySourceError, SourceNotFoundError, UsageError
from embedkit.images.access import name_root
from embedkit.images.archive_source import open_archives
from embedkit.images.archives import ARCHIVE_EXTENSIONS, COMPRESSED_TARS, find_archives
from embedkit.images.columns import Table, source_of
from embedkit.images.datasets import is_dataset, is_rows, open_dataset
from embedkit.images.folder import folder_of, open_folder
from embedkit.images.kinds import HEAD_BYTES, begins_like_image, is_image_name
from embedkit.images.labels import TargetOption
from embedkit.images.layout import LAYOUTS, Layout
from embedkit.images.manifest import DELIMITERS, JSON_LINES, open_manifest
from embedkit.images.memory import check_range, open_npy, rows_of
from embedkit.images.parquet import open_parquet
from embedkit.images.reading import read_head
from embedkit.images.remote import is_url, list_files, locate
from embedkit.images.several import join_sources
from embedkit.images.source import ImageSource, key_of

_PARQUET = (".parquet", ".pq")

_log = logging.getLogger("embedkit")


def open_source(
    target: Any,
    *,
    label_column: str | None = None,
    target_type: TargetOption | None = None,
    layout: Layout | None = None,
    image_column: str | None = None,
    input: Literal["path"] = "path",
    root: str | os.PathLike[str] | None = None,
    recorded: bool = False,
) -> ImageSource:
    """List the images of a source, and what it says about them. No image is read.

    Parameters
    ----------
    target : path or sequence
        A folder of images (its sub-folders are classes, or splits of classes), a manifest (``.csv``, ``.tsv``,
        ``.jsonl``, ``.parquet`` with a column ``path``; or Parquet with image bytes), a ``.tar`` or ``.zip``, a folder
        or ``shard-{000..099}.tar`` or ``*.tar``, an ``.npy`` file, one image; the URL of any of these but ``.npy``;
        several of these as a list; or in memory: whatever `rows_of` takes, and data sets by duck typing. A source that
        is opened already is returned.
    label_column : str, optional
        The column that holds the labels; by default ``label``.
    target_type : {"auto", "class", "value", "multilabel"}, optional
        What the labels are. ``"auto"``, the default: numbers with a fractional part are values, everything else is
        classes. ``"multilabel"``: names separated by ``|``.
    layout : {"class", "split/class", "class/split", "flat"}, optional
        What folders are, from the first one down; by default read from their names.
    image_column : str, optional
        The column of images or of their paths; of the samples in an archive, the ending of the image that is meant.
    input : {"path"}
        What a str among the items of a list is.
    root : path, optional
        The folder against which the relative paths of a manifest or a list are resolved; by default the manifest's own,
        or the working folder.
    recorded : bool
        The target was read from data, such as the provenance of a feature file, and not given by the user: a URL is
        then followed as one of a manifest is, if data may name it.

    Returns
    -------
    ImageSource
        Its `notes`, which are logged as warnings too, say what could be meant in another way.

    Raises
    ------
    SourceNotFoundError
        Nothing there.
    EmptySourceError
        No image in it.
    ManifestError
        A manifest, or the columns of a data set, that cannot be understood; keys that are not unique; folders that can
        be read in two ways.
    MissingExtraError
        Parquet without pyarrow, a URL without fsspec or its package for the protocol.
    UsageError
        Something that is no source of images; an array of floats outside [0, 1]; a URL of a protocol that fsspec does
        not know; an option that means nothing for this source.
    """
    if input != "path":
        raise UsageError(f"input={input!r}, expected 'path': other keys mean something in a feature file only")
    if layout is not None and layout not in LAYOUTS:
        raise UsageError(f"layout={layout!r}, expected one of {', '.join(LAYOUTS)}")
    options = _ReadingOptions(
        label_column, target_type or "auto", layout, image_column, os.fspath(root) if root is not None else None
    )
    if isinstance(target, ImageSource):
        if options != _ReadingOptions(None, "auto", None, None, None):
            raise UsageError(f"{target.name} is opened already: give label_column and the like where it is opened")
        return target
    if not recorded:  # the user's own words; the items of a list are data
        for own in (target, root):
            name_root(own)
    source = _open(target, options)
    for note in source.notes:
        _log.warning("%s: %s", source.name, note)
    return source


@dataclass(frozen=True, slots=True)
class _ReadingOptions:
    label_column: str | None
    target_type: TargetOption
    layout: Layout | None
    image_column: str | None
    root: str | None


def _open(target: Any, options: _ReadingOptions) -> ImageSource:
    if isinstance(target, (str, os.PathLike)):
        return _open_path(os.fspath(cast("str | os.PathLike[str]", target)), options)
    if is_dataset(target) or is_rows(target):
        if options.layout is not None:
            raise UsageError(f"layout={options.layout!r}: a data set has no folders; leave it out")
        return open_dataset(
            target,
            label_column=options.label_column,
            target_type=options.target_type,
            image_column=options.image_column,
        )
    paths = _paths(target)
    archives = _archive_paths(paths)
    if archives:
        return _open_archives(archives, options)
    if paths and any(_is_container(path) for path in paths):
        if len(paths) == 1:
            return _open_path(paths[0], options)
        return join_sources(paths, [_open_path(path, options) for path in paths])
    if options.label_column is not None:
        raise UsageError(
            f"label_column={options.label_column!r}: a list of images has no columns; name a manifest instead"
        )
    source = rows_of(target, root=options.root)
    check_range(source)
    if options.layout is None and options.target_type == "auto":
        return source
    return source_of(
        Table(source.name, {}, lambda row: source.keys[row]),
        source.keys,
        source.images,
        label_column=None,
        target_type=options.target_type,
        layout=options.layout,
        paths=source.keys,
    )


def _open_path(path: str, options: _ReadingOptions) -> ImageSource:
    if is_url(path):
        return _open_url(path, options)
    extension = os.path.splitext(path)[1].lower()
    if os.path.isdir(path):
        return _open_folder(path, options)
    if path.lower().endswith(ARCHIVE_EXTENSIONS + COMPRESSED_TARS):
        return _open_archives(find_archives(path), options)
    if not os.path.exists(path):
        raise SourceNotFoundError(f"{path}: no such file or folder, expected a folder of images or a manifest")
    if extension in (*DELIMITERS, *JSON_LINES, *_PARQUET):
        return _open_table(path, extension, options)
    if extension == ".npy":
        return open_npy(path)
    if is_image_name(os.path.basename(path)) or begins_like_image(read_head(path, HEAD_BYTES)):
        return ImageSource(name=os.path.abspath(path), keys=[key_of(os.path.basename(path))], images=[path])
    raise UsageError(
        f"{path}: not a source of images, expected a folder, .csv, .tsv, .jsonl, .parquet, .tar, .zip, .npy or "
        "one image"
    )


def _open_url(url: str, options: _ReadingOptions) -> ImageSource:
    extension = os.path.splitext(url)[1].lower()
    if extension in (*DELIMITERS, *JSON_LINES, *_PARQUET):
        return _open_table(url, extension, options)
    if url.lower().endswith(ARCHIVE_EXTENSIONS + COMPRESSED_TARS):
        return _open_archives(find_archives(url), options)
    if is_image_name(url.rpartition("/")[2]):
        return ImageSource(name=url, keys=[key_of(url.rpartition("/")[2])], images=[locate(url, "")])
    if extension == ".npy":
        raise UsageError(f"{url}: an .npy file is mapped from a local disk and not read at a URL; download it first")
    files = list_files(url)
    try:
        return folder_of(
            url,
            files,
            label_column=options.label_column,
            target_type=options.target_type,
            layout=options.layout,
        )
    except EmptySourceError:
        shards = _archives_among(files)
        if not shards:
            raise
        return _open_archives([locate(name, url) for name in shards], options)


def _open_folder(path: str, options: _ReadingOptions) -> ImageSource:
    try:
        return open_folder(
            path, label_column=options.label_column, target_type=options.target_type, layout=options.layout
        )
    except EmptySourceError:
        shards = _archives_among(os.listdir(path))
        if not shards:
            raise
        return _open_archives([os.path.join(path, name) for name in shards], options)


def _open_table(path: str, extension: str, options: _ReadingOptions) -> ImageSource:
    reader = open_parquet if extension in _PARQUET else open_manifest
    return reader(
        path,
        label_column=options.label_column,
        target_type=options.target_type,
        root=options.root,
        layout=options.layout,
        image_column=options.image_column,
    )


def _open_archives(paths: list[str], options: _ReadingOptions) -> ImageSource:
    return open_archives(
        paths,
        label_column=options.label_column,
        target_type=options.target_type,
        layout=options.layout,
        image_column=options.image_column,
    )


def _archives_among(names: Iterable[str]) -> list[str]:
    """Return the archives that lie right in a folder, sorted."""
    return sorted(
        name for name in names if name.lower().endswith(ARCHIVE_EXTENSIONS) and name[0] != "." and "/" not in name
    )


def _paths(target: Any) -> list[str]:
    """Return the paths that a list holds; an empty list for a list of anything else."""
    if not isinstance(target, (list, tuple)):
        return []
    items = cast(list[Any], target)
    paths = [os.fsdecode(item) for item in items if isinstance(item, str) or hasattr(item, "__fspath__")]
    return paths if len(paths) == len(items) else []


def _archive_paths(paths: list[str]) -> list[str]:
    """Return the archives that paths stand for; an empty list where any is something else."""
    if not all(path.lower().endswith(ARCHIVE_EXTENSIONS) for path in paths):
        return []
    return [archive for path in paths for archive in find_archives(path)]


def _is_container(path: str) -> bool:
    """Say whether a path in a list is a source of its own, not one image."""
    if path.lower().endswith((*ARCHIVE_EXTENSIONS, *DELIMITERS, *JSON_LINES, *_PARQUET)):
        return True
    return "\0" not in path and not is_image_name(os.path.basename(path)) and not is_url(path) and os.path.isdir(path)
