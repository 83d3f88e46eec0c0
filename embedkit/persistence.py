"""Model files: a fitted pipeline with an ImageEmbedder inside in one file, without the backbone's weights.

A model file is a skops archive (zip) with one further member, ``embedkit.json``: what the features are, the classes
and the library versions, readable without building any object. ``"format": 1`` is a pipeline that begins with its only
embedder, whose FeatureSpec stands under ``"spec"``; ``"format": 2`` has the spec of each embedder, wherever it is,
under ``"specs"``, by the names of `Model.embedders`. What format 1 can say is written as format 1.

Loading builds only types of an allow-list. A pickle, joblib's too, runs whatever code its maker put into it, and is
loaded only for those who say that they trust it.

Layer: above the embedder, beside probes. Never imports h5py.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import io
import os
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import sklearn.utils.validation
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import FeatureUnion, Pipeline

from embedkit.backbones import own_names_in, require_trusted
from embedkit.embedder import ImageEmbedder
from embedkit.errors import (
    ModelFileError,
    ModelFileFormatError,
    ModelFileNotFoundError,
    UntrustedModelError,
    UsageError,
)
from embedkit.files import commit_to, parse_json
from embedkit.specs import FeatureSpec, canonical_json

_RECORD = "embedkit.json"
_FORMAT = 2
_ZIP = b"PK\x03\x04"
# How pickles of protocol 2 and later begin, and joblib's compressed ones: zlib, gzip, bzip2, xz, lzma, lz4.
_PICKLES = (b"\x80", b"x\x01", b"x^", b"x\x9c", b"x\xda", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"]\x00", b"\x04\x22M\x18")
_LIBRARIES = ("embedkit", "scikit-learn", "numpy", "skops")

# Every type of embedkit that a pipeline may hold. Of scikit-learn's and NumPy's, skops knows the public ones that
# cannot run code of the file's maker. Those listed here hold plain values, too, and none has a __setstate__ or a
# __reduce__ of its own that does more than take them; the functions compute from arrays and do nothing else.
# Not here, for a reason: trees, whose nodes compiled code follows unchecked; distributions of scipy.stats, which
# compile text that they hold.
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
        "numpy.dtype",  # read from an empty array without pickle; inside SimpleImputer and KBinsDiscretizer
        "numpy.number",  # an abstract type, by which columns are selected
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.compose._column_transformer._RemainderColsList",  # a list, up to scikit-learn 1.6
        "sklearn.compose._column_transformer.make_column_selector",
        "sklearn.feature_selection._univariate_selection.f_classif",
        "sklearn.feature_selection._univariate_selection.f_regression",
        "sklearn.metrics._classification.accuracy_score",
        "sklearn.metrics._classification.balanced_accuracy_score",
        "sklearn.metrics._classification.f1_score",
        "sklearn.metrics._classification.log_loss",
        "sklearn.metrics._classification.precision_score",
        "sklearn.metrics._classification.recall_score",
        "sklearn.metrics._ranking.average_precision_score",
        "sklearn.metrics._ranking.roc_auc_score",
        "sklearn.metrics._ranking.top_k_accuracy_score",
        "sklearn.metrics._regression.mean_absolute_error",
        "sklearn.metrics._regression.mean_squared_error",
        "sklearn.metrics._regression.r2_score",
        "sklearn.metrics._regression.root_mean_squared_error",
        "sklearn.metrics._scorer._CurveScorer",  # a scorer calls its function when it scores, not when it is loaded
        "sklearn.metrics._scorer._PassthroughScorer",
        "sklearn.metrics._scorer._Scorer",
        "sklearn.model_selection._search_successive_halving.HalvingGridSearchCV",  # not public, being experimental
        "sklearn.model_selection._search_successive_halving.HalvingRandomSearchCV",
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
    """A fitted pipeline, and what its features must be.

    `pipeline` predicts: ``load_model(path).pipeline.predict(photos)``.

    Attributes
    ----------
    pipeline : sklearn.pipeline.Pipeline, or a search or another estimator of scikit-learn
        There is a fitted `ImageEmbedder` inside, or several.
    """

    pipeline: Any

    @property
    def embedders(self) -> dict[str, ImageEmbedder]:
        """The fitted embedders, by their way in: ``"imageembedder"``, ``"columntransformer__photo"``.

        The names of steps, of transformers, and of the attributes of a search or an ensemble, whose embedder may be
        ``"best_estimator__imageembedder"``. To say where weights or the store are now:
        ``model.embedders[name].set_params(weights=..., store=...)``.
        """
        return dict(_embedders("", self.pipeline, set()))

    @property
    def specs(self) -> dict[str, FeatureSpec]:
        """The features that each embedder makes, and that what comes after it was fitted on."""
        return {name: embedder.spec_ for name, embedder in self.embedders.items()}

    @property
    def spec(self) -> FeatureSpec:
        """The only one of `specs`.

        Raises
        ------
        UsageError
            There are several embedders.
        """
        specs = self.specs
        if len(specs) != 1:
            raise UsageError(f"the model has {len(specs)} embedders ({', '.join(specs)}), not one; take model.specs")
        return next(iter(specs.values()))

    @property
    def classes(self) -> list[Any]:
        """The classes; a list of them for each output, where there are several; empty for a regressor."""
        classes: Any = getattr(self.pipeline, "classes_", [])
        if isinstance(classes, list):
            return [np.asarray(one).tolist() for one in cast(list[Any], classes)]
        return np.asarray(classes).tolist()

    @property
    def begins_with_its_embedder(self) -> bool:
        """Whether the pipeline is one embedder and steps behind it."""
        steps: list[tuple[str, Any]] = getattr(self.pipeline, "steps", [])
        return bool(steps) and [*self.embedders.values()] == [steps[0][1]]


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
        The pipeline holds a type that loading would refuse.
    StoreWriteError
        The file cannot be written.
    """
    skops_io = _skops_io()

    kept = model if isinstance(model, Model) else Model(pipeline=model)
    lack = _lack(kept)
    if lack is not None:
        raise UsageError(f"a {type(kept.pipeline).__name__} {lack}")
    content = skops_io.dumps(kept.pipeline, compression=zipfile.ZIP_DEFLATED)
    _require_trusted(
        content,
        "the pipeline",
        "keep to scikit-learn's own estimators and functions, trees and forests excepted (of a search, best_estimator_ "
        "may do), or save with joblib and load with trust_pickle=True",
    )
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
    _check_record(content, path)
    _require_trusted(content, f"the model file {path}", "load it with skops yourself if you trust where it comes from")
    try:
        model = Model(pipeline=_skops_io().loads(content, trusted=sorted(TRUSTED_TYPES)))
        lack = _lack(model)
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


def _skops_io() -> Any:
    """Import skops, which imports every module of scikit-learn, but not those that import torch and dask in their turn.

    A prediction from features that the store holds takes half the time then.
    """
    held = [f"sklearn.externals.array_api_compat.{name}" for name in ("torch", "dask")]
    held = [name for name in held if name not in sys.modules]
    sys.modules.update(dict.fromkeys(held))  # pyright: ignore[reportArgumentType, reportCallIssue]
    try:
        import skops.io

        return skops.io
    finally:
        for name in held:
            del sys.modules[name]


def _is_pickle(content: bytes, path: Path) -> bool:
    """Whether a file is for pickle or joblib to load: by how it begins or, where that says nothing, by its ending."""
    if content.startswith(_ZIP):
        return False
    return content.startswith(_PICKLES) or path.suffix.lower() in (".joblib", ".pickle", ".pkl")


def _load_pickle(content: bytes, path: Path) -> Model:
    import joblib

    try:
        model = Model(pipeline=joblib.load(io.BytesIO(content)))  # pyright: ignore[reportUnknownMemberType]
        lack = _lack(model)
    except Exception as error:  # a pickle runs code: anything may be raised
        raise ModelFileFormatError(
            f"the pickle {path} cannot be loaded ({type(error).__name__}: {error}); it needs the library versions that "
            "wrote it"
        ) from error
    if lack is not None:
        raise ModelFileFormatError(f"{path} holds a {type(model.pipeline).__name__} {lack}")
    return model


def _lack(model: Model) -> str | None:
    """Return what a model lacks to be one: the end of a sentence, or None."""
    parameters = cast(Any, model.pipeline).get_params().values() if isinstance(model.pipeline, BaseEstimator) else ()
    if not model.embedders and not any(isinstance(one, ImageEmbedder) for one in parameters):
        return "without an ImageEmbedder, expected a fitted Pipeline with an ImageEmbedder inside; put one in, and fit"
    try:
        if model.embedders:
            cast(Any, sklearn.utils.validation).check_is_fitted(model.pipeline)
            return None
    except NotFittedError:
        pass
    return "that is not fitted, expected a fitted Pipeline with an ImageEmbedder inside; fit it (a search with refit)"


def _embedders(name: str, one: Any, seen: set[int]) -> Iterator[tuple[str, ImageEmbedder]]:
    """Yield the fitted embedders in something, each once, with their ways in."""
    if id(one) in seen:  # an ensemble may list its members twice, and a file of a stranger go in circles
        return
    seen.add(id(one))
    if isinstance(one, ImageEmbedder):
        if hasattr(one, "spec_"):
            yield name, one
        return
    for inner, part in fitted_parts(one):
        yield from _embedders(f"{name}__{inner}" if name else inner, part, seen)


def fitted_parts(one: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a fitted estimator works with, by name, and not the templates that this was cloned from."""
    if isinstance(one, Pipeline):
        yield from cast(Any, one).steps
    elif isinstance(one, FeatureUnion):
        yield from cast(Any, one).transformer_list
    elif isinstance(one, ColumnTransformer):
        yield from ((name, transformer) for name, transformer, _ in getattr(one, "transformers_", []))
    elif isinstance(one, FrozenEstimator):
        yield "estimator", cast(Any, one).estimator
    elif isinstance(one, BaseEstimator):
        for attribute, value in vars(one).items():
            if attribute.endswith("_"):
                yield attribute.rstrip("_"), value
    elif isinstance(one, list):
        yield from ((str(number), part) for number, part in enumerate(cast(list[Any], one)))
    elif type(one).__name__ == "_CalibratedClassifier":  # a member of CalibratedClassifierCV, no estimator itself
        yield "estimator", one.estimator


def _check_record(content: bytes, path: Path) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            number = int(parse_json(archive.read(_RECORD))["format"])
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise ModelFileFormatError(
            f"{path} is not a model file of embedkit ({error}); `embedkit fit` and embedkit.save_model write one"
        ) from error
    if number > _FORMAT:
        raise ModelFileFormatError(
            f"{path} has model format {number}, this embedkit reads up to {_FORMAT}; upgrade embedkit"
        )


def _require_trusted(content: bytes, what: str, advice: str) -> None:
    skops_io = _skops_io()

    try:
        unknown = set(skops_io.get_untrusted_types(data=content)) - TRUSTED_TYPES
    except Exception as error:  # the same as in load_model
        raise ModelFileFormatError(f"{what} cannot be read: {type(error).__name__}: {error}") from error
    if unknown:
        raise UntrustedModelError(
            f"{what} holds types that embedkit does not load: {', '.join(sorted(unknown))}; {advice}"
        )
