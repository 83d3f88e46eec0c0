"""The features of one spec in a folder of immutable parts.

What a reader sees is a snapshot: the parts that were there at the last `refresh`, each checked against its name, and an
index of their digests. A part that does not match its name is named in the log once and otherwise treated as absent, so
that its rows are extracted again. A part that vanished was merged into another by `pack`, `gc` or the writer that made
it: the folder is listed again and the read repeated.

Layer: above parts, index, undecodable and writer.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from embedkit.errors import DamagedPartError, MissingRowsError
from embedkit.files import DISK, Disk, FileIdentity, Folder, Verify
from embedkit.specs import FeatureSpec
from embedkit.store.checked import CheckedFiles
from embedkit.store.copying import copy_runs, gather, is_run
from embedkit.store.digests import Digests, Features, Mask, as_digests, missing_rows
from embedkit.store.index import DigestIndex, Places, ReadDigests, by_part
from embedkit.store.layout import PART_INDEX, committed_names
from embedkit.store.leases import TTL
from embedkit.store.part_index import (
    INDEXED_ROWS,
    IndexedPart,
    indexed_part,
    read_part_index,
    write_part_index,
)
from embedkit.store.parts import FalseIndexError, Part, PartMaps, most_mapped, read_part
from embedkit.store.snapshot import Snapshot
from embedkit.store.undecodable import merge_reasons, read_undecodable, select_reasons
from embedkit.store.uses import Uses
from embedkit.store.writer import COMMIT_BYTES, COMMIT_SECONDS, Writer

_log = logging.getLogger(__name__)

# How often a read is repeated because parts vanished under it. Each time means a merge that ended in between.
_ATTEMPTS = 10

# So many parts are worth an index, and so many new ones a new index.
_WORTH_AN_INDEX = 16

Result = TypeVar("Result")


class FeatureSet:
    """The features of one spec, digest -> row; made by `FeatureStore.features`. Reading is safe from many threads.

    Rows are written through a writer and never change.

    Parameters
    ----------
    folder : Folder
        Of the fingerprint. It need not exist until something is written.
    spec : FeatureSpec
    verify : {"first", "always", "size"}
        See `CheckedFiles`.
    disk : Disk
        The calls that change the disk.

    Attributes
    ----------
    spec : FeatureSpec
    fingerprint : str
        Of the spec, 64 hexadecimal digits.
    width : int
        Features in a row.
    """

    def __init__(self, folder: Folder, spec: FeatureSpec, verify: Verify = "first", disk: Disk = DISK) -> None:
        self._folder = folder
        self.spec = spec
        self.fingerprint = spec.fingerprint
        self.width = spec.backbone.width
        self._disk = disk
        self._checked = CheckedFiles(folder, verify)
        self._verify = verify
        self._indexing = True
        self._maps = PartMaps(folder, self._checked)
        self._uses = Uses(folder)
        weakref.finalize(self, self._uses.save)
        self._lock = threading.Lock()
        self._next_number = 0
        self._stale = True
        self._snapshot = Snapshot()

    @property
    def folder(self) -> Path:
        """Where the parts lie."""
        return self._folder.path

    def refresh(self) -> None:
        """See what others have committed since this set was opened or refreshed."""
        with self._lock:
            self._stale = False
            for _ in range(_ATTEMPTS):
                with suppress(FileNotFoundError, DamagedPartError):  # between two looks at a part
                    if self._take_in(committed_names(self._folder)):
                        return

    def contains(self, digests: Digests) -> Mask:
        """Say which rows are there.

        Parameters
        ----------
        digests : ndarray of shape (n, 32), uint8

        Returns
        -------
        ndarray of shape (n,), bool
        """
        wanted = as_digests(digests)
        return self._reading(lambda snapshot: self._find(snapshot, wanted) >= 0)

    def get(self, digests: Digests) -> Features:
        """Return rows in the order asked.

        Parameters
        ----------
        digests : ndarray of shape (n, 32), uint8
            May repeat.

        Returns
        -------
        ndarray of shape (n, width), of the spec's dtype

        Raises
        ------
        MissingRowsError
            Some are not there.
        """
        wanted = as_digests(digests)
        try:
            return self._reading(lambda snapshot: self._rows(snapshot, wanted))
        except MissingRowsError:
            # Whoever asks for rows believes them to be there: others may have committed them since the last look, or
            # the index of small parts does not name them.
            if any(part.held is not None for part in self._snapshot.parts.values()):
                self._leave_index()
            self.refresh()
            return self._reading(lambda snapshot: self._rows(snapshot, wanted))

    def batches(self, digests: Digests, rows: int) -> Iterator[Features]:
        """Yield what `get` returns, at most so many rows at a time."""
        wanted = as_digests(digests)
        for start in range(0, len(wanted), rows):
            yield self.get(wanted[start : start + rows])

    def undecodable(self, digests: Digests) -> dict[bytes, str]:
        """Return, of these digests, those remembered as undecodable and without a row, each with its reason."""
        wanted = as_digests(digests)
        return self._reading(lambda snapshot: self._reasons(snapshot, wanted))

    def writer(
        self,
        *,
        commit_bytes: int = COMMIT_BYTES,
        commit_seconds: float = COMMIT_SECONDS,
        lease_seconds: float = TTL,
    ) -> Writer:
        """Return a writer; there may be many, in many processes and on many machines.

        Parameters
        ----------
        commit_bytes : int
            Rows are committed when they take so many bytes, ...
        commit_seconds : float
            ... or when the oldest of them has waited so long.
        lease_seconds : float
            A lease of another writer without a heartbeat for so long is dead. Heartbeats come four times as often.
        """
        return Writer(
            self,
            self._folder,
            self._mark_stale,
            commit_bytes=commit_bytes,
            commit_seconds=commit_seconds,
            lease_seconds=lease_seconds,
            disk=self._disk,
        )

    def snapshot(self) -> Snapshot:
        """Return what is seen now, for those who maintain the folder."""
        return self._reading(lambda snapshot: snapshot)

    def counts(self) -> tuple[int, int]:
        """Return how many rows are stored, and how many of them not served: a part before theirs has their digest."""

        def count(snapshot: Snapshot) -> tuple[int, int]:
            stored = sum(part.rows for part in snapshot.parts.values())
            return stored, snapshot.index.duplicates(self._read_digests(snapshot))

        return self._reading(count)

    def redundant(self, may_go: Callable[[str], bool]) -> tuple[list[str], list[str]]:
        """Choose parts whose every row is in another part that is not chosen, small ones first.

        Parameters
        ----------
        may_go : callable (name of a part) -> bool

        Returns
        -------
        chosen, others : list of str
            Names of parts.
        """

        def choose(snapshot: Snapshot) -> tuple[list[str], list[str]]:
            candidates = [(part.rows, number) for number, part in snapshot.parts.items() if may_go(part.name)]
            order = ((number, rows) for rows, number in sorted(candidates))
            chosen = snapshot.index.redundant(order, self._read_digests(snapshot))
            names = {number: part.name for number, part in snapshot.parts.items()}
            return [names.pop(number) for number in chosen], list(names.values())

        return self._reading(choose)

    def _mark_stale(self) -> None:
        """Look at the folder again before the next read: a writer of this set has committed something."""
        self._stale = True

    def _reading(self, read: Callable[[Snapshot], Result]) -> Result:
        """Read from the snapshot; when parts of it have vanished or were damaged, from a new one."""
        if self._stale:
            self.refresh()
        for _ in range(_ATTEMPTS):
            try:
                return read(self._snapshot)
            except FileNotFoundError:
                self.refresh()
            except FalseIndexError as error:
                self._forget_index(error)
            except DamagedPartError as error:
                self._drop(error)
        return read(self._snapshot)

    def _take_in(self, names: list[str]) -> bool:
        """Make the snapshot agree with a listing; False when a file of the listing is gone by now."""
        old, listed = self._snapshot, set(names)
        known = old.names
        new = [name for name in names if name not in known]
        if not new and known <= listed:
            return True
        parts = {number: part for number, part in old.parts.items() if part.name in listed}
        reasons = {name: reason for name, reason in old.reasons.items() if name in listed}
        damaged = {name: error for name, error in old.damaged.items() if name in listed}
        complete, kept = True, len(parts)
        for part in self._recalled(new):
            parts[self._next_number] = part
            self._next_number += 1
        recalled = {part.name for part in parts.values()}
        new = [name for name in new if name not in recalled]
        wrong = self._checked.check_all(new)
        for name in new:
            try:
                if name in wrong:
                    raise wrong[name]
                if name.startswith("part"):
                    parts[self._next_number] = read_part(self._folder / name, self.spec)
                    self._next_number += 1
                else:
                    reasons[name] = read_undecodable(self._folder / name, self.fingerprint)
            except FileNotFoundError:
                complete = False
            except DamagedPartError as error:
                damaged[name] = error
                _log.warning("%s; what it held counts as missing", error)
        unchanged = kept == len(old.parts)
        index = self._extend(old.index if unchanged else DigestIndex.empty(), parts, kept if unchanged else 0)
        self._snapshot = Snapshot(parts, index, reasons, damaged)
        self._index_parts(parts.values(), new)
        return complete

    def _recalled(self, names: list[str]) -> list[Part]:
        """Return those of many parts that are as the index of small parts remembers them."""
        if self._verify != "first" or not self._indexing or len(names) < _WORTH_AN_INDEX:
            return []
        known = read_part_index(self._folder, self.spec)
        stats = self._folder.stats([name for name in names if name in known])
        sound = {name for name, status in stats.items() if FileIdentity.of(status) == known[name].identity}
        return [known[name].part for name in names if name in sound]

    def _index_parts(self, parts: Iterable[Part], opened: list[str]) -> None:
        """Remember small parts where enough of them had to be opened; what is remembered was seen to be whole."""
        if self._verify != "first" or not self._indexing or len(opened) < _WORTH_AN_INDEX:
            return
        known: dict[str, IndexedPart] = {}
        for part in parts:
            identity = self._checked.remembered(part.name)
            if identity is not None and 0 < part.rows <= INDEXED_ROWS:
                digests = self._digests_of(part).copy()
                entry = indexed_part(part.name, self.spec, digests, part.digests.offset)
                if entry is not None and entry.features == part.features:
                    known[part.name] = IndexedPart(identity, entry)
        if len(known) >= _WORTH_AN_INDEX:
            write_part_index(self._folder, self.spec, known)

    def _digests_of(self, part: Part) -> Digests:
        return self._maps[part].digests if part.held is None else part.held

    def _forget_index(self, error: FalseIndexError) -> None:
        """Open every part again, since the index of small parts has named a wrong one."""
        _log.warning("%s; the index is thrown away, and every part opened again", error)
        with suppress(OSError), self._folder.opened() as at:
            self._disk.remove(self._folder / PART_INDEX, at)
        self._leave_index()
        self.refresh()

    def _leave_index(self) -> None:
        with self._lock:
            self._indexing = False
            self._snapshot = Snapshot()

    def _extend(self, index: DigestIndex, parts: dict[int, Part], start: int) -> DigestIndex:
        """Add the parts from the given position on to an index."""
        ranks = np.zeros(self._next_number, np.int64)
        for rank, number in enumerate(sorted(parts, key=lambda number: parts[number].name)):
            ranks[number] = rank
        added = list(parts.items())[start:]
        return index.with_parts(((number, self._digests_of(part)) for number, part in added), ranks)

    def _drop(self, error: DamagedPartError) -> None:
        """Take a part that was sound when it was checked out of the snapshot."""
        name = Path(str(error.filename)).name
        _log.warning("%s; what it held counts as missing", error)
        with self._lock:
            old = self._snapshot
            parts = {number: part for number, part in old.parts.items() if part.name != name}
            index = self._extend(DigestIndex.empty(), parts, 0)
            self._snapshot = Snapshot(parts, index, old.reasons, {**old.damaged, name: error})

    def _read_digests(self, snapshot: Snapshot) -> ReadDigests:
        def read(number: int, rows: npt.NDArray[np.int64] | slice) -> Digests:
            digests = self._digests_of(snapshot.parts[number])
            # np.take copies rows several times as fast as indexing does.
            return digests[rows] if isinstance(rows, slice) else np.take(digests, rows, axis=0)

        return read

    def _find(self, snapshot: Snapshot, digests: Digests) -> Places:
        return snapshot.index.find(digests, self._read_digests(snapshot))

    def _rows(self, snapshot: Snapshot, digests: Digests) -> Features:
        places = self._find(snapshot, digests)
        if (places < 0).any():
            raise missing_rows(digests, places >= 0, str(self._folder.path))
        rows = np.empty((len(places), self.width), np.dtype(self.spec.dtype))
        runs: list[tuple[Features, Features]] = []
        used: list[str] = []
        for positions, number, sources in by_part(places):
            used.append(snapshot.parts[number].name)
            features = self._maps[snapshot.parts[number]].features
            if len(runs) >= most_mapped():  # each of them keeps a part mapped
                copy_runs(runs)
                runs = []
            if is_run(positions) and is_run(sources):
                runs.append((features[sources[0] :][: len(sources)], rows[positions[0] :][: len(sources)]))
            else:
                gather(features, sources, rows, positions)
        copy_runs(runs)
        self._uses.note(used)
        return rows

    def _reasons(self, snapshot: Snapshot, digests: Digests) -> dict[bytes, str]:
        merged = merge_reasons(reasons for _, reasons in sorted(snapshot.reasons.items()))
        found = select_reasons(merged, digests)
        if not found:
            return {}
        keys = list(found)
        places = self._find(snapshot, np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 32))
        return {key: found[key] for key, place in zip(keys, places, strict=True) if place < 0}
