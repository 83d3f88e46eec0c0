"""Model files: a fitted Pipeline(ImageEmbedder, ...) in one file, without the backbone's weights.

A model file is a skops archive (zip) with one further member, ``embedkit.json``: the spec of the features, the classes
and the library versions, readable without building any object. Loading builds only types of an allow-list; a pickle is
refused.

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

from embedkit.errors import ModelFileError, ModelFileFormatError, ModelFileNotFoundError, UntrustedModelError
from embedkit.specs import FeatureSpec, canonical_json
from embedkit.store import commit_to

_RECORD = "embedkit.json"
_FORMAT = 1
_LIBRARIES = ("embedkit", "scikit-learn", "numpy", "skops")

# Every type of embedkit that a pipeline may hold; scikit-learn's and NumPy's own are known to skops.
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
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A fitted pipeline and what its features must be.

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


def save_model(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a model file; an existing one is replaced only when the new one is complete.

    Raises
    ------
    UntrustedModelError
        The pipeline holds a type that loading would refuse.
    StoreWriteError
        The file cannot be written.
    """
    import skops.io

    content = skops.io.dumps(model.pipeline)
    _require_trusted(content, "the pipeline", "fit it with estimators of scikit-learn or embedkit")
    record = {
        "format": _FORMAT,
        "spec": model.spec.to_dict(),
        "classes": model.classes,
        "versions": {name: importlib.metadata.version(name) for name in _LIBRARIES},
    }
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(_RECORD, canonical_json(record))
    commit_to(Path(path), [buffer.getvalue()], sealed=False)


def load_model(path: str | os.PathLike[str]) -> Model:
    """Read a model file.

    Raises
    ------
    ModelFileNotFoundError
        There is no such file.
    ModelFileFormatError
        It is no model file of embedkit, or one of a newer major version.
    UntrustedModelError
        It holds types outside the allow-list, or is a pickle.
    """
    import skops.io

    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ModelFileNotFoundError(f"no model file {path}; `embedkit fit` writes one") from None
    except OSError as error:
        raise ModelFileError(f"the model file {path} cannot be read: {error.strerror}") from error
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


def _read_record(content: bytes, path: Path) -> dict[str, Any]:
    if content[:1] == b"\x80":
        raise UntrustedModelError(
            f"{path} is a pickle, which can run any code when it is loaded; expected a skops file"
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            record = json.loads(archive.read(_RECORD))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ModelFileFormatError(
            f"{path} is not a model file of embedkit ({error}); `embedkit fit` writes one"
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
