"""The rows of a plan as plain JSON values: where each image is, relative to a root, and what columns hold.

Layer: extraction; beside plan.
"""

from __future__ import annotations

import base64
import dataclasses
import os
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import UsageError
from embedkit.images import ArchiveMember, ImageRef, ImageSource, is_url, locate, open_source

_FILES_OF_ROWS = (".csv", ".tsv", ".parquet", ".pq", ".tar", ".zip")


def root_of(source: ImageSource) -> str:
    """Return the folder or URL against which the paths of a plan are relative."""
    if is_url(source.name):
        is_file = source.keys == [posixpath.basename(source.name)] or source.name.lower().endswith(_FILES_OF_ROWS)
        return posixpath.dirname(source.name) if is_file else source.name
    if not os.path.isabs(source.name):
        return os.getcwd()
    return source.name if os.path.isdir(source.name) else os.path.dirname(source.name)


def images_record(source: ImageSource, root: str) -> tuple[list[Any] | None, list[int | None]]:
    """Return where the images are, relative to the root, and how large.

    None: they are the rows of one file, in its order, which is opened again. Within the list, None: the key is the
    path.
    """
    if not isinstance(source.images, list):
        if not (is_url(source.name) or os.path.isfile(source.name)):
            raise _unplannable(source.name)
        return None, [None] * len(source)
    images: list[Any] = []
    sizes: list[int | None] = []
    for key, ref in zip(source.keys, source.images, strict=True):
        if isinstance(ref, ArchiveMember):
            images.append({**dataclasses.asdict(ref), "archive": _relative(ref.archive, root)})
            sizes.append(ref.size)
        elif isinstance(ref, str):
            path = _relative(ref, root)
            images.append(None if path == key else path)
            sizes.append(_size(ref))
        else:
            raise _unplannable(source.name)
    return images, sizes


def images_of(rows: Mapping[str, Any], root: str, moved: bool) -> Sequence[ImageRef]:
    """Return the images of a plan's rows, below a root that may have moved since."""
    if rows["images"] is None:
        path = locate(os.path.basename(rows["name"]), root) if moved else rows["name"]
        source = open_source(path, recorded=True)
        if len(source) != len(rows["keys"]):
            raise ValueError(f"{path} has {len(source)} rows now, {len(rows['keys'])} when the plan was made")
        return source.images
    images: list[ImageRef] = []
    for key, image in zip(rows["keys"], rows["images"], strict=True):
        if isinstance(image, dict):
            member = ArchiveMember(**cast(dict[str, Any], image))
            images.append(dataclasses.replace(member, archive=locate(member.archive, root)))
        else:
            images.append(locate(key if image is None else image, root))
    return images


def _unplannable(name: str) -> UsageError:
    return UsageError(
        f"{name} is in the memory of this process, expected files or URLs that other processes can read: save the "
        "images first, or use one device"
    )


def _relative(path: str, root: str) -> str:
    """Return a path below the root relative to it, any other as it is, absolute."""
    if is_url(path) or is_url(root):
        prefix = root.rstrip("/") + "/"
        return path.removeprefix(prefix) if path.startswith(prefix) else path
    full = os.path.join(os.getcwd(), path)
    if os.pardir not in full.split(os.sep):  # behind a link, .. leads elsewhere than its text says
        full = os.path.normpath(full)
    prefix = root.rstrip(os.sep) + os.sep
    return full[len(prefix) :] if full.startswith(prefix) else full


def _size(path: str) -> int | None:
    try:
        return None if is_url(path) else os.stat(path).st_size
    except (OSError, ValueError):
        return None  # reading it will say why


def column_record(values: object) -> Any:
    """Return a column as JSON: text as a list, numbers by their exact bytes."""
    if values is None or isinstance(values, list):
        return cast(Any, values)
    array = np.ascontiguousarray(cast(npt.NDArray[Any], values))
    stored = array.astype(array.dtype.newbyteorder("<"))
    return {
        "dtype": stored.dtype.str,
        "shape": list(stored.shape),
        "base64": base64.b64encode(stored.tobytes()).decode("ascii"),
    }


def column_of(record: Any) -> Any:
    """Return a column from what `column_record` made of it."""
    if record is None or isinstance(record, list):
        return cast(Any, record)
    array = np.frombuffer(base64.b64decode(record["base64"]), dtype=np.dtype(record["dtype"]))
    return array.reshape(record["shape"]).astype(array.dtype.newbyteorder("="))
