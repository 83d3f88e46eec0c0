"""The same picture more than once: copies by their digests, near-duplicates by their pixels, and what that flatters.

A near-duplicate is a picture re-encoded, resized or slightly cropped. It is known by the pixels of `pixels32` alone:
whether two pictures are one depends on no network and on no other picture. Where there are none, copies byte for byte
are all that is known, and a note says so.

Layer: evaluation; above feature_rows, registration and the estimators.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.estimators import NearestRows
from embedkit.evaluation.feature_rows import FeatureRows
from embedkit.evaluation.registration import SIDE, likeness, signatures
from embedkit.evaluation.splits import Rows, Split, shared_groups
from embedkit.tables import FeatureTable

LEAST_LIKENESS = 0.957
"""Least correlation of the details of two pictures that are one, by their pixels.

Measured on photographs of groceries, PACS and ImageNet (`benchmarks/near_duplicates.py`,
docs/design/003-near-duplicates.md): of re-encoded (JPEG, quality 75), halved and by 5 % cropped pictures 98 to 100 %
are above it; of pairs of different pictures 1 of 1,151,403 of groceries (the same pears) and 9 of
690,900 of PACS (sketches of guitars).
"""

_NEIGHBOURS = 10
# Least cosine of signatures of candidates: of pictures cropped by 5 % it is above 0.9, of most by 10 % above 0.8.
_CANDIDATE_COSINE = 0.8
# Multiplications of a search, a second or two of one core, and pairs to look at: beyond, a sample is compared.
_BUDGET = 5e10
_MOST_PAIRS = 50_000
_LEAST_SAMPLE = 1000
PIXELS = "pixels"
"""What near-duplicates are found by."""
_PIXELS = "pixels32"
# More copies of one picture than this are not paired all with all, but each with the first.
_MOST_COPIES = 50


class DuplicatePair(NamedTuple):
    """Two rows of a table that show one picture.

    Attributes
    ----------
    row, other_row : int
        The smaller first.
    similarity : float
        1 for copies; of near-duplicates the correlation of their details.
    kind : {"exact", "near"}
    """

    row: int
    other_row: int
    similarity: float
    kind: Literal["exact", "near"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """The near-duplicates among distinct images, which are known by their digests.

    Attributes
    ----------
    source : {"pixels", ""}
        What they were looked for by; empty where there were no pixels.
    fingerprint : str
        Of the features that were searched.
    digests : ndarray of shape (n,), S32
        Of the images, sorted.
    compared : ndarray of shape (n,), bool
        The images that were compared with all others.
    first, second : ndarray of shape (n_pairs,), intp
        Places in `digests` of the near-duplicates, each pair once, the smaller place first.
    similarity : ndarray of shape (n_pairs,), float64
    """

    source: str
    fingerprint: str
    digests: npt.NDArray[np.bytes_]
    compared: npt.NDArray[np.bool_]
    first: npt.NDArray[np.intp]
    second: npt.NDArray[np.intp]
    similarity: npt.NDArray[np.float64]

    def places(self, table: FeatureTable) -> npt.NDArray[np.intp]:
        """Give the place in `digests` of each row of a table, of shape (n_rows,); -1 for an image that is not in it."""
        wanted = _as_texts(table.digests)
        places = np.searchsorted(self.digests, wanted).clip(max=max(0, len(self.digests) - 1))
        return np.where(self.digests[places] == wanted, places, -1) if len(self.digests) else places - 1

    def pairs(self, table: FeatureTable) -> list[DuplicatePair]:
        """Give all pairs of rows of a table that show one picture: copies, then near-duplicates, most similar first.

        Of more than 50 copies of one picture each is paired with the first alone.
        """
        places = self.places(table)
        order = np.argsort(places, kind="stable")
        order = order[places[order] >= 0]
        starts = np.flatnonzero(np.diff(places[order], prepend=-1))
        groups = np.split(order, starts[1:]) if len(order) else []
        rows = {int(places[group[0]]): group for group in groups}
        copies = [
            DuplicatePair(int(one), int(other), 1.0, "exact")
            for group in groups
            for place, one in enumerate(group if len(group) <= _MOST_COPIES else group[:1])
            for other in group[place + 1 :]
        ]
        near = [
            DuplicatePair(min(one, other), max(one, other), float(similarity), "near")
            for a, b, similarity in zip(self.first.tolist(), self.second.tolist(), self.similarity, strict=True)
            for one in rows.get(a, order[:0])[:_MOST_COPIES].tolist()
            for other in rows.get(b, order[:0])[:_MOST_COPIES].tolist()
        ]
        return [*sorted(copies), *sorted(near, key=lambda pair: (-pair.similarity, pair))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaks:
    """What tested images share with the training images of their split.

    Attributes
    ----------
    tested : int
    copies : int
        Tested images that are byte for byte among the training images.
    compared : int
        Tested images without a copy that were looked for among the training images: all, or a random sample.
    near_duplicates : int
        Of these.
    shared_groups : int
        Tested images of a group that has training images.
    source : {"pixels", ""}
        What near-duplicates were looked for by; empty where they were not.
    """

    tested: int
    copies: int
    compared: int
    near_duplicates: int
    shared_groups: int
    source: str

    def counts(self) -> dict[str, int]:
        """Give the numbers by their names."""
        names = ("tested", "copies", "compared", "near_duplicates", "shared_groups")
        return {name: getattr(self, name) for name in names}

    def notes(self) -> list[str]:
        """Say what was found, a line each, and what was not looked for."""
        found: list[str] = []
        if self.copies:
            are = "is" if self.copies == 1 else "are"
            found.append(
                f"{self.copies} of {self.tested} tested images {are} byte for byte among the training images too: "
                "the number flatters"
            )
        if self.near_duplicates:
            all_compared = self.compared + self.copies == self.tested
            looks = "looks" if self.near_duplicates == 1 else "look"
            images = f"{self.tested} tested images" if all_compared else f"{self.compared} tested images compared"
            found.append(
                f"{self.near_duplicates} of {images} {looks} like a training image re-encoded, resized or cropped, "
                f"by {self.source}: the number may flatter"
            )
        if not self.source:
            found.append(
                "near-duplicates were not looked for, which takes the pixels of the images: `embedkit audit` does, and "
                "`embedkit probe` with its floors; here only copies byte for byte are counted"
            )
        if self.shared_groups:
            are = "is" if self.shared_groups == 1 else "are"
            found.append(
                f"{self.shared_groups} of {self.tested} tested images {are} of a group that has training images too: "
                "the number flatters"
            )
        return found


def find_duplicates(table: FeatureTable, *, thorough: bool = False, random_state: int = 0) -> Duplicates:
    """Find the near-duplicates among the images of a table.

    Parameters
    ----------
    table : FeatureTable
        Of `pixels32`; in any other features nothing is looked for, since what is near depends on the network.
    thorough : bool
        Compare all images with all, however long that takes. Else a random sample of a large table is compared with
        all images, rows that do not train before those that do.
    random_state : int
        Seed of the sample.

    Returns
    -------
    Duplicates
        Those that are in another table too are found there by their digests.

    Examples
    --------
    >>> found = find_duplicates(FeatureTable.open("photos-pixels32.h5"))        # doctest: +SKIP
    >>> [(pair.row, pair.other_row) for pair in found.pairs(table)]             # doctest: +SKIP
    """
    digests, rows = np.unique(_as_texts(table.digests), return_index=True)
    # Tables larger than memory are read in the order of their rows.
    by_row = np.argsort(rows, kind="stable")
    rows = rows[by_row].astype(np.intp)
    features = FeatureRows(table)
    random = np.random.default_rng(random_state)
    by_pixels = table.spec.backbone.architecture == _PIXELS and table.spec.backbone.width == 3 * SIDE * SIDE
    if by_pixels:
        compared, first, second, similarity = _by_pixels(table, features, rows, random, thorough)
    else:
        compared = first = second = np.empty(0, np.intp)
        similarity = np.empty(0)
    return Duplicates(
        source=PIXELS if by_pixels else "",
        fingerprint=table.spec.fingerprint,
        digests=digests,
        compared=_at(by_row[compared], len(rows)),
        **_each_once(by_row[first], by_row[second], similarity),
    )


def leaks(table: FeatureTable, splits: Sequence[Split], duplicates: Duplicates) -> Leaks:
    """Count what leaks from the training images of each split to its tested ones."""
    _, digests = np.unique(table.digests, axis=0, return_inverse=True)
    places = duplicates.places(table)
    copies = compared = near = grouped = 0
    for split in splits:
        train = split.train
        copied = np.isin(digests[split.test], digests[train])
        copies += int(copied.sum())
        if table.groups is not None:
            grouped += int(shared_groups(table.groups.tolist(), train, split.test).sum())
        trains = _at(places[train][places[train] >= 0], len(duplicates.digests))
        like_trained = _at(duplicates.second[trains[duplicates.first]], len(trains))
        like_trained |= _at(duplicates.first[trains[duplicates.second]], len(trains))
        looked = places[split.test][~copied & (places[split.test] >= 0)]
        compared += int((duplicates.compared | like_trained)[looked].sum())
        near += int(like_trained[looked].sum())
    tested = sum(len(split.test) for split in splits)
    return Leaks(
        tested=tested,
        copies=copies,
        compared=compared,
        near_duplicates=near,
        shared_groups=grouped,
        source=duplicates.source,
    )


_Found = tuple[Rows, Rows, Rows, npt.NDArray[Any]]
"""Which of the rows were compared; of each pair the one and the other, as places in them; and the similarity."""


def _by_pixels(
    table: FeatureTable, features: FeatureRows, rows: Rows, random: np.random.Generator, thorough: bool
) -> _Found:
    signed = np.concatenate(
        [np.empty((0, 192), np.float32), *(signatures(_pixels(X)) for _, X in features.batches(rows))]
    )
    compared = _sample(table, rows, signed.shape[1], random, thorough)
    if not len(compared):
        return compared, compared, compared, np.empty(0)
    distances, others = NearestRows(signed, "cosine").search(signed[compared], min(_NEIGHBOURS + 1, len(rows)))
    query, place = np.nonzero((distances <= 1 - _CANDIDATE_COSINE) & (others != compared[:, None]))
    if len(query) > _MOST_PAIRS and not thorough:
        kept = np.sort(random.permutation(len(compared))[: max(1, len(compared) * _MOST_PAIRS // len(query))])
        inside = np.isin(query, kept)
        query, place = query[inside], place[inside]
        first, second, compared = compared[query], others[query, place], compared[kept]
    else:
        first, second = compared[query], others[query, place]
    pairs = np.unique(np.stack([np.minimum(first, second), np.maximum(first, second)], axis=1), axis=0)
    wanted, numbers = np.unique(pairs, return_inverse=True)
    numbers = numbers.reshape(pairs.shape)
    alike = likeness(_pixels(features.take(rows[wanted])), numbers[:, 0], numbers[:, 1])
    near = alike >= LEAST_LIKENESS
    return compared, pairs[near, 0], pairs[near, 1], alike[near]


def _sample(table: FeatureTable, rows: Rows, width: int, random: np.random.Generator, thorough: bool) -> Rows:
    """Choose places of rows to compare with all; those that do not train first."""
    most = len(rows) if thorough else max(_LEAST_SAMPLE, int(_BUDGET / (len(rows) * width + 1)))
    if most >= len(rows):
        return np.arange(len(rows))
    trains = np.zeros(len(rows), bool) if table.split is None else table.split[rows].astype(str) == "train"
    order = random.permutation(len(rows))
    return np.sort(order[np.argsort(trains[order], kind="stable")][:most])


def _pixels(X: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return X.reshape(len(X), 3, SIDE, SIDE)


def _each_once(first: Rows, second: Rows, similarity: npt.NDArray[Any]) -> dict[str, Any]:
    pairs = np.stack([np.minimum(first, second), np.maximum(first, second)], axis=1)
    pairs, kept = np.unique(pairs, axis=0, return_index=True)
    return {"first": pairs[:, 0], "second": pairs[:, 1], "similarity": similarity[kept].astype(np.float64)}


def _at(places: Rows, n: int) -> npt.NDArray[np.bool_]:
    marked = np.zeros(n, bool)
    marked[places] = True
    return marked


def _as_texts(digests: npt.NDArray[np.uint8]) -> npt.NDArray[np.bytes_]:
    """Give digests (n, 32) as texts (n,), which sort and compare as they do."""
    return np.ascontiguousarray(digests).view("S32").reshape(-1)
