"""Which files of a folder or an archive are images, and what is passed over, by reason.

One rule for all containers: hidden files and folders, what systems leave behind and folders of thumbnails are left out;
a file is an image by its name or, where that does not say, by its first bytes.

Layer: images. Standard library only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from embedkit.images.kinds import begins_like_image, is_image_name, is_known_name, suffix_of

_CLUTTER = frozenset(
    {"__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found", "__pycache__"}
    | {"thumbnails", "thumbnail", "_thumbnails", "thumbs", "_thumbs"}
)


@dataclass(slots=True)
class Found:
    """The files of a container, told apart.

    Attributes
    ----------
    images : list of int
        Numbers of the paths that are images, in their order.
    passed_over : Counter of str
        Reason -> how many files, or folders of which nothing is read.
    others : list of int
        Numbers of the visible paths that are no image.
    notes : list of str
    """

    images: list[int] = field(default_factory=list[int])
    passed_over: Counter[str] = field(default_factory=Counter[str])
    others: list[int] = field(default_factory=list[int])
    notes: list[str] = field(default_factory=list[str])


def clutter(name: str, *, folder: bool) -> str:
    """Return why a file or folder is left out whatever it holds, going by its own name; empty where it is not."""
    if name.startswith(".") and name not in (".", ".."):
        return "hidden folder" if folder else "hidden"
    if folder and name.lower() in _CLUTTER:
        return f"{name} folder"
    return ""


def find_images(paths: Iterable[str], head_of: Callable[[str], bytes]) -> Found:
    """Tell the images among files from what is passed over.

    Parameters
    ----------
    paths : iterable of str
        Relative, with ``/``. A folder that is left out may be given in place of its files, with a ``/`` at its end.
    head_of : callable
        Path -> the first bytes of the file, none where it cannot be read. Asked where the name does not say.
    """
    found = Found()
    left_out: set[str] = set()
    listed: list[str] = []
    for number, path in enumerate(paths):
        listed.append(path)
        out = _left_out(path)
        if out is not None:
            if out[0] not in left_out:
                left_out.add(out[0])
                found.passed_over[out[1]] += 1
            continue
        name = path.rpartition("/")[2]
        if is_image_name(name) or (not is_known_name(name) and begins_like_image(head_of(path))):
            found.images.append(number)
        else:
            found.others.append(number)
    found.passed_over.update(reason_of(listed[number]) for number in found.others)
    found.notes = barren([listed[i] for i in found.images], [listed[i] for i in found.others])
    return found


def reason_of(path: str) -> str:
    """Return the reason under which a file that is no image is counted."""
    return f"no image: {suffix_of(path.rpartition('/')[2])}"


def barren(images: Iterable[str], others: Iterable[str]) -> list[str]:
    """Return a note on the folders in which files were passed over and no image was found, if there is one."""
    fertile = {""}
    for path in images:
        folder = path.rpartition("/")[0]
        while folder not in fertile:
            fertile.add(folder)
            folder = folder.rpartition("/")[0]
    counts: dict[str, Counter[str]] = {}
    for path in others:
        folder = path.rpartition("/")[0]
        if folder in fertile:
            continue
        while (above := folder.rpartition("/")[0]) not in fertile:
            folder = above
        counts.setdefault(folder, Counter())[suffix_of(path.rpartition("/")[2])] += 1
    if not counts:
        return []
    shown = [
        f"{folder!r} ({', '.join(f'{suffix} {n}' for suffix, n in sorted(counts[folder].items()))})"
        for folder in sorted(counts)
    ]
    more = f" and {len(shown) - 3:,} more" if len(shown) > 3 else ""
    many = "folders give" if len(shown) > 1 else "folder gives"
    return [f"{len(shown):,} {many} no image, whatever lies there is passed over: {', '.join(shown[:3])}{more}"]


def _left_out(path: str) -> tuple[str, str] | None:
    """Return the part of a path that is left out, and why; None for a path that is looked at."""
    if "/" not in path:
        reason = clutter(path, folder=False)
        return (path, reason) if reason else None
    *folders, name = path.split("/")
    at = 0
    for folder in folders:
        at += len(folder) + 1
        reason = clutter(folder, folder=True)
        if reason:
            return path[:at], reason
    reason = clutter(name, folder=False)
    return (path, reason) if reason else None
