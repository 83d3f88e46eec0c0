"""Where the row of a digest lies: a sorted array of 64-bit prefixes, 20 bytes a row.

The first 8 bytes of a digest, read as one number, are its prefix. Digests are as good as random, so a prefix tells
where in the sorted array it stands: a table of 2^b starts, by the highest b bits, leads to within a row or two of it.
Then all 32 bytes are compared with those on disk, which stay there, mapped. Ten million rows take 200 MB.

Layer: above digests. numpy only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedkit.store.digests import Digests

Places = npt.NDArray[np.int64]

ReadDigests = Callable[[int, npt.NDArray[np.int64] | slice], Digests]
"""(number of a part, rows) -> their digests, uint8 (n, 32)."""

_ROW_BITS = 32
_ROW_MASK = (1 << _ROW_BITS) - 1

# Rows that share the highest bits are passed one by one; where there are more of them, digests are not random.
_STEPS = 16

_SHORT_RUN = 64


@dataclass(frozen=True, slots=True)
class DigestIndex:
    """A sorted index from digests to places; a place is the number of a part and a row in it.

    Equal digests may have several places; the first one counts, by the order of parts given when they were added.

    Attributes
    ----------
    prefixes : ndarray of shape (n,), uint64
        Ascending.
    places : ndarray of shape (n,), int64
        The place of each prefix.
    starts : ndarray of shape (2^b,), int32 or int64
        How many prefixes are lower than each combination of their b highest bits.
    tied : bool
        Whether two prefixes are equal, as those of a digest stored twice are.
    """

    prefixes: npt.NDArray[np.uint64]
    places: Places
    starts: npt.NDArray[np.int64 | np.int32]
    tied: bool

    @classmethod
    def empty(cls) -> DigestIndex:
        """Return an index of nothing."""
        return cls._sorted(np.empty(0, np.uint64), np.empty(0, np.int64))

    @classmethod
    def _sorted(cls, prefixes: npt.NDArray[np.uint64], places: Places) -> DigestIndex:
        bits = max(1, len(prefixes).bit_length() - 1)
        firsts = np.arange(1 << bits, dtype=np.uint64) << np.uint64(64 - bits)
        starts = np.searchsorted(prefixes, firsts)
        small = len(prefixes) < np.iinfo(np.int32).max
        tied = bool((prefixes[1:] == prefixes[:-1]).any())
        return cls(prefixes, places, starts.astype(np.int32) if small else starts, tied)

    def with_parts(self, parts: Iterable[tuple[int, Digests]], ranks: npt.NDArray[np.int64]) -> DigestIndex:
        """Return an index with the rows of more parts.

        Parameters
        ----------
        parts : iterable of (number, digests)
        ranks : ndarray of int64
            For every part number, old and new: which part's row counts when several hold a digest (lowest first).
        """
        keys, places = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
        for number, digests in parts:
            keys.append(_prefixes(digests))
            places.append(places_of(number, len(digests)))
        new_keys, new_places = np.concatenate(keys), np.concatenate(places)
        order = np.argsort(new_keys)
        prefixes = np.concatenate([self.prefixes, new_keys[order]])
        joined = np.concatenate([self.places, new_places[order]])
        if len(self.prefixes):
            # NumPy's stable sort finds the two ascending runs and only merges them.
            order = np.argsort(prefixes, kind="stable")
            prefixes, joined = prefixes[order], joined[order]
        _order_ties(prefixes, joined, ranks)
        return DigestIndex._sorted(prefixes, joined)

    def find(self, digests: Digests, read: ReadDigests) -> Places:
        """Return the place of each digest, -1 where there is none.

        Parameters
        ----------
        digests : ndarray of shape (m, 32), uint8
        read : callable (part number, rows) -> ndarray of shape (k, 32), uint8
            Reads stored digests, to compare all 32 bytes.
        """
        found = np.full(len(digests), -1, dtype=np.int64)
        if not len(self.prefixes):
            return found
        done = self._follow(digests, found, read)
        self._find_each(digests[done:], found[done:], read)
        return found

    def _follow(self, digests: Digests, found: Places, read: ReadDigests) -> int:
        """Find the first digests if they lie behind one another, as in a table read in the order of extraction.

        Comparing runs of digests costs a fraction of looking up each.

        Returns
        -------
        int
            For how many of the digests `found` is set.
        """
        done = 0
        # Where digests are stored twice, the row that counts need not be the next one.
        while not self.tied and done < len(digests):
            self._find_each(digests[done : done + 1], found[done : done + 1], read)
            place = int(found[done])
            number, row = place >> _ROW_BITS, place & _ROW_MASK
            run = 0
            for limit in (_SHORT_RUN, len(digests)) if place >= 0 else ():
                stored = read(number, slice(row, row + min(limit, len(digests) - done)))
                same = _same(stored, digests[done : done + len(stored)])
                run = len(same) if same.all() else int(same.argmin())
                if run < _SHORT_RUN:
                    break
            found[done : done + run] = place + np.arange(run)
            done += run
            if run < _SHORT_RUN:
                break
        return done

    def _find_each(self, digests: Digests, found: Places, read: ReadDigests) -> None:
        """Set the places in `found`, which are -1, of those digests that are there."""
        keys = _prefixes(digests)
        at = self._search(keys)
        wanted = np.flatnonzero(self._prefix_at(at) == keys)
        while len(wanted):
            places = self.places[at[wanted]]
            equal = _equal(places, digests, wanted, read)
            found[wanted[equal]] = places[equal]
            # A digest that only shares its prefix: the one looked for may come next.
            wanted = wanted[~equal]
            at[wanted] += 1
            wanted = wanted[at[wanted] < len(self.prefixes)]
            wanted = wanted[self.prefixes[at[wanted]] == keys[wanted]]

    def _search(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """Return what ``np.searchsorted(self.prefixes, keys)`` does, several times as fast for random prefixes."""
        bits = len(self.starts).bit_length() - 1
        at = self.starts[(keys >> np.uint64(64 - bits)).astype(np.int64)].astype(np.int64)
        behind = np.flatnonzero(self._prefix_at(at) < keys)
        for _ in range(_STEPS):
            if not len(behind):
                return at
            at[behind] += 1
            behind = behind[self._prefix_at(at[behind]) < keys[behind]]
        at[behind] = np.searchsorted(self.prefixes, keys[behind])
        return at

    def _prefix_at(self, at: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
        # Behind the end, for keys above all prefixes, is the last prefix again, which is lower than they are.
        return self.prefixes[np.minimum(at, len(self.prefixes) - 1)]

    def duplicates(self, read: ReadDigests) -> int:
        """Return how many rows are not the first ones of their digests."""
        _, digests = self._tied_rows(read)
        return len(digests) - len(np.unique(digests))

    def redundant(self, parts: Iterable[tuple[int, int]], read: ReadDigests) -> list[int]:
        """Choose parts without which every digest would still have a place.

        Parameters
        ----------
        parts : iterable of (number, rows)
            Those that may be chosen, the most welcome first.
        read : callable
            See `find`.
        """
        places, digests = self._tied_rows(read)
        _, which, copies = np.unique(digests, return_inverse=True, return_counts=True)
        chosen: list[int] = []
        for number, rows in parts:
            here, times = np.unique(which[places >> _ROW_BITS == number], return_counts=True)
            if times.sum() == rows and (copies[here] > times).all():
                copies[here] -= times
                chosen.append(number)
        return chosen

    def _tied_rows(self, read: ReadDigests) -> tuple[Places, npt.NDArray[np.void]]:
        """Return the places of the rows that share their prefix with others, and their digests."""
        places = self.places[_ties(self.prefixes)]
        digests = np.empty((len(places), 32), np.uint8)
        for positions, number, rows in by_part(places):
            digests[positions] = read(number, rows)
        return places, digests.view("V32")[:, 0]


def places_of(number: int, rows: int) -> Places:
    """Return the places of all the rows of a part."""
    return (number << _ROW_BITS) + np.arange(rows, dtype=np.int64)


def by_part(places: Places) -> Iterator[tuple[npt.NDArray[np.intp], int, npt.NDArray[np.int64]]]:
    """Split places by part: yields (ascending positions among `places`, number of the part, rows in it)."""
    parts, rows = places >> _ROW_BITS, places & _ROW_MASK
    if len(parts) and parts.max() < 1 << 16:
        parts = parts.astype(np.uint16)  # NumPy sorts 16 bits by counting
    order = np.argsort(parts, kind="stable")
    starts = np.flatnonzero(np.diff(parts[order])) + 1
    for positions in np.split(order, starts) if len(order) else []:
        yield positions, int(parts[positions[0]]), rows[positions]


def _prefixes(digests: Digests) -> npt.NDArray[np.uint64]:
    return digests[:, :8].copy().view("<u8")[:, 0].astype(np.uint64, copy=False)  # a view would keep a part mapped


def _ties(prefixes: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Mark the prefixes that another row has, too."""
    tied = np.zeros(len(prefixes), dtype=np.bool_)
    same = prefixes[1:] == prefixes[:-1]
    tied[1:] |= same
    tied[:-1] |= same
    return tied


def _order_ties(prefixes: npt.NDArray[np.uint64], places: Places, ranks: npt.NDArray[np.int64]) -> None:
    """Put places of equal prefixes into the order of their parts, in place."""
    tied = np.flatnonzero(_ties(prefixes))
    here = places[tied]
    places[tied] = here[np.lexsort((here & _ROW_MASK, ranks[here >> _ROW_BITS], prefixes[tied]))]


def _equal(places: Places, digests: Digests, wanted: npt.NDArray[np.intp], read: ReadDigests) -> npt.NDArray[np.bool_]:
    """Compare the stored digests of some places with ``digests[wanted]``."""
    equal = np.empty(len(places), dtype=np.bool_)
    for positions, number, rows in by_part(places):
        stored = read(number, rows)
        equal[positions] = _same(stored, np.take(digests, wanted[positions], axis=0))
    return equal


def _same(left: Digests, right: Digests) -> npt.NDArray[np.bool_]:
    """Compare digests row by row, eight bytes at a time."""
    ours, theirs = (np.ascontiguousarray(side).view(np.uint64) for side in (left, right))
    same = ours[:, 0] == theirs[:, 0]
    for word in range(1, 4):
        same &= ours[:, word] == theirs[:, word]
    return same
