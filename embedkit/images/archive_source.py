"""The images of archives, with what sidecars, metadata and folders inside say of them.

Layer: images; above archives. Standard library only.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from embedkit.errors import EmptySourceError
from embedkit.images.archives import Listing, list_archive, lost
from embedkit.images.columns import Table, source_of
from embedkit.images.folder import METADATA, join_metadata, read_metadata
from embedkit.images.kinds import HEAD_BYTES
from embedkit.images.labels import TargetOption
from embedkit.images.layout import Layout, split_name
from embedkit.images.reading import ArchiveMember, read_bytes, read_head
from embedkit.images.remote import is_url
from embedkit.images.sidecars import MOST_BYTES, Sidecar, Stems, choose_images, ending_of, sidecar_extension
from embedkit.images.source import ImageSource, key_of
from embedkit.images.walk import find_images, reason_of

_LABELS = ("cls", "label")

# Remote archives that are listed at once: each is one chain of requests that wait for their answers.
_LISTED_AT_ONCE = 8


def open_archives(
    paths: Sequence[str],
    *,
    label_column: str | None,
    target_type: TargetOption,
    layout: Layout | None = None,
    image_column: str | None = None,
) -> ImageSource:
    """List the images in one or more tar or zip archives.

    Parameters
    ----------
    paths : sequence of str
        Or URLs, in the order of the rows.
    label_column : str or None
        A column made from the sidecars: ``cls``, ``txt``, or a name in the JSON. By default ``cls`` or ``label``;
        without either, folders inside the archive are classes as they are on disk.
    target_type : {"auto", "class", "value", "multilabel"}
    layout : str, optional
        What the folders inside are; see `read_layout`.
    image_column : str, optional
        Which image of a sample is meant, by its ending, such as ``"jpg"`` or ``"seg.png"``.

    Returns
    -------
    ImageSource
        Keys are ``ARCHIVE/MEMBER``. An archive that is cut short gives the members before the cut, and one failure.
        Images whose label is not known cannot be read: those with a damaged sidecar and, in an archive that is cut
        short, those without the label that others have. Nor can several files of one name: they are one row, since
        nothing says which of them is meant (to WebDataset, too, that is an error). Of a sample with a sidecar and
        images such as ``0.jpg`` and ``0.seg.png`` the first is meant.

    Raises
    ------
    SourceError
        Not an archive; one at a URL that cannot be read; two archives of one name that hold the same.
    SourceNotFoundError, EmptySourceError, MissingExtraError, UsageError

    Notes
    -----
    A tar has no directory: listing one at a URL fetches it once, in blocks, but for what lies in members longer than
    those, and reading its images fetches it again. A zip is listed by its directory.
    """
    contents = [
        _contents(path, listing, image_column) for path, listing in zip(paths, _list_archives(paths), strict=True)
    ]
    images = [image for content in contents for image in content.images]
    samples = [sample for content in contents for sample in content.samples]
    passed_over = sum((content.passed_over for content in contents), Counter[str]())
    failures = [failure for content in contents for failure in content.failures]
    where = paths[0] if len(paths) == 1 else f"{len(paths)} archives"
    if not images and not failures:
        passed = ", ".join(f"{reason} {count:,}" for reason, count in sorted(passed_over.items()))
        raise EmptySourceError(
            f"{where}: no image in it, expected members such as 'a.jpg', 'b.png'"
            f"{f'; passed over: {passed}' if passed else ''}"
        )
    inner = [key_of(member.name.replace("\0", "\\0")) for member in images]
    keys = [f"{key_of(os.path.basename(member.archive))}/{name}" for member, name in zip(images, inner, strict=True)]
    columns = {name: [sample.get(name, "") for sample in samples] for name in _names(samples)}
    chosen = label_column or next((name for name in _LABELS if name in columns), None)
    cut = {content.path for content in contents if content.cut}
    if chosen in columns:
        for row, (member, sample) in enumerate(zip(images, samples, strict=True)):
            if member.archive in cut and chosen not in sample and not member.problem:
                images[row] = lost(member, f"its label is not there: {os.path.basename(member.archive)} is cut short")
    if "split" not in columns and (split := _split_of_names(images)) is not None:
        columns["split"] = split
    typed = set[str]().union(*(content.typed for content in contents))
    name = paths[0] if len(paths) == 1 else os.path.dirname(paths[0])
    return source_of(
        Table(
            name if is_url(name) else os.path.abspath(name),
            columns,
            lambda row: keys[row],
            dict.fromkeys(typed, "text"),
            list(dict.fromkeys(note for content in contents for note in content.notes)),
        ),
        keys,
        images,
        label_column=label_column,
        target_type=target_type,
        default_labels=_LABELS,
        layout=layout,
        paths=_structure(images, inner),
        failures=failures,
        passed_over=passed_over,
    )


@dataclass(slots=True)
class _Contents:
    """The images of one archive, what is known of each, and what is passed over."""

    path: str
    images: list[ArchiveMember]
    samples: list[Mapping[str, str]]
    passed_over: Counter[str]
    typed: set[str]
    failures: list[tuple[str, str]]
    notes: list[str]
    cut: bool


def _contents(path: str, listing: Listing, image_column: str | None) -> _Contents:
    members = {member.name: member for member in listing.members}
    names = [name.replace("\0", "\\0") for name in members]
    if not any("/" in name for name in names):  # then a backslash separates folders, as some archivers write it
        names = [name.replace("\\", "/") for name in names]
    shown = dict(zip(names, members.values(), strict=True))
    found = find_images(shown, lambda name: read_head(shown[name], HEAD_BYTES))
    listed = list(shown)
    pictures = [listed[number] for number in found.images]
    visible = [listed[number] for number in found.others]
    notes: list[str] = []
    if image_column is not None:
        chosen = [name for name in pictures if ending_of(name) == image_column.lower().lstrip(".")]
        found.passed_over["another image of a sample"] += len(pictures) - len(chosen)
        pictures = chosen
    stems = Stems(pictures)
    sidecars = [name for name in visible if sidecar_extension(name) and stems.of_sidecar(name)]
    samples, damaged, typed = _read_samples(sidecars, shown, listing, stems)
    if image_column is None:
        pictures, dropped, notes = choose_images(pictures, {*samples, *damaged})
        found.passed_over.update(dropped)
    tables = [
        (name, read_metadata(name, read_bytes(shown[name])))
        for name in visible
        if name.rpartition("/")[2].lower() in METADATA
    ]
    keys = [key_of(name) for name in pictures]
    table, used, missing = join_metadata(path, keys, tables)
    for name in {*sidecars, *used}:
        found.passed_over[reason_of(name)] -= 1
    found.passed_over["sidecar of more than 1 MiB"] += sum(shown[name].size > MOST_BYTES for name in sidecars)
    archive = key_of(os.path.basename(path))
    failures = [(f"{archive}/{key}", reason) for key, reason in missing]
    if listing.lost:
        failures.insert(0, (archive, listing.lost))
    return _Contents(
        path,
        [_with_sidecar(shown[name], damaged.get(name)) for name in pictures],
        [
            {column: values[row] for column, values in table.columns.items()} | samples.get(name, {})
            for row, name in enumerate(pictures)
        ],
        +found.passed_over,
        typed | {column for column, kind in table.kinds.items() if kind == "text"},
        failures,
        [*found.notes, *table.notes, *notes],
        bool(listing.lost),
    )


def _read_samples(
    sidecars: Sequence[str], shown: Mapping[str, ArchiveMember], listing: Listing, stems: Stems
) -> tuple[dict[str, dict[str, str]], dict[str, ArchiveMember], set[str]]:
    """Return what the sidecars say of each image, the damaged sidecar of an image, and the columns typed as text."""
    samples: dict[str, dict[str, str]] = {}
    damaged: dict[str, ArchiveMember] = {}
    typed: set[str] = set()
    for name in sidecars:
        member = shown[name]
        columns = listing.sidecars.get(member.name, Sidecar())
        typed |= columns.typed
        for image in stems.of_sidecar(name):
            sample = samples.setdefault(image, {})
            twice = sorted(key for key in columns.texts if sample.get(key, columns.texts[key]) != columns.texts[key])
            if member.problem:
                damaged.setdefault(image, member)
            elif twice:
                damaged.setdefault(image, lost(member, f"another sidecar says something else of {twice[0]!r}"))
            sample.update(columns.texts)
    return samples, damaged, typed


def _structure(images: Sequence[ArchiveMember], inner: Sequence[str]) -> list[str]:
    """Return the paths that mean something: without the folder of its own name that an archive holds, of several."""
    if len({member.archive for member in images}) < 2:
        return list(inner)
    wrapped: dict[str, bool] = {}  # but not by the folder of a split, which is one itself
    stems = {member.archive: os.path.basename(member.archive).rsplit(".", 1)[0] + "/" for member in images}
    for member, name in zip(images, inner, strict=True):
        stem = stems[member.archive]
        wrapped.setdefault(member.archive, not split_name(stem[:-1]))
        wrapped[member.archive] &= name.startswith(stem)
    return [
        name.removeprefix(stems[member.archive]) if wrapped[member.archive] else name
        for member, name in zip(images, inner, strict=True)
    ]


def _split_of_names(images: Sequence[ArchiveMember]) -> list[str] | None:
    """Return the splits that the names of several archives stand for, such as ``train-000.tar``; None for none."""
    archives = {member.archive for member in images}
    splits = {path: split_name(os.path.basename(path).rsplit(".", 1)[0]) for path in archives}
    if len(set(splits.values())) < 2 or not all(splits.values()):
        return None
    return [splits[member.archive] for member in images]


def _list_archives(paths: Sequence[str]) -> list[Listing]:
    if not any(is_url(path) for path in paths):
        return [list_archive(path, sidecars=True) for path in paths]
    with ThreadPoolExecutor(min(_LISTED_AT_ONCE, len(paths)), thread_name_prefix="embedkit-list") as executor:
        return list(executor.map(functools.partial(list_archive, sidecars=True), paths))


def _with_sidecar(member: ArchiveMember, damaged: ArchiveMember | None) -> ArchiveMember:
    """Return an image as one that cannot be read if a sidecar of its sample is damaged."""
    if damaged is None or member.problem:
        return member
    return lost(member, f"its {os.path.basename(damaged.name)!r} cannot be read: {damaged.problem}")


def _names(samples: Iterable[Mapping[str, str]]) -> list[str]:
    return list(dict.fromkeys(name for sample in samples for name in sample))
