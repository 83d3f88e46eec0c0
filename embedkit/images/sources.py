"""open_source: from whatever a person points at to the rows of an ImageSource.

Layer: images, the top of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Literal, cast

from embedkit.errors import EmptySourceError, ManifestError, SourceNotFoundError, UsageError
from embedkit.images.access import is_url, name_root
from embedkit.images.archives import ARCHIVE_EXTENSIONS, COMPRESSED_TARS, find_archives, open_archives
from embedkit.images.columns import TargetOption
from embedkit.images.datasets import is_dataset, open_dataset
from embedkit.images.folder import folder_of, is_image_name, open_folder
from embedkit.images.manifest import DELIMITERS, open_manifest
from embedkit.images.memory import check_range, open_npy, rows_of
from embedkit.images.parquet import open_parquet
from embedkit.images.remote import list_files, locate
from embedkit.images.source import ImageSource, key_of


def open_source(
    target: Any,
    *,
    label_column: str | None = None,
    target_type: TargetOption = "auto",
    input: Literal["path"] = "path",
    root: str | os.PathLike[str] | None = None,
    recorded: bool = False,
) -> ImageSource:
    """List the images of a source, and what it says about them. No image is read.

    Parameters
    ----------
    target : path or sequence
        A folder of images (its sub-folders are classes, or splits of classes), a manifest (``.csv``, ``.tsv``,
        ``.parquet`` with a column ``path``; or Parquet with image bytes), a ``.tar`` or ``.zip``, several of them as a
        list, a folder or ``shard-{000..099}.tar`` or ``*.tar``, an ``.npy`` file, one image; the URL of any of these
        but ``.npy``; or in memory: whatever `rows_of` takes, and data sets by duck typing.
    label_column : str, optional
        The column that holds the labels; by default ``label``.
    target_type : {"auto", "class", "value", "multilabel"}
        What the labels are. ``"auto"``: numbers with a fractional part are values, everything else is classes.
        ``"multilabel"``: names separated by ``|``.
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

    Raises
    ------
    SourceNotFoundError
        Nothing there.
    EmptySourceError
        No image in it.
    ManifestError
        A manifest, or the columns of a data set, that cannot be understood; keys that are not unique.
    MissingExtraError
        Parquet without pyarrow, a URL without fsspec or its package for the protocol.
    UsageError
        Something that is no source of images; an array of floats outside [0, 1]; a URL of a protocol that fsspec does
        not know.
    ForbiddenUrlError
        Data name a URL of a protocol, or at an address, that only the user may name.
    """
    if input != "path":
        raise UsageError(f"input={input!r}, expected 'path': other keys mean something in a feature file only")
    if not recorded:  # the user's own words; the items of a list are data
        for own in (target, root):
            name_root(own)
    if isinstance(target, (str, os.PathLike)):
        return _open_path(os.fspath(cast("str | os.PathLike[str]", target)), label_column, target_type, root)
    if is_dataset(target):
        return open_dataset(target, label_column=label_column, target_type=target_type)
    archives = _archive_paths(target)
    if archives:
        return open_archives(archives, label_column=label_column, target_type=target_type)
    if label_column is not None:
        raise UsageError(f"label_column={label_column!r}: a list of images has no columns; name a manifest instead")
    source = rows_of(target, root=root)
    check_range(source)
    return source


def _open_path(
    path: str, label_column: str | None, target_type: TargetOption, root: str | os.PathLike[str] | None
) -> ImageSource:
    if is_url(path):
        return _open_url(path, label_column, target_type, root)
    base = os.fspath(root) if root is not None else None
    extension = os.path.splitext(path)[1].lower()
    if os.path.isdir(path):
        return _open_folder(path, label_column, target_type)
    if path.lower().endswith(ARCHIVE_EXTENSIONS + COMPRESSED_TARS):
        return open_archives(find_archives(path), label_column=label_column, target_type=target_type)
    if not os.path.exists(path):
        raise SourceNotFoundError(f"{path}: no such file or folder, expected a folder of images or a manifest")
    if extension in DELIMITERS:
        return open_manifest(path, label_column=label_column, target_type=target_type, root=base)
    if extension in (".parquet", ".pq"):
        return open_parquet(path, label_column=label_column, target_type=target_type, root=base)
    if extension == ".npy":
        return open_npy(path)
    if is_image_name(os.path.basename(path)):
        return ImageSource(name=os.path.abspath(path), keys=[key_of(os.path.basename(path))], images=[path])
    raise UsageError(
        f"{path}: not a source of images, expected a folder, .csv, .tsv, .parquet, .tar, .zip, .npy or one image"
    )


def _open_url(
    url: str, label_column: str | None, target_type: TargetOption, root: str | os.PathLike[str] | None
) -> ImageSource:
    base = os.fspath(root) if root is not None else None
    extension = os.path.splitext(url)[1].lower()
    if extension in DELIMITERS:
        return open_manifest(url, label_column=label_column, target_type=target_type, root=base)
    if extension in (".parquet", ".pq"):
        return open_parquet(url, label_column=label_column, target_type=target_type, root=base)
    if url.lower().endswith(ARCHIVE_EXTENSIONS + COMPRESSED_TARS):
        return open_archives(find_archives(url), label_column=label_column, target_type=target_type)
    if is_image_name(url.rpartition("/")[2]):
        return ImageSource(name=url, keys=[key_of(url.rpartition("/")[2])], images=[locate(url, "")])
    if extension == ".npy":
        raise UsageError(f"{url}: an .npy file is mapped from a local disk and not read at a URL; download it first")
    files = list_files(url)
    try:
        source = folder_of(url, files)
    except EmptySourceError:
        shards = _archives_among(files)
        if not shards:
            raise
        return open_archives([locate(name, url) for name in shards], label_column=label_column, target_type=target_type)
    if label_column is not None:
        raise ManifestError(
            f"{url}: a folder has no column {label_column!r}; its sub-folders are the labels, or use a manifest"
        )
    return source


def _open_folder(path: str, label_column: str | None, target_type: TargetOption) -> ImageSource:
    try:
        source = open_folder(path)
    except EmptySourceError:
        shards = _archives_among(os.listdir(path))
        if not shards:
            raise
        return open_archives(
            [os.path.join(path, name) for name in shards], label_column=label_column, target_type=target_type
        )
    if label_column is not None:
        raise ManifestError(
            f"{path}: a folder has no column {label_column!r}; its sub-folders are the labels, or use a manifest"
        )
    return source


def _archives_among(names: Iterable[str]) -> list[str]:
    """Return the archives that lie right in a folder, sorted."""
    return sorted(
        name for name in names if name.lower().endswith(ARCHIVE_EXTENSIONS) and name[0] != "." and "/" not in name
    )


def _archive_paths(target: Any) -> list[str]:
    """Return the archives that a list stands for; an empty list for a list of anything else."""
    if not isinstance(target, (list, tuple)):
        return []
    items = cast(list[Any], target)
    paths = [os.fsdecode(item) for item in items if isinstance(item, str) or hasattr(item, "__fspath__")]
    if len(paths) < len(items) or not all(path.lower().endswith(ARCHIVE_EXTENSIONS) for path in paths):
        return []
    return [archive for path in paths for archive in find_archives(path)]
