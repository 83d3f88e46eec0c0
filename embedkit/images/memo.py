"""StatMemo: the digests of files that have not changed, so that a warm run reads none of them.

A file is recognised by its path and its `FileIdentity`. The racy rule is held against the moment before the first file
was read instead of the moment of writing, since a file may also change between being read and the memo being written.

A file that a program writes through a mapping may keep its times while its bytes change (the times are set when a page
becomes dirty, and such a page already was), and a file server's clock may be behind this machine's: no rule about times
sees that. So a few remembered files are read again by each run, the newest and some others; when one of them turns out
to hold something else, that is said, and the memo thrown away. ``--rehash`` reads them all.

The memo is never authoritative: rows that do not check, and files that are no memo, count as absent. Deleting it loses
nothing.

The file is a plain ``.npy`` array of unsigned 64-bit integers, one column an entry: two of the path's hash (columns
sorted by the first), device, inode, size, mtime_ns, ctime_ns, four of the digest, and a checksum of the others.

Layer: images, above files. NumPy only.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import struct
import time
from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedkit.errors import EmbedkitError, UnreadableFileError
from embedkit.files import TICK_NS, FileIdentity, file_system_time, read_small, write_small
from embedkit.images.reading import ArchiveMember, read_bytes

_log = logging.getLogger("embedkit")

_Words = npt.NDArray[np.uint64]

# How many remembered files are read again: the newest, and others at random, so that no lie lives for ever; large ones
# are left out.
_NEWEST, _OTHERS, _SAMPLED_BYTES = 4, 4, 64 << 20

# 340 million entries.
_MOST_BYTES = 1 << 35
_KEY, _STAT, _DIGEST, _CHECK = slice(0, 2), slice(2, 7), slice(7, 11), 11
_ROWS = 12
_MASK = (1 << 64) - 1
# Odd, so that a change of any one word changes the checksum. Another layout of the file takes other constants, and
# thereby reads the old one as empty.
_FACTORS = np.array(
    [
        int.from_bytes(hashlib.sha256(b"embedkit stat memo 1 %d" % row).digest()[:8], "little") | 1
        for row in range(_CHECK)
    ],
    dtype=np.uint64,
)


class StatMemo:
    """The digests of files as they were when they were last read.

    Parameters
    ----------
    file : path
        Where the memo is kept; need not exist. All of it is held in memory, 96 bytes an entry.

    Notes
    -----
    Make the memo before reading any file whose digest it shall record: the racy rule is held against that moment.
    """

    def __init__(self, file: str | os.PathLike[str]) -> None:
        self._file = os.fspath(file)
        self._opened_ns = time.time_ns()
        # The clock of the store's file system counts, too: it may be the one that the images are on.
        there = file_system_time(Path(self._file).parent)
        self._opened_ns = min(self._opened_ns, there or self._opened_ns)
        self._words = _load(self._file)
        self._new = array("Q")
        self._sampled = False

    def lookup(self, refs: Sequence[str | ArchiveMember]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Return the digests of files that are as they were when they were recorded.

        Parameters
        ----------
        refs : sequence of str or ArchiveMember, length n
            Paths, or members of archives (known as long as the archive is unchanged).

        Returns
        -------
        digests : ndarray of shape (n, 32), uint8
            Zeros where not known.
        known : ndarray of shape (n,), bool
            False for files that were never recorded, that have changed, or that are not there.
        """
        digests = np.zeros((len(refs), 32), dtype=np.uint8)
        known = np.zeros(len(refs), dtype=bool)
        if not len(refs) or not self._words.shape[1]:
            return digests, known
        statuses: dict[str, tuple[int, ...] | None] = {}
        hashes = b"".join([_path_hash(ref) for ref in refs])
        found_status = array("Q")
        for ref in refs:
            found_status.extend(_status(ref, statuses) or _ABSENT)
        wanted = np.empty((7, len(refs)), dtype=np.uint64)
        wanted[_KEY] = np.frombuffer(hashes, dtype="<u8").reshape(-1, 2).T
        wanted[_STAT] = np.array(found_status, dtype=np.uint64).reshape(-1, 5).T
        places = np.asarray(np.searchsorted(self._words[0], wanted[0]), dtype=np.intp)
        places[places == self._words.shape[1]] = 0
        found = self._words[:, places]
        known = (found[:7] == wanted).all(axis=0) & (found[_CHECK] == _checksum(found))
        digests[known] = np.ascontiguousarray(found[_DIGEST, known].T).astype("<u8").view(np.uint8)
        if not self._sampled and known.any():
            self._sampled = True
            if (liar := self._first_lie(refs, digests, np.flatnonzero(known), found)) is not None:
                self._throw_away(liar)
                return np.zeros_like(digests), np.zeros_like(known)
        return digests, known

    def _first_lie(
        self,
        refs: Sequence[str | ArchiveMember],
        digests: npt.NDArray[np.uint8],
        known: npt.NDArray[np.intp],
        found: _Words,
    ) -> str | None:
        """Read some of the known files again; return one that holds something else than is remembered."""
        newest = known[np.argsort(found[_STAT][3, known])[: -_NEWEST - 1 : -1]]
        others = np.random.default_rng().permutation(known)[:_OTHERS]
        places: list[int] = [*newest.tolist(), *others.tolist()]
        for place in dict.fromkeys(places):
            ref = refs[place]
            size = ref.size if isinstance(ref, ArchiveMember) else int(found[_STAT][2, place])
            if size > _SAMPLED_BYTES:
                continue
            try:
                digest = hashlib.sha256(read_bytes(ref)).digest()
            except (OSError, EmbedkitError):
                continue  # whoever needs it will say why
            if digest != digests[place].tobytes():
                return ref if isinstance(ref, str) else f"{ref.name} in {ref.archive}"
        return None

    def _throw_away(self, liar: str) -> None:
        _log.warning(
            "%s holds other bytes than the stat memo %s remembers, though its times are the same; the memo is thrown "
            "away, and every file is read again",
            liar,
            self._file,
        )
        self._words = np.empty((_ROWS, 0), dtype=np.uint64)
        with contextlib.suppress(OSError):
            os.unlink(self._file)

    def record(self, ref: str | ArchiveMember, stat: os.stat_result, digest: bytes) -> None:
        """Remember the digest of a file; `save` keeps it.

        Parameters
        ----------
        ref : str or ArchiveMember
        stat : os.stat_result
            Of the file, or of the member's archive, taken before its bytes were read.
        digest : bytes
            32 bytes.
        """
        identity = FileIdentity.of(stat)
        if identity.older_than(self._opened_ns - TICK_NS):
            self._new.extend((*_words_of(_path_hash(ref)), *_identity_words(identity), *_words_of(digest)))

    def save(self) -> None:
        """Write what was recorded, together with what the file holds by now, by one rename.

        Two writers at once cost at most the entries of one of them. A memo that cannot be written is only logged: the
        next run reads the files again.
        """
        if not self._new:
            return
        recorded = np.array(self._new, dtype=np.uint64).reshape(-1, _CHECK)
        new = np.empty((_ROWS, len(recorded)), dtype=np.uint64)
        new[:_CHECK] = recorded.T
        new[_CHECK] = _checksum(new)
        words = _merge(_load(self._file), new)
        try:
            _replace(self._file, words)
        except OSError as error:
            _log.warning("stat memo %s cannot be written (%s); the next run reads every file again", self._file, error)
            return
        self._words, self._new = words, array("Q")


_ABSENT = (_MASK,) * 5  # no file has such a device, inode, size and times


def _path_hash(ref: str | ArchiveMember) -> bytes:
    if isinstance(ref, str):
        name = os.fsencode(ref if ref.startswith("/") or os.path.isabs(ref) else os.path.join(os.getcwd(), ref))
    else:
        name = b"%s\x00%d\x00%d" % (os.fsencode(os.path.abspath(ref.archive)), ref.offset, ref.stored)
    return hashlib.blake2b(name, digest_size=16).digest()


def _status(ref: str | ArchiveMember, archives: dict[str, tuple[int, ...] | None]) -> tuple[int, ...] | None:
    """Return the status of a file as words; None where it is not there. An archive is looked at once."""
    if isinstance(ref, str):
        return _look(ref)
    if ref.archive not in archives:
        archives[ref.archive] = _look(ref.archive)
    return archives[ref.archive]


def _look(path: str) -> tuple[int, ...] | None:
    identity = FileIdentity.at(path)
    return None if identity is None else _identity_words(identity)


def _identity_words(identity: FileIdentity) -> tuple[int, ...]:
    # Times before 1970 are negative; the mask keeps them apart all the same.
    return tuple([number & _MASK for number in identity])


def _words_of(digest: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(digest) // 8}Q", digest)


def _checksum(words: _Words) -> _Words:
    """Return the weighted sum, modulo 2^64, of all words of an entry but the checksum itself."""
    total = np.zeros(words.shape[1], dtype=np.uint64)
    for factor, row in zip(_FACTORS, words[:_CHECK], strict=True):
        total += row * factor
    return total


def _merge(old: _Words, new: _Words) -> _Words:
    """Return the entries of both, the newer one of a path, sorted by path."""
    both = np.concatenate([old[:, old[_CHECK] == _checksum(old)], new], axis=1)
    # Of equal keys np.unique keeps the first, so the newest have to come first.
    _, kept = np.unique(both[0, ::-1], return_index=True)
    return both[:, both.shape[1] - 1 - kept]


def _load(file: str) -> _Words:
    empty = np.empty((_ROWS, 0), dtype=np.uint64)
    try:
        # Read, not mapped: a mapped file that vanishes on a network disk would kill the process.
        content = read_small(file, _MOST_BYTES)
    except FileNotFoundError:
        return empty
    except (UnreadableFileError, MemoryError) as error:
        _log.warning("stat memo %s cannot be read (%s); every file is read again", file, error)
        return empty
    # NumPy's own reader believes the header: it has Python tokenize it, and takes whatever memory it asks for.
    count, rest = divmod(len(content) - len(_header(0)), _ROWS * empty.itemsize)
    if count < 0 or rest or not content.startswith(_header(count)):
        _log.warning("%s is not a stat memo; every file is read again", file)
        return empty
    words = np.frombuffer(content, "<u8", offset=len(_header(count))).reshape(_ROWS, count)
    return words.astype(np.uint64)


def _header(count: int) -> bytes:
    """Return the header of a ``.npy`` file of so many entries; all have one length."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<u8", "fortran_order": False, "shape": (_ROWS, count)})
    return header.getvalue()


def _replace(file: str, words: _Words) -> None:
    content = _header(words.shape[1]) + np.ascontiguousarray(words, dtype="<u8").tobytes()
    path = Path(file)
    path.parent.mkdir(exist_ok=True)  # not what is above: the store may be on a file system that is gone
    write_small(path, content)
