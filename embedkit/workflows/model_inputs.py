"""What a model takes: images, or a table some of whose columns are images; and its rows from a source.

The images of a row are known by their digests from then on. `as_input` puts the digests where the images would stand,
for embedders whose ``input`` is ``"key"``: each image is read once, whatever kind of source it is from.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline

from embedkit.embedder import ImageEmbedder
from embedkit.errors import ManifestError, MissingExtraError, SourceNotFoundError, UsageError
from embedkit.images import DELIMITERS, ImageSource, is_url, open_source, read_frame, rows_of
from embedkit.persistence import Model, fitted_parts

_TABLES = (*DELIMITERS, ".parquet", ".pq")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInputs:
    """What a model takes.

    Attributes
    ----------
    columns : dict of str to (str or None)
        By embedder, as in `Model.embedders`: the column of a table that holds its images; None where the model takes
        no table but images.
    others : list of str
        Further columns of the table that the model reads.
    """

    columns: dict[str, str | None]
    others: list[str]

    @property
    def images(self) -> list[str]:
        """The columns of images, each once."""
        return [name for name in dict.fromkeys(self.columns.values()) if name is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRows:
    """The rows of a source, as a model takes them.

    Attributes
    ----------
    keys : list of str
        One a row, unique.
    sources : dict of (str or None) to ImageSource
        The images, by the column that holds them; None where the model takes images alone.
    frame : pandas.DataFrame or None
        The table, where there is one.
    """

    keys: list[str]
    sources: dict[str | None, ImageSource]
    frame: Any = None

    def as_input(self, digests: Mapping[str | None, npt.NDArray[np.uint8]], rows: npt.NDArray[np.intp]) -> Any:
        """Return some rows as the model takes them, digests in the place of images.

        Parameters
        ----------
        digests : mapping of (str or None) to ndarray of shape (n_rows, 32), uint8
            By column, as `sources`.
        rows : ndarray of shape (n,), int
        """
        if None in digests:
            return _as_keys(digests[None][rows])
        keys = {str(column): _as_keys(found[rows]) for column, found in digests.items()}
        if self.frame is None:
            return _pandas("a model that takes a table").DataFrame(keys)
        return self.frame.iloc[rows].assign(**keys)


def _as_keys(digests: npt.NDArray[np.uint8]) -> list[str]:
    return [digest.tobytes().hex() for digest in digests]


def inputs_of(model: Model) -> ModelInputs:
    """Return what a model takes.

    Raises
    ------
    UsageError
        Images reach an embedder by another step, or other steps read them too: no telling what the model takes.
    """
    names = {id(embedder): name for name, embedder in model.embedders.items()}
    columns: dict[str, str | None] = {}
    others: list[str] = []
    read_by_others: set[str | None] = set()
    for part, taken in _takers(model.pipeline, None):
        if id(part) in names:
            columns[names[id(part)]] = None if taken is None else taken[0]
        else:
            read_by_others.update([None] if taken is None else taken)
            others.extend(taken or [])
    hidden = [name for name in names.values() if name not in columns]
    mixed = sorted(str(column or "X") for column in read_by_others & set(columns.values()))
    if hidden or mixed or len({column is None for column in columns.values()}) != 1:
        why = (
            f"{hidden[0]} is not the first to see its images"
            if hidden
            else f"other steps than embedders read {mixed[0]} too"
            if mixed
            else "some of its embedders take X and others a column of it"
        )
        raise UsageError(f"predict cannot tell what this model takes: {why}; {_in_python()}")
    return ModelInputs(columns=columns, others=list(dict.fromkeys(others)))


def open_rows(inputs: ModelInputs, source: Any) -> ModelRows:
    """Return the rows of a source as a model takes them.

    Parameters
    ----------
    inputs : ModelInputs
    source : path, sequence of images, or pandas.DataFrame
        For a model that takes a table: a ``.csv``, ``.tsv`` or ``.parquet`` file with its columns, or a frame. Relative
        paths of images are against the folder of the file. A model whose only column holds images takes any source
        of images, too.

    Raises
    ------
    UsageError
        The model takes a table, and the source is none, or lacks columns.
    SourceNotFoundError
        There is no such table.
    MissingExtraError
        A table was given, and pandas is not installed.
    """
    if not inputs.images:
        images = open_source(source)
        return ModelRows(keys=images.keys, sources={None: images})
    frame, folder = _read_frame(source, inputs.images)
    wanted = [*inputs.images, *(name for name in inputs.others if name not in inputs.images)]
    missing = wanted if frame is None else [name for name in wanted if name not in frame.columns]
    if missing and len(wanted) == 1:
        images = open_source(source)
        return ModelRows(keys=images.keys, sources={wanted[0]: images})
    if missing:
        kinds = [f"{name} (images)" if name in inputs.images else name for name in wanted]
        got = f"{source} has no {', '.join(missing)}" if frame is not None else f"{_shown(source)} is no table"
        raise UsageError(
            f"{got}; the model takes a .csv, .tsv or .parquet file with the columns {', '.join(kinds)}, "
            f"as it was fitted; {_in_python()}"
        )
    sources: dict[str | None, ImageSource] = {}
    for name in inputs.images:
        sources[name] = rows_of(cast(Any, frame)[name], root=folder, missing=True)
    return ModelRows(keys=sources[inputs.images[0]].keys, sources=sources, frame=frame)


def _takers(one: Any, columns: list[str] | None) -> Iterator[tuple[Any, list[str] | None]]:
    """Yield the steps that see what a model is given, with the columns that each sees of it; None for all of it."""
    if isinstance(one, str):  # "drop", "passthrough"
        if one != "drop":
            yield one, columns
    elif isinstance(one, Pipeline):
        steps = [step for _, step in fitted_parts(one) if step is not None and not isinstance(step, str)]
        if steps:
            yield from _takers(steps[0], columns)
    elif isinstance(one, FeatureUnion):
        for _, part in fitted_parts(one):
            yield from _takers(part, columns)
    elif isinstance(one, ColumnTransformer):
        for name, part in fitted_parts(one):
            yield from _takers(part, _selected(one, name))
    elif isinstance(one, ImageEmbedder):
        yield one, columns
    elif Model(pipeline=one).embedders:  # a search or an ensemble hands X to what it has fitted
        for part in _members(one):
            yield from _takers(part, columns)
    else:
        yield one, columns


def _members(one: Any) -> Iterator[Any]:
    """Yield what is in an ensemble and has embedders inside; what it fits on their outcomes has none."""
    for _, part in fitted_parts(one):
        if isinstance(part, list):
            yield from (member for member in cast(list[Any], part) if Model(pipeline=member).embedders)
        elif Model(pipeline=part).embedders:
            yield part


def _selected(transformer: ColumnTransformer, name: str) -> list[str]:
    """Return the names of the columns that a fitted part of a ColumnTransformer takes."""
    names: Any = getattr(transformer, "feature_names_in_", None)
    if names is None:
        raise UsageError(f"the model was fitted on an array, whose columns have no names; {_in_python()}")
    # There is no public way to them that does for lists, slices, masks and what remains alike.
    places: list[int] = cast(Any, transformer)._transformer_to_input_indices[name]
    return [str(names[place]) for place in places]


def _read_frame(source: Any, images: list[str]) -> tuple[Any, str | None]:
    """Return a table as a frame of pandas, and the folder of its paths; None for what is no table."""
    if hasattr(source, "iloc") and hasattr(source, "columns"):
        return source, None
    if hasattr(source, "to_pandas"):  # a frame of polars
        return source.to_pandas(), None
    if not isinstance(source, str | os.PathLike):
        return None, None
    path = Path(cast(str, source))
    suffix = path.suffix.lower()
    if suffix not in _TABLES or path.is_dir() or is_url(os.fspath(cast(str, source))):
        return None, None
    if not path.exists():
        raise SourceNotFoundError(f"{path}: no such file, expected a table with the columns of the model")
    pandas = _pandas(path)
    if suffix not in DELIMITERS:
        return read_frame(str(path)), str(path.parent)
    try:
        texts = dict.fromkeys(images, str)  # a file may be named 0012
        return pandas.read_csv(path, sep=DELIMITERS[suffix], dtype=texts), str(path.parent)
    except Exception as error:  # pandas raises errors of its own
        raise ManifestError(f"{path} cannot be read as a table: {error}") from error


def _pandas(what: object) -> Any:
    try:
        import pandas
    except ImportError as error:
        raise MissingExtraError(f"{what} needs pandas, which is not installed; run: pip install pandas") from error
    return pandas


def _shown(source: Any) -> str:
    return str(cast(object, source)) if isinstance(source, str | os.PathLike) else f"a {type(source).__name__}"


def _in_python() -> str:
    return "or in Python: embedkit.load_model(FILE).pipeline.predict(X), with X as in its fit"
