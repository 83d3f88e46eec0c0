"""One tree of files as each kind of source that can hold it."""

from __future__ import annotations

import csv
import io
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

KINDS = ("folder", "tar", "zip", "url", "manifest")

JPEG = b"\xff\xd8\xff\xe0"
"""Enough of a JPEG to be known by."""


def pack(folder: Path, kind: str, files: Sequence[str], *, rows: Sequence[Sequence[str]] = ()) -> str:
    """Write files, each holding `JPEG` and its own name, as a source of a kind; the manifest has `rows`."""
    contents = {name: JPEG + name.encode("utf-8", "surrogateescape") for name in files}
    if kind == "tar":
        with tarfile.open(folder / "x.tar", "w") as archive:
            for name, data in contents.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        return str(folder / "x.tar")
    if kind == "zip":
        with zipfile.ZipFile(folder / "x.zip", "w") as archive:
            for name, data in contents.items():
                archive.writestr(name, data)
        return str(folder / "x.zip")
    if kind == "url":
        import fsspec

        files_there = fsspec.filesystem("memory")
        root = f"/trees/{folder.name}"
        if files_there.exists(root):
            files_there.rm(root, recursive=True)
        for name, data in contents.items():
            files_there.pipe_file(f"{root}/{name}", data)
        return f"memory://{root.lstrip('/')}"
    for name, data in contents.items():
        path = folder / "x" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    if kind == "manifest":
        with open(folder / "x" / "list.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
        return str(folder / "x" / "list.csv")
    return str(folder / "x")
