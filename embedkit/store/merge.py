"""Many parts into few, and the lock of those who remove committed files.

A merge writes and commits the new part, reads it back like any reader, and only then removes its inputs. It drops a row
only for an equal digest among its own inputs, so that two merges at once, even without a working lock, can store a row
twice but never drop it. A reader that had listed an input lists the folder again when it is gone.

Layer: above parts and index.
"""

from __future__ import annotations

import errno
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedkit.errors import DamagedPartError, StoreError, StoreWriteError
from embedkit.files import Disk, Folder, locked
from embedkit.specs import FeatureSpec
from embedkit.store.checked import CheckedFiles, damaged
from embedkit.store.index import DigestIndex, places_of
from embedkit.store.layout import LOCK
from embedkit.store.parts import Digests, Features, Part, PartMaps, read_part, row_bytes, write_part
from embedkit.store.uses import note_uses, read_uses

_BLOCK_BYTES = 32 << 20


@contextmanager
def maintenance(folder: Folder | Path, wait: bool = True) -> Generator[bool]:
    """Hold the lock of a fingerprint's folder that everyone takes who removes committed files from it.

    Readers and writers of new parts need no lock. The lock goes with its holder's process.

    Parameters
    ----------
    folder : Path
    wait : bool
        Wait for another holder.

    Yields
    ------
    bool
        Whether the lock is held; always true with `wait`.

    Raises
    ------
    StoreWriteError
        The lock cannot be taken at all: the folder is read-only, for example.
    """
    folder = Folder.of(folder)
    with ExitStack() as stack:
        try:
            held = stack.enter_context(locked(folder, LOCK, timeout=None if wait else 0))
        except StoreError:
            raise
        except OSError as error:
            if error.errno == errno.ELOOP:
                folder.refuse_link(LOCK)
            raise StoreWriteError(
                f"cannot lock {folder.path} for maintenance: {error.strerror or error}; make the folder writable"
            ) from error
        yield held


def merge_parts(folder: Folder | Path, spec: FeatureSpec, names: Sequence[str], disk: Disk) -> str | None:
    """Replace parts by one with the same rows; the caller holds the `maintenance` lock.

    Parameters
    ----------
    folder : Path
    spec : FeatureSpec
    names : sequence of str
        The parts, in the order that their rows shall have.
    disk : Disk

    Returns
    -------
    str or None
        The new part; None when fewer than two inputs were there and sound, and nothing was done.

    Raises
    ------
    StoreWriteError
        The new part could not be written, or an input not removed. No row is lost.
    """
    folder = Folder.of(folder)
    checked = CheckedFiles(folder, "always")
    wrong = checked.check_all(names)
    inputs = list(_sound(folder, spec, [name for name in names if name not in wrong]))
    if len(inputs) < 2:
        return None
    maps = PartMaps(folder, checked)
    kept = _served_rows(inputs, maps)
    digests = np.concatenate([maps[part].digests[rows] for part, rows in zip(inputs, kept, strict=True)])
    step = max(1, _BLOCK_BYTES // row_bytes(spec))

    def blocks() -> Iterator[Features]:
        for part, rows in zip(inputs, kept, strict=True):
            if len(rows) == part.rows:
                yield maps[part].features
            else:
                for start in range(0, len(rows), step):
                    yield maps[part].features[rows[start : start + step]]

    used = _last_use(folder, [part.name for part in inputs])
    output = write_part(folder, spec, digests, blocks(), disk)
    _read_back(folder, spec, output, digests)
    if used is not None:  # what nobody has asked for in a long time does not become new by being merged
        note_uses(folder, {output: used}, anew=False)
    remove_files(folder, [part.name for part in inputs], disk)
    return output


def remove_files(folder: Folder, names: Sequence[str], disk: Disk) -> None:
    """Remove committed files whose content is elsewhere; the caller holds the `maintenance` lock."""
    try:
        with folder.opened() as at:
            for name in names:
                disk.remove(folder / name, at)
            disk.sync_folder(folder.path, at)
    except StoreError:
        raise
    except OSError as error:
        raise StoreWriteError(
            f"cannot remove merged files from {folder.path}: {error.strerror}; until `gc` does, their rows are stored "
            "twice"
        ) from error


def _last_use(folder: Folder, names: list[str]) -> float | None:
    """Return when one of some parts was last used, or committed, in seconds of the file system's clock."""
    known = read_uses(folder)
    times = [known.get(name, status.st_mtime) for name, status in folder.stats(names).items()]
    return max(times, default=None)


def _sound(folder: Folder, spec: FeatureSpec, names: Sequence[str]) -> Iterator[Part]:
    for name in names:
        with suppress(DamagedPartError, FileNotFoundError):
            yield read_part(folder / name, spec)


def _served_rows(parts: Sequence[Part], maps: PartMaps) -> list[npt.NDArray[np.intp]]:
    """Return, for each part, the rows that readers are served from it and not from another of the parts."""
    ranks = np.argsort(np.argsort([part.name for part in parts]))
    index = DigestIndex.empty().with_parts(((number, maps[part].digests) for number, part in enumerate(parts)), ranks)

    def read(number: int, rows: npt.NDArray[np.int64] | slice) -> Digests:
        return maps[parts[number]].digests[rows]

    return [
        np.flatnonzero(index.find(maps[part].digests, read) == places_of(number, part.rows))
        for number, part in enumerate(parts)
    ]


def _read_back(folder: Folder, spec: FeatureSpec, name: str, digests: Digests) -> None:
    """Make sure that a part which is about to replace others can be read."""
    checked = CheckedFiles(folder, "always")
    checked.check(name)
    part = read_part(folder / name, spec)
    if not np.array_equal(PartMaps(folder, checked)[part].digests, digests):
        raise damaged(folder / name, "it does not hold the digests that were written to it")
