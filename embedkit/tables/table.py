"""The feature table: features of images, row by row beside their keys and labels.

Layer: the top of the store's tables; above feature_file and feature_output. numpy, errors and specs only.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import UsageError
from embedkit.files import Verify
from embedkit.specs import FeatureSpec, Json, TargetType
from embedkit.tables.export_formats import flat_columns
from embedkit.tables.feature_file import Batch, read_feature_file
from embedkit.tables.feature_output import write_feature_file
from embedkit.tables.head import Array, Failure, TableHead
from embedkit.tables.selection import as_mask, selected_rows
from embedkit.tables.summary import TableSummary, summarise

if TYPE_CHECKING:
    import pandas as pd

    from embedkit.embedder import ImageEmbedder

Selector = int | np.integer[Any] | slice | Sequence[int] | npt.NDArray[Any] | tuple[Any, EllipsisType]

# Rows that are copied at a time where nobody asks for a size: a few megabytes of the usual widths.
_ROWS = 4096


class FeatureTable:
    """Features of images with their keys, labels and whatever else is known, aligned row by row.

    A table that was opened from a file reads its features when they are first asked for; rows of it are tables again
    and share the file. It holds arrays and gives arrays: ``table.X`` and ``table.y`` go into any estimator.

    Parameters
    ----------
    head : TableHead
        Everything but the features.
    features : ndarray of shape (n_rows, n_features), float32 or float16
        Of the type and width that the head's spec says. May be mapped from a file.

    Raises
    ------
    UsageError
        The features are not what the head says.

    Examples
    --------
    >>> table = FeatureTable.open("grocery.h5")  # doctest: +SKIP
    >>> train = table.select(split="train")  # doctest: +SKIP
    >>> LogisticRegression().fit(train.X, train.y)  # doctest: +SKIP
    """

    def __init__(self, head: TableHead, features: Batch) -> None:
        shape = (len(head), head.spec.backbone.width)
        if features.shape != shape or features.dtype != np.dtype(head.spec.dtype):
            raise UsageError(
                f"features are {features.dtype} {features.shape}; the spec and the keys say {head.spec.dtype} {shape}"
            )
        self._metadata = head
        self._stored: Batch = features
        self._rows: npt.NDArray[np.intp] | None = None  # which of them are rows of this table; None: all
        self._read: npt.NDArray[np.float32] | None = None

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, verify: Verify = "first", label_column: str | None = None) -> Self:
        """Open a feature file.

        Parameters
        ----------
        path : path
        verify : {"first", "always", "size"}
            ``"first"``: compare all bytes with the file's digest, unless this process has done so since the file last
            changed. ``"always"``: compare them. ``"size"``: compare the length only; a flipped bit is served.
        label_column : str, optional
            Take labels from this column, as `with_label` does.

        Raises
        ------
        FeatureFileNotFoundError
            There is no such file.
        FeatureFileFormatError
            It is something else, or of a newer major version.
        DamagedFeatureFileError
            It was cut off, changed, or written to by another program.
        UnsafeFeatureFileError
            It uses what is refused from strangers (docs/format.md).
        UsageError
            There is no such column.
        """
        table = cls(*read_feature_file(path, verify))
        return table if label_column is None else table.with_label(label_column)

    def write(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write the table to a feature file, whole or not at all.

        Parameters
        ----------
        path : path
            An existing file is replaced only by a table of the same fingerprint that has all its keys, with equal
            digests.
        force : bool
            Replace whatever is there.

        Raises
        ------
        OutputExistsError
            Something is there that this table does not contain.
        StoreWriteError
            The folder is missing or read-only, or the disk is full. Nothing was changed.
        """
        write_feature_file(path, self._metadata, self.stored_batches(_ROWS), force=force)

    @property
    def metadata(self) -> TableHead:
        """Everything but the features."""
        return self._metadata

    @property
    def X(self) -> npt.NDArray[np.float32]:  # noqa: N802
        """The features: ndarray of shape (n_rows, n_features), float32; read once, when first asked for."""
        if self._read is None:
            # Mapped features are copied, so that a fit does not wait for the disk again and again.
            mapped = self._rows is None and not self._stored.flags.writeable
            self._read = self._stored_rows(slice(None)).astype(np.float32, copy=mapped)
        return self._read

    @property
    def y(self) -> Array | None:
        """The labels; None without.

        Text of shape (n_rows,), ``""`` where unknown; float64 of shape (n_rows,), NaN where unknown; or bool of shape
        (n_rows, n_classes).
        """
        return self._metadata.y

    @property
    def target_type(self) -> TargetType:
        """``"class"``, ``"value"``, ``"multilabel"`` or ``"none"``."""
        return self._metadata.target_type

    @property
    def classes(self) -> list[str]:
        """All classes there are, also those without a row; empty for values and without labels."""
        return self._metadata.classes

    @property
    def labelled(self) -> npt.NDArray[np.bool_]:
        """Which rows have a label: ndarray of shape (n_rows,)."""
        match self.target_type:
            case "class":
                return cast(Array, self.y) != ""
            case "value":
                return ~np.isnan(cast(Array, self.y))
            case "multilabel" | "none":
                return np.full(len(self), self.target_type == "multilabel")

    @property
    def keys(self) -> list[str]:
        """The name of each row; unique."""
        return self._metadata.keys

    @property
    def digests(self) -> npt.NDArray[np.uint8]:
        """The identity of each row's image: ndarray of shape (n_rows, 32)."""
        return self._metadata.digests

    @property
    def split(self) -> Array | None:
        """The split of each row: object ndarray of str of shape (n_rows,), ``""`` where it has none; None without."""
        return self._metadata.split

    @property
    def groups(self) -> Array | None:
        """The group of each row: object ndarray of str of shape (n_rows,), ``""`` where it has none; None without."""
        return self._metadata.groups

    @property
    def columns(self) -> dict[str, Array]:
        """Further columns by name: ndarrays of shape (n_rows,) of str (dtype object), float64, int64 or bool."""
        return self._metadata.columns

    @property
    def failures(self) -> list[Failure]:
        """The images of the source that have no row, and why."""
        return self._metadata.failures

    @property
    def spec(self) -> FeatureSpec:
        """How the features were made."""
        return self._metadata.spec

    @property
    def provenance(self) -> dict[str, Json]:
        """How the features came to be: the model as it was asked for, the source, versions of libraries, ..."""
        return self._metadata.provenance

    def embedder(
        self,
        *,
        weights: str | os.PathLike[str] | None = None,
        device: str = "auto",
        store: str | os.PathLike[str] | None = None,
        batch_size: int | None = None,
        root: str | os.PathLike[str] | None = None,
        input: Literal["path", "key"] = "path",
        on_error: Literal["raise", "nan"] = "raise",
        output: Literal["numpy", "torch"] = "numpy",
    ) -> ImageEmbedder:
        """Return an embedder, fitted, whose features of images are exactly the table's, engine and precision included.

        The parameters are those of `ImageEmbedder.from_spec`; the weights are by default where they were.

        Raises
        ------
        UsageError
            The table does not record what was asked for, and no weights are named.

        Examples
        --------
        >>> classifier = LogisticRegression().fit(table.X, table.y)  # doctest: +SKIP
        >>> make_pipeline(table.embedder(), classifier).predict(["new.jpg"])  # doctest: +SKIP
        """
        from embedkit.embedder import ImageEmbedder

        request = self.provenance.get("request")
        if not isinstance(request, dict) and weights is None and self.spec.backbone.weights != "none":
            raise UsageError(
                "the feature file does not record the request it answers, so it is not known where its model's weights "
                "are: name them (weights=...), or extract again"
            )
        return ImageEmbedder.from_spec(
            self.spec,
            request if isinstance(request, dict) else None,
            weights=weights,
            device=device,
            store=store,
            batch_size=batch_size,
            root=root,
            input=input,
            on_error=on_error,
            output=output,
        )

    def select(
        self,
        *,
        split: str | Sequence[str] | None = None,
        keys: str | Sequence[str] | None = None,
        mask: npt.NDArray[np.bool_] | Sequence[bool] | None = None,
        where: Mapping[str, object] | None = None,
    ) -> Self:
        """Return the rows that meet all conditions.

        Parameters
        ----------
        split : str or sequence of str, optional
            Rows of these splits.
        keys : str or sequence of str, optional
            These rows, in this order.
        mask : bool array of shape (n_rows,), optional
        where : mapping of str to value or list of values, optional
            Rows whose column has this value, or one of these values.

        Raises
        ------
        UsageError
            There is no such split, key or column.
        """
        return self._take(selected_rows(self._metadata, split, keys, mask, where))

    def with_label(self, column: str, target_type: Literal["class", "value"] | None = None) -> Self:
        """Return the table with another column as its labels; the first ones stay as the column ``label``.

        Parameters
        ----------
        column : str
            One of `columns`, ``"split"`` or ``"groups"``.
        target_type : {"class", "value"}, optional
            By default floats are values unless all are whole; whole numbers, text and truth values are classes.

        Raises
        ------
        UsageError
            There is no such column, or it does not hold what is asked for.
        """
        return self._with_head(self._metadata.with_label(column, target_type))

    def head(self, n: int = 5) -> Self:
        """Return the first rows."""
        return self[: max(n, 0)]

    def describe(self) -> TableSummary:
        """Count what is in the table: rows a class, a split and a group, and failures by their reasons."""
        return summarise(self._metadata)

    def to_pandas(self, *, features: bool = True) -> pd.DataFrame:
        """Return the rows as a data frame (needs pandas), indexed by key.

        Parameters
        ----------
        features : bool
            With one column a feature: ``feature_0``, ``feature_1``, ...; behind label, split, groups and the rest.
        """
        import pandas as pd

        columns = flat_columns(self._metadata)
        frame = pd.DataFrame(columns, index=pd.Index(columns.pop("key"), name="key"))
        if not features:
            return frame
        names = [f"feature_{number}" for number in range(self.shape[1])]
        return pd.concat([frame, pd.DataFrame(self.X, columns=names, index=frame.index)], axis=1)

    def iter_batches(self, size: int) -> Generator[tuple[npt.NDArray[np.float32], Array | None]]:
        """Yield (X, y) of `size` rows at a time, for ``partial_fit`` on tables larger than memory.

        Parameters
        ----------
        size : int
            Rows in a batch; the last may have fewer.

        Yields
        ------
        X : ndarray of shape (rows, n_features), float32
        y : ndarray or None
            As `y`.
        """
        if size < 1:
            raise UsageError(f"a batch of {size} rows was asked for; expected at least 1")
        for start in range(0, len(self), size):
            rows = slice(start, start + size)
            yield self._stored_rows(rows).astype(np.float32), None if self.y is None else self.y[rows]

    def stored_batches(self, size: int) -> Generator[Batch]:
        """Yield the features as they are stored (float32 or float16), `size` rows at a time."""
        for start in range(0, len(self), size):
            yield self._stored_rows(slice(start, start + size))

    def __len__(self) -> int:
        return len(self._metadata)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and features; scikit-learn then takes rows as of an array: ``train_test_split(table)``."""
        return len(self), self.spec.backbone.width

    # A row is a table of one row: taken for a sequence of them, a table would be converted row by row.
    __iter__ = None

    def __getitem__(self, rows: Selector) -> Self:
        """Return a table of some rows: a row number (negative from the end), several, a slice, or a mask."""
        if isinstance(rows, tuple) and len(rows) == 2 and rows[1] is Ellipsis:  # as scikit-learn takes rows of arrays
            rows = cast(Selector, rows[0])
        if isinstance(rows, slice):
            return self._take(np.arange(len(self))[rows])
        if isinstance(rows, int | np.integer) and not isinstance(rows, bool):
            return self[[int(rows)]]
        asked = np.asarray(rows)
        if asked.dtype == np.bool_:
            return self._take(np.flatnonzero(as_mask(asked, len(self))))
        if asked.size and (asked.ndim != 1 or asked.dtype.kind not in "iu"):
            raise TypeError(f"table[{rows!r}]: {asked.dtype} {asked.shape} is no slice, row numbers or mask")
        asked = np.arange(len(self))[asked.astype(np.intp)]  # an IndexError for rows that are not there
        if len(np.unique(asked)) < len(asked):
            raise UsageError("a row is taken twice, but a key names one row; resample table.X and table.y instead")
        return self._take(asked)

    def __getstate__(self) -> dict[str, Any]:
        # A pickle holds the features of this table's rows, once and as they are stored.
        return {**vars(self), "_stored": self._stored_rows(slice(None)), "_rows": None, "_read": None}

    def __repr__(self) -> str:
        return f"<FeatureTable {self.describe().line}>"

    def _repr_html_(self) -> str:
        return self.describe()._repr_html_()  # pyright: ignore[reportPrivateUsage]  # IPython's name, not a secret

    def _stored_rows(self, rows: slice) -> Batch:
        """Return stored features of rows of this table; a copy when it is a table of chosen rows, else a view."""
        return self._stored[rows] if self._rows is None else self._stored[self._rows[rows]]

    def _take(self, rows: npt.NDArray[np.intp]) -> Self:
        taken = self._with_head(self._metadata.take(rows))
        taken._rows = rows if self._rows is None else self._rows[rows]
        taken._read = None if self._read is None else self._read[rows]
        return taken

    def _with_head(self, head: TableHead) -> Self:
        table = type(self).__new__(type(self))
        table._metadata, table._stored, table._rows, table._read = head, self._stored, self._rows, self._read
        return table
