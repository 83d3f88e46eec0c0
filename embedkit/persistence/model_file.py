"""Model files: a fitted pipeline with an ImageEmbedder inside in one file, without the backbone's weights.

A model file is a skops archive (zip) with one further member, ``embedkit.json``: what the features are, the classes
and the library versions, readable without building any object. ``"format": 1`` is a pipeline that begins with its only
embedder, whose FeatureSpec stands under ``"spec"``; ``"format": 2`` has the spec of each embedder, wherever it is,
under ``"specs"``, by the names of `Model.embedders`. What format 1 can say is written as format 1.

Loading builds only types of an allow-list, and checks what it built before anything predicts. A pickle, joblib's too,
runs whatever code its maker put into it, and is loaded only for those who say that they trust it.

Layer: persistence; above its other modules.
"""

from __future__ import annotations

import importlib.metadata
import io
import os
import zipfile
from pathlib import Path
from typing import Any

from embedkit.backbones import own_names_in, require_trusted
from embedkit.errors import (
    ForbiddenUrlError,
    ModelFileError,
    ModelFileFormatError,
    ModelFileNotFoundError,
    UnreadableFileError,
    UntrustedModelError,
    UsageError,
)
from embedkit.files import commit_to, read_small
from embedkit.persistence.archive import RECORD, check_archive, read_record, skops_io
from embedkit.persistence.model import Model, lack_of
from embedkit.persistence.trusted import TRUSTED_TYPES
from embedkit.persistence.validators import MisfitError, check_templates, validate
from embedkit.specs import canonical_json

_MOST_BYTES = 8 << 30

_ZIP = b"PK\x03\x04"
# How pickles of protocol 2 and later begin, and joblib's compressed ones: zlib, gzip, bzip2, xz, lzma, lz4.
_PICKLES = (b"\x80", b"x\x01", b"x^", b"x\x9c", b"x\xda", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"]\x00", b"\x04\x22M\x18")
_LIBRARIES = ("embedkit", "scikit-learn", "numpy", "skops")
_ADVICE = (
    "keep to scikit-learn's own estimators and functions that embedkit.persistence.TRUSTED_TYPES lists (of a search, "
    "best_estimator_ may do), or save with joblib and load with trust_pickle=True"
)


def save_model(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a model file; an existing one is replaced only when the new one is complete.

    Parameters
    ----------
    model : sklearn.pipeline.Pipeline or Model
        A fitted pipeline with an `ImageEmbedder` inside, or several, anywhere: as first step, in a `ColumnTransformer`
        or a `FeatureUnion`, in pipelines within; a whole search or ensemble of such pipelines; or what `load_model`
        returns.
    path : path

    Raises
    ------
    UsageError
        There is no embedder in it, or it is not fitted.
    UntrustedModelError
        The pipeline holds a type or an array that loading would refuse.
    StoreWriteError
        The file cannot be written.
    """
    kept = model if isinstance(model, Model) else Model(pipeline=model)
    lack = lack_of(kept)
    if lack is not None:
        raise UsageError(f"a {type(kept.pipeline).__name__} {lack}")
    content = skops_io().dumps(kept.pipeline, compression=zipfile.ZIP_DEFLATED)
    check_archive(content, "the pipeline", _ADVICE)
    try:
        validate(kept.pipeline)
    except MisfitError as error:
        raise UntrustedModelError(f"the pipeline could not be loaded again: {error}; {_ADVICE}") from error
    # Format 1 where it does, so that an embedkit that knows no other reads it.
    specs = (
        {"format": 1, "spec": kept.spec.to_dict()}
        if kept.begins_with_its_embedder
        else {"format": 2, "specs": {name: spec.to_dict() for name, spec in kept.specs.items()}}
    )
    record = {
        **specs,
        "classes": kept.classes,
        "versions": {name: importlib.metadata.version(name) for name in _LIBRARIES},
    }
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(RECORD, canonical_json(record))
    commit_to(Path(path), [buffer.getvalue()], sealed=False)


def check_saveable(estimator: Any) -> None:
    """Refuse, before it is fitted, what could not be saved as a model file and loaded again.

    Parameters
    ----------
    estimator : estimator of scikit-learn or embedkit
        Fitted or not.

    Raises
    ------
    UntrustedModelError
        It holds a type that loading would refuse, or a parameter that makes one.

    Examples
    --------
    >>> from sklearn.preprocessing import FunctionTransformer
    >>> from embedkit.persistence import check_saveable
    >>> check_saveable(FunctionTransformer(print))  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    embedkit.errors.UntrustedModelError: FunctionTransformer holds types that embedkit does not load: builtins.print
    """
    name = type(estimator).__name__
    try:
        content = skops_io().dumps(estimator)
    except Exception as error:  # skops asks each object for its state
        raise UntrustedModelError(f"{name} cannot be written to a file: {error}; {_ADVICE}") from error
    check_archive(content, name, _ADVICE)
    try:
        check_templates(estimator)
    except MisfitError as error:
        raise UntrustedModelError(f"{error} ({_ADVICE})") from error


def load_model(path: str | os.PathLike[str], *, trust_pickle: bool = False) -> Model:
    """Read a model file.

    Parameters
    ----------
    path : path
        A file of `save_model`, or with `trust_pickle` a fitted pipeline that joblib or pickle wrote.
    trust_pickle : bool, default=False
        Load pickles. They run whatever code their maker put into them: only for files whose whole way you know.

    Raises
    ------
    ModelFileNotFoundError
        There is no such file.
    ModelFileFormatError
        It is no model file of embedkit, one of a newer major version, or holds arrays that no fitting makes.
    UntrustedModelError
        It holds types outside the allow-list, or is a pickle and `trust_pickle` was not given.
    """
    path = Path(path)
    try:
        content = read_small(path, _MOST_BYTES)
    except FileNotFoundError:
        raise ModelFileNotFoundError(f"no model file {path}; `embedkit fit` writes one") from None
    except UnreadableFileError as error:
        raise ModelFileError(f"the model file {error}") from error
    if _is_pickle(content, path):
        if not trust_pickle:
            raise UntrustedModelError(
                f"{path} is a pickle, which can run any code when it is loaded; expected a skops file; if you know its "
                "whole way here, load it with --trust-pickle (trust_pickle=True)"
            )
        return _load_pickle(content, path)
    read_record(content, str(path))
    check_archive(content, f"the model file {path}", "load it with skops yourself if you trust where it comes from")
    try:
        model = Model(pipeline=skops_io().loads(content, trusted=sorted(TRUSTED_TYPES)))
        validate(model.pipeline)
        lack = lack_of(model)
    except MisfitError as error:
        raise ModelFileFormatError(
            f"the model file {path} holds what no fitting makes, and is not used: {error}; it is damaged or made up"
        ) from error
    except ForbiddenUrlError as error:
        raise ModelFileFormatError(f"the model file {path} names images where it may not: {error}") from error
    except Exception as error:  # skops builds objects from the archive: a damaged one may raise anything
        raise ModelFileFormatError(
            f"the model file {path} cannot be loaded ({type(error).__name__}: {error}); fit it again with "
            f"scikit-learn {importlib.metadata.version('scikit-learn')}"
        ) from error
    if lack is not None:
        raise ModelFileFormatError(f"{path} holds a {type(model.pipeline).__name__} {lack}")
    for name in sorted(own_names_in(model.pipeline)):
        try:
            require_trusted(name, f"the model file {path}")
        except UsageError as error:
            raise UntrustedModelError(str(error)) from None
    return model


def _is_pickle(content: bytes, path: Path) -> bool:
    """Whether a file is for pickle or joblib to load: by how it begins or, where that says nothing, by its ending."""
    if content.startswith(_ZIP):
        return False
    return content.startswith(_PICKLES) or path.suffix.lower() in (".joblib", ".pickle", ".pkl")


def _load_pickle(content: bytes, path: Path) -> Model:
    import joblib

    try:
        model = Model(pipeline=joblib.load(io.BytesIO(content)))  # pyright: ignore[reportUnknownMemberType]
        lack = lack_of(model)
    except Exception as error:  # a pickle runs code: anything may be raised
        raise ModelFileFormatError(
            f"the pickle {path} cannot be loaded ({type(error).__name__}: {error}); it needs the library versions that "
            "wrote it"
        ) from error
    if lack is not None:
        raise ModelFileFormatError(f"{path} holds a {type(model.pipeline).__name__} {lack}")
    return model
