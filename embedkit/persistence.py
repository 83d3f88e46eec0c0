"""Model files: a fitted Pipeline(ImageEmbedder, ...) in one file, without the backbone's weights.

A model file is a skops archive (zip) with one further member, ``embedkit.json``: the spec of the features, the classes
and the library versions, readable without building any object. Loading builds only types of an allow-list. A pickle,
joblib's too, runs whatever code its maker put into it, and is loaded only for those who say that they trust it.

Layer: above the embedder, beside probes. Never imports h5py.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embedkit.errors import (
    ModelFileError,
    ModelFileFormatError,
    ModelFileNotFoundError,
    UntrustedModelError,
    UsageError,
)
from embedkit.specs import FeatureSpec, canonical_json
from embedkit.store import commit_to

_RECORD = "embedkit.json"
_FORMAT = 1
_ZIP = b"PK\x03\x04"
# How pickles of protocol 2 and later begin, and joblib's compressed ones: zlib, gzip, bzip2, xz, lzma, lz4.
_PICKLES = (b"\x80", b"x\x01", b"x^", b"x\x9c", b"x\xda", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"]\x00", b"\x04\x22M\x18")
_LIBRARIES = ("embedkit", "scikit-learn", "numpy", "skops")

# Every type of embedkit that a pipeline may hold. Of scikit-learn's and NumPy's, skops knows the public ones that
# cannot run code of the file's maker; these hold plain values, too, and calibration, stacking and searches need them.
TRUSTED_TYPES = frozenset(
    {
        "embedkit.embedder.ImageEmbedder",
        "embedkit.estimators.logistic.LogisticRegression",
        "embedkit.estimators.logistic_path.LogisticRegressionPath",
        "embedkit.estimators.nearest_rows.NearestRows",  # inside KNeighborsClassifier
        "embedkit.estimators.neighbors.KNeighborsClassifier",
        "embedkit.estimators.neighbors.NearestClassMean",
        "embedkit.estimators.streaming_lda.StreamingLDA",
        "embedkit.estimators.streaming_pca.StreamingPCA",
        "embedkit.estimators.streaming_ridge.StreamingRidge",
        "embedkit.estimators.streaming_ridge.StreamingRidgeClassifier",
        "embedkit.estimators.sufficient_statistics.SufficientStatistics",
        "embedkit.estimators.transformers.SignedPower",
        "embedkit.estimators.transformers.ViewAverage",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.metrics._scorer._PassthroughScorer",
        "sklearn.model_selection._split.GroupKFold",
        "sklearn.model_selection._split.KFold",
        "sklearn.model_selection._split.StratifiedGroupKFold",
        "sklearn.model_selection._split.StratifiedKFold",
        "sklearn.utils._bunch.Bunch",
        "sklearn.utils._metadata_requests.MetadataRequest",  # inside searches, up to scikit-learn 1.6
        "sklearn.utils._metadata_requests.MethodMetadataRequest",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A fitted pipeline and what its features must be.

    `pipeline` predicts: ``load_model(path).pipeline.predict(photos)``.

    Attributes
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Its first step is an `ImageEmbedder`.
    spec : FeatureSpec
        The features that the later steps were fitted on.
    classes : list of str
    """

    pipeline: Any
    spec: FeatureSpec
    classes: list[str]


def save_model(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a model file; an existing one is replaced only when the new one is complete.

    Parameters
    ----------
    model : sklearn.pipeline.Pipeline or Model
        A fitted pipeline whose first step is an `ImageEmbedder`, or what `load_model` and `embedkit.fit` return.
    path : path

    Raises
    ------
    UsageError
        It is no such pipeline, or not fitted.
    UntrustedModelError
        The pipeline holds a type that loading would refuse.
    StoreWriteError
        The file cannot be written.
    """
    import skops.io

    kept = model if isinstance(model, Model) else _model_of(model)
    if kept is None:
        raise UsageError(
            f"a {type(model).__name__} is not to be saved, expected a fitted Pipeline whose first step is an "
            "ImageEmbedder; put the embedder first, and fit"
        )
    content = skops.io.dumps(kept.pipeline, compression=zipfile.ZIP_DEFLATED)
    _require_trusted(
        content,
        "the pipeline",
        "keep to scikit-learn's own estimators and functions, trees and forests excepted, or save with joblib and load "
        "with trust_pickle=True",
    )
    record = {
        "format": _FORMAT,
        "spec": kept.spec.to_dict(),
        "classes": kept.classes,
        "versions": {name: importlib.metadata.version(name) for name in _LIBRARIES},
    }
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_RECORD, canonical_json(record))
    commit_to(Path(path), [buffer.getvalue()], sealed=False)


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
        It is no model file of embedkit, or one of a newer major version.
    UntrustedModelError
        It holds types outside the allow-list, or is a pickle and `trust_pickle` was not given.
    """
    import skops.io

    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ModelFileNotFoundError(f"no model file {path}; `embedkit fit` writes one") from None
    except OSError as error:
        raise ModelFileError(f"the model file {path} cannot be read: {error.strerror}") from error
    if _is_pickle(content, path):
        if not trust_pickle:
            raise UntrustedModelError(
                f"{path} is a pickle, which can run any code when it is loaded; expected a skops file; if you know its "
                "whole way here, load it with --trust-pickle (trust_pickle=True)"
            )
        return _load_pickle(content, path)
    record = _read_record(content, path)
    _require_trusted(content, f"the model file {path}", "load it with skops yourself if you trust where it comes from")
    try:
        pipeline = skops.io.loads(content, trusted=sorted(TRUSTED_TYPES))
        return Model(pipeline=pipeline, spec=FeatureSpec.from_dict(record["spec"]), classes=record["classes"])
    except Exception as error:  # skops builds objects from the archive: a damaged one may raise anything
        raise ModelFileFormatError(
            f"the model file {path} cannot be loaded ({type(error).__name__}: {error}); fit it again with "
            f"scikit-learn {importlib.metadata.version('scikit-learn')}"
        ) from error


def _is_pickle(content: bytes, path: Path) -> bool:
    """Whether a file is for pickle or joblib to load: by how it begins or, where that says nothing, by its ending."""
    if content.startswith(_ZIP):
        return False
    return content.startswith(_PICKLES) or path.suffix.lower() in (".joblib", ".pickle", ".pkl")


def _load_pickle(content: bytes, path: Path) -> Model:
    import joblib

    try:
        pipeline: Any = joblib.load(io.BytesIO(content))  # pyright: ignore[reportUnknownMemberType]
    except Exception as error:  # a pickle runs code: anything may be raised
        raise ModelFileFormatError(
            f"the pickle {path} cannot be loaded ({type(error).__name__}: {error}); it needs the library versions that "
            "wrote it"
        ) from error
    model = _model_of(pipeline)
    if model is None:
        raise ModelFileFormatError(
            f"{path} holds a {type(pipeline).__name__}, expected a Pipeline whose first step is a fitted ImageEmbedder"
        )
    return model


def _model_of(pipeline: Any) -> Model | None:
    """Return a fitted pipeline with what its first step, an embedder, knows of the features; None for others."""
    steps: list[tuple[str, Any]] = getattr(pipeline, "steps", [])
    spec = getattr(steps[0][1], "spec_", None) if steps else None
    if not isinstance(spec, FeatureSpec):
        return None
    return Model(pipeline=pipeline, spec=spec, classes=np.asarray(getattr(pipeline, "classes_", [])).tolist())


def _read_record(content: bytes, path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            record = json.loads(archive.read(_RECORD))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ModelFileFormatError(
            f"{path} is not a model file of embedkit ({error}); `embedkit fit` and embedkit.save_model write one"
        ) from error
    if record.get("format", 0) > _FORMAT:
        raise ModelFileFormatError(
            f"{path} has model format {record['format']}, this embedkit reads up to {_FORMAT}; upgrade embedkit"
        )
    return record


def _require_trusted(content: bytes, what: str, advice: str) -> None:
    import skops.io

    try:
        unknown = set(skops.io.get_untrusted_types(data=content)) - TRUSTED_TYPES
    except Exception as error:  # the same as in load_model
        raise ModelFileFormatError(f"{what} cannot be read: {type(error).__name__}: {error}") from error
    if unknown:
        raise UntrustedModelError(
            f"{what} holds types that embedkit does not load: {', '.join(sorted(unknown))}; {advice}"
        )
