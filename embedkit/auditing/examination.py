"""One table looked at from every side; what several findings need is computed once.

Layer: auditing; above the rest of its room.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import scipy.sparse
from scipy.sparse import csgraph

from embedkit.auditing.appearance import appearance, outliers
from embedkit.auditing.copies import copies, listed_pairs
from embedkit.auditing.effects import parts_of, without_copies, without_suspects
from embedkit.auditing.groups import imbalance, weak_groups
from embedkit.auditing.labels import OutOfFold, Ranking, out_of_fold, reduced
from embedkit.auditing.shortcuts import properties, shortcuts
from embedkit.evaluation import Duplicates
from embedkit.images import Looks
from embedkit.results import Effect, Finding
from embedkit.tables import FeatureTable

_TRUSTED = 0.7
"""Accuracy out of fold from which on suspects are worth more than a look."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """The rows of a table that have a class."""

    rows: npt.NDArray[np.intp]
    y: npt.NDArray[np.intp]
    classes: list[str]

    @property
    def listed(self) -> list[int]:
        """The rows as plain numbers."""
        return cast("list[int]", self.rows.tolist())


class Examination:
    """A table, and what its images look like, examined.

    Parameters
    ----------
    table : FeatureTable
    looks : Looks or None
        Of its rows; None where the images cannot be had.
    duplicates : Duplicates
        Of the same images.
    random_state : int
    ranking : {"probes", "wann", "robust", "all"}
        Whose probabilities doubtful labels are found by.

    Attributes
    ----------
    labelled : Labelled or None
        None where the table has no classes, or one.
    oof : OutOfFold or None
        Of the labelled rows.
    pairs : list of DuplicatePair
    notes : list of str
        What could not be looked at.
    """

    def __init__(
        self,
        table: FeatureTable,
        looks: Looks | None,
        duplicates: Duplicates,
        random_state: int = 0,
        ranking: Ranking = "probes",
    ) -> None:
        self.table, self.looks, self.random_state = table, looks, random_state
        self.ranking: Ranking = ranking
        self.notes: list[str] = []
        self.keys, self.X = table.keys, table.X
        self.labels: list[str] | None = None
        self.labelled: Labelled | None = None
        if table.target_type == "class":
            self.labels = cast("list[str]", cast(Any, table.y).tolist())
            rows = np.flatnonzero(table.labelled)
            classes, y = np.unique(np.array(self.labels)[rows], return_inverse=True)
            if len(classes) > 1:
                self.labelled = Labelled(rows, y.astype(np.intp), classes.tolist())
        if self.labelled is None:
            self.notes.append("findings about labels are missing: the target has no classes, or one")
        self.split = None if table.split is None else cast("list[str]", table.split.tolist())
        self.found_by, self.pairs = duplicates.source, listed_pairs(duplicates, table)
        self.oof: OutOfFold | None = None
        if self.labelled is not None:
            units = self.units()
            self.oof = out_of_fold(
                self.probed,
                self.labelled.y,
                [units[row] for row in self.labelled.listed],
                ranking=ranking,
                random_state=random_state,
            )
            right, suspected = float(self.oof.right.mean()), len(self.oof.suspects())
            if right < _TRUSTED and suspected:
                self.notes.append(
                    f"the probes name only {100 * right:.0f} % right out of fold: most of the {suspected} suspects "
                    "are hard images, not wrong labels; a better model suspects fewer"
                )
            alone = int((~self.oof.checked).sum())
            if alone:
                self.notes.append(f"{alone} labels cannot be checked: their classes have no images elsewhere")

    @cached_property
    def probed(self) -> npt.NDArray[np.float32]:
        """The features of labelled rows that probes are fitted on, at most 256 a row."""
        return reduced(self.X if self.labelled is None else self.X[self.labelled.rows])

    def units(self) -> list[int]:
        """Give rows that must not be told from each other one number: those of a group, and copies."""
        n = len(self.keys)
        edges = [(pair.row, pair.other_row) for pair in self.pairs]
        first: dict[str, int] = {}
        for row, group in enumerate([] if self.table.groups is None else self.table.groups.tolist()):
            if group:
                edges.append((first.setdefault(group, row), row))
        one, two = np.array(edges, dtype=np.intp).reshape(-1, 2).T
        graph: Any = scipy.sparse.coo_array((np.ones(len(one)), (one, two)), shape=(n, n))
        components: Any = cast(Any, csgraph).connected_components(graph, directed=False)
        return cast("list[int]", components[1].tolist())

    def findings(self) -> list[Finding]:
        """Return all findings, in the order of their kinds."""
        found = copies(self.keys, self.labels, self.split, self.pairs, self.found_by)
        found += [*self._doubtful(), *outliers(self.keys, self.X)]
        if self.looks is not None:
            found += appearance(self.keys, self.looks)
        if self.labelled is not None and self.oof is not None:
            keys = [self.keys[row] for row in self.labelled.listed]
            labels = [self.labelled.classes[number] for number in cast("list[int]", self.labelled.y.tolist())]
            if self.looks is not None:
                known = properties(self.keys, self.looks)
                of_labelled = {name: values[self.labelled.rows] for name, values in known.items()}
                found += shortcuts(
                    keys, self.labelled.classes, self.labelled.y, of_labelled, random_state=self.random_state
                )
            found += weak_groups(keys, self.labelled.classes, self.oof, self._columns())
            found += imbalance(keys, labels)
        return found

    def effects(self) -> list[Effect]:
        """Return what the accuracy would be without copies, and without suspects."""
        if self.labelled is None or self.oof is None:
            return []
        place = {row: number for number, row in enumerate(self.labelled.listed)}
        pairs = [(place[a], place[b]) for a, b, _, _ in self.pairs if a in place and b in place]
        X, y = self.probed, self.labelled.y
        parts = parts_of(y, None if self.split is None else [self.split[row] for row in place])
        return [*without_copies(X, y, parts, pairs), *without_suspects(X, y, parts, self.oof, self.ranking)]

    def _doubtful(self) -> list[Finding]:
        if self.labelled is None or self.oof is None:
            return []
        rows, classes, oof = self.labelled.rows, self.labelled.classes, self.oof
        found: list[Finding] = []
        for place in oof.suspects().tolist():
            given, other = int(oof.y[place]), int(oof.other[place])
            own, rival = oof.probabilities[place, given], oof.probabilities[place, other]
            of_other = np.flatnonzero(oof.y == other)
            like = int(rows[of_other[np.argmax(_cosines(self.X[rows[of_other]], self.X[rows[place]]))]])
            words = f"labelled {classes[given]} ({100 * own:.0f} %), looks like {classes[other]} ({100 * rival:.0f} %)"
            found.append(Finding("label", self.keys[int(rows[place])], self.keys[like], float(oof.doubt[place]), words))
        return found

    def _columns(self) -> dict[str, npt.NDArray[np.object_]]:
        """Return columns of text, the split and the groups, of the labelled rows."""
        rows = cast(Labelled, self.labelled).rows
        columns = {"split": self.table.split, "group": self.table.groups, **self.table.columns}
        return {
            name: cast("npt.NDArray[np.object_]", values[rows])
            for name, values in columns.items()
            if values is not None and values.dtype.kind == "O"
        }


def _cosines(X: npt.NDArray[np.float32], one: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return (X @ one) / np.maximum(np.linalg.norm(X, axis=1), 1e-12)
