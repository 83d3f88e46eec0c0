"""ImageEmbedder: a frozen backbone as a scikit-learn transformer, each image through the network once, ever.

Layer: above extraction, below workflows. Imports neither h5py nor timm, and torch only for ``output="torch"``.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
import numpy.typing as npt
from sklearn import get_config
from sklearn.base import BaseEstimator, TransformerMixin

from embedkit.backbones import Backbone, FeatureRequest, PreprocessOverrides, check_batch_size, weights_of
from embedkit.compat import SettledHTML
from embedkit.errors import ImageError, UsageError
from embedkit.extraction import Extraction, KeptBackbone, default_store, recall, resolve, run
from embedkit.images import ImageSource, digests_of, name_root, rows_of
from embedkit.specs import Dtype, Engine, FeatureSpec, Json, Pool, Precision, require_equal
from embedkit.store import FeatureStore


class ImageEmbedder(SettledHTML, TransformerMixin, BaseEstimator):
    """Turn images into features with a frozen timm backbone.

    Features are kept in a store: an image that was embedded before, under whatever name and in whatever process, is not
    put through the network again. Clones and pickles carry no weights.

    Parameters
    ----------
    model : str or function, optional
        A timm name, passed through unchanged: ``"resnet50.a1_in1k"``, ``"hf-hub:org/name"``, ``"local-dir:/folder"``;
        ``"pixels32"`` or ``"colour-histogram"``, the floors that need no weights; or a function that builds a network
        (docs/backbones.md). By default the bundled backbone.
    weights : str or mapping of model to str, default="pretrained"
        ``"pretrained"`` (timm's own), ``"random"``, ``"bundled"`` (from a data package), or a ``.safetensors`` /
        ``.pth`` file. A mapping has those of several models, so that a search may choose among ``model``.
    model_args : mapping, optional
        Further arguments of ``timm.create_model``.
    layer : int or sequence of int, optional
        Index into the model's intermediate layers, negative from the end; by default the output before the classifier.
        Several give a block of columns each, from one pass.
    pool : {"auto", "avg", "cls", "cls+avg", "max", "gem", "map"} or sequence of them, default="auto"
        How a layer's map or tokens become one vector; several go with as many layers, or with a single one.
    precision : {"auto", "fp32", "bf16", "fp16"}, default="auto"
    dtype : {"float32", "float16"}, default="float32"
        The type in which features are stored; `transform` always returns float32.
    device : str, default="auto"
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:0"``.
    engine : {"auto", "torch", "openvino"}, default="auto"
    resize : {"fast", "exact"}, default="fast"
        ``"exact"`` decodes and resizes with Pillow, equal to timm's own transform.
    preprocess : mapping or PreprocessOverrides, optional
        What replaces parts of the model's own preprocessing, as `PreprocessOverrides` names them:
        ``{"input_size": (96, 96), "crop_pct": 1.0}``.
    store : str or Path, optional
        The folder of the feature store; by default the user's (`embedkit info`, ``EMBEDKIT_STORE``).
    batch_size : int, optional
        Images in one forward pass.
    root : str or Path, optional
        The folder against which relative paths are resolved; by default the working folder.
    input : {"path", "key"}, default="path"
        What `X` holds. ``"path"``: images, where a str is always the path of a file. ``"key"``: the keys of images in
        the store, that is the SHA-256 of their bytes, as 64 hexadecimal digits or as rows of uint8 (n_samples, 32)
        such as `FeatureTable.digests`; nothing is read or computed, and what the store does not hold is an error.
    on_error : {"raise", "nan"}, default="raise"
        What becomes of an image that cannot be read or is missing: an error that names it, or a row of NaN whose reason
        is logged (logger ``embedkit``, level INFO).
    output : {"numpy", "torch"}, default="numpy"
        ``"torch"``: `transform` returns a tensor on the embedder's device instead of an array. It excludes
        `set_output`.

    Attributes
    ----------
    spec_ : FeatureSpec
        What the features are, `auto` resolved; set by `fit`.
    n_features_in_ : int
        1 where `fit` saw a data frame; lists and arrays of images have no columns to count.
    feature_names_in_ : ndarray of shape (1,), object
        The name of that data frame's column, where `fit` saw one.

    Notes
    -----
    `X` is a list, object array, pandas or polars column or one-column frame of paths, encoded bytes, PIL images or
    arrays; or one array (n_samples, height, width[, 3 or 4]) of uint8, uint16, bool, or floats from 0 to 1.

    Nothing is learned from images, so `transform` works without `fit`. After `fit` it gives the features of `spec_` or
    raises: parameters that were changed since take effect with the next `fit`.

    With metadata routing, `set_transform_request(keys=True)` lets a pipeline or a grid search pass the names of the
    rows, ``fit(X, y, keys=names)``, for the messages about images that have no path to be named by.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        weights: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]] = "pretrained",
        model_args: Mapping[str, Json] | None = None,
        layer: int | None | Sequence[int | None] = None,
        pool: Pool | Sequence[Pool] = "auto",
        precision: Precision | Literal["auto"] = "auto",
        dtype: Dtype = "float32",
        device: str = "auto",
        engine: Engine | Literal["auto"] = "auto",
        resize: Literal["fast", "exact"] = "fast",
        preprocess: PreprocessOverrides | Mapping[str, Any] | None = None,
        store: str | os.PathLike[str] | None = None,
        batch_size: int | None = None,
        root: str | os.PathLike[str] | None = None,
        input: Literal["path", "key"] = "path",
        on_error: Literal["raise", "nan"] = "raise",
        output: Literal["numpy", "torch"] = "numpy",
    ) -> None:
        self.model = model
        self.weights = weights
        self.model_args = model_args
        self.layer = layer
        self.pool: Pool | Sequence[Pool] = pool
        self.precision: Precision | Literal["auto"] = precision
        self.dtype: Dtype = dtype
        self.device = device
        self.engine: Engine | Literal["auto"] = engine
        self.resize: Literal["fast", "exact"] = resize
        self.preprocess = preprocess
        self.store = store
        self.batch_size = batch_size
        self.root = root
        self.input: Literal["path", "key"] = input
        self.on_error: Literal["raise", "nan"] = on_error
        self.output: Literal["numpy", "torch"] = output

    @classmethod
    def from_spec(
        cls,
        spec: FeatureSpec,
        request: FeatureRequest | Mapping[str, Any] | None = None,
        *,
        weights: str | os.PathLike[str] | None = None,
        device: str = "auto",
        store: str | os.PathLike[str] | None = None,
        batch_size: int | None = None,
        root: str | os.PathLike[str] | None = None,
        input: Literal["path", "key"] = "path",
        on_error: Literal["raise", "nan"] = "raise",
        output: Literal["numpy", "torch"] = "numpy",
    ) -> Self:
        """Return an embedder, fitted, that gives exactly the features of a spec, or an error.

        Parameters
        ----------
        spec : FeatureSpec
        request : FeatureRequest or its record, optional
            What the features were asked for by, such as a table's ``provenance["request"]``; by default the spec's
            architecture with timm's own weights.
        weights : str or path, optional
            Where the weights are now. They have to be those of the spec.
        device, store, batch_size, root, input, on_error, output
            As of the class.
        """
        asked = request if isinstance(request, FeatureRequest) else FeatureRequest.of_spec(spec, request)
        asked = dataclasses.replace(asked.pinned(spec), weights=weights or asked.weights, device=device)
        embedder = cls(
            **asked.parts(),
            store=store,
            batch_size=batch_size,
            root=root,
            input=input,
            on_error=on_error,
            output=output,
        )
        embedder.spec_ = spec
        return embedder

    def fit(self, X: Any, y: Any = None) -> Self:
        """Settle what `auto` stands for; nothing is learned from the images.

        Parameters
        ----------
        X : sequence of images of length n_samples
            Only counted: what `auto` chooses depends on how many there are.
        y : ignored

        Returns
        -------
        self
        """
        rows = len(digests_of(X) if self._takes_keys() else self._source(X))
        self._take_columns(X)
        request, store = self.request(), self._store()
        kept = self._backbone_of(request)
        resolution, backbone = resolve(request, store, expected_images=rows, batch_size=self.batch_size, backbone=kept)
        self._keep(request, resolution.spec, backbone)
        self.spec_ = resolution.spec
        return self

    def fit_transform(  # pyright: ignore[reportIncompatibleMethodOverride]  # fit takes no further parameters
        self, X: Any, y: Any = None, keys: Sequence[str] | None = None
    ) -> Any:
        """Fit and return the features of `X`: the same as `fit` and `transform`, with one look at the images."""
        self._check_output()
        features, spec = self._embed(X, None, keys)
        self._take_columns(X)
        self.spec_ = spec
        return self._as_output(features)

    def transform(self, X: Any, keys: Sequence[str] | None = None) -> Any:
        """Return the features of images.

        Parameters
        ----------
        X : sequence of images of length n_samples
        keys : sequence of str of length n_samples, optional
            Names of the rows, for the message about one that cannot be read; by default their paths or numbers.

        Returns
        -------
        ndarray or torch.Tensor of shape (n_samples, n_features), float32
            As `output` says, or the container of `set_output`. With ``on_error="nan"``, a row of NaN for each image
            that cannot be read.

        Raises
        ------
        UsageError
            ``output="torch"`` and `set_output` ask for two containers at once.
        ImageError
            An image cannot be read and ``on_error="raise"``.
        SpecMismatchError
            The parameters or the weights are not the ones that this embedder was fitted with.
        """
        self._check_output()
        self._check_columns(X)
        return self._as_output(self._embed(X, getattr(self, "spec_", None), keys)[0])

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``imageembedder0``, ``imageembedder1``, ...; one name a feature."""
        spec: FeatureSpec | None = getattr(self, "spec_", None)
        if spec is None:
            # The width is the same in every engine and precision; what `auto` stands for is for `fit` to settle.
            request = dataclasses.replace(self.request(), precision="fp32", engine="torch")
            spec = resolve(request, self._store())[0].spec
        prefix = type(self).__name__.lower()
        return np.array([f"{prefix}{number}" for number in range(spec.backbone.width)], dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = cast(Any, super().__sklearn_tags__())
        tags.requires_fit = False
        tags.no_validation = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __getstate__(self) -> dict[str, Any]:
        # Plain values only: no weights, and nothing that an allow-list would have to know.
        state = dict(cast(dict[str, Any], super().__getstate__()))
        state.pop("_loaded", None)
        for name in ("weights", "store", "root"):
            state[name] = os.fspath(state[name]) if isinstance(state[name], os.PathLike) else state[name]
        if isinstance(self.weights, Mapping):
            state["weights"] = {name: os.fspath(file) for name, file in self.weights.items()}
        state["model"] = self.request().model if callable(self.model) else self.model
        if isinstance(self.preprocess, PreprocessOverrides):
            state["preprocess"] = self.preprocess.given()
        if "spec_" in state:
            state["spec_"] = state["spec_"].to_dict()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "spec_" in state:
            state = {**state, "spec_": FeatureSpec.from_dict(state["spec_"])}
        cast(Any, super()).__setstate__(state)

    def request(self) -> FeatureRequest:
        """Return what the parameters ask of an extraction.

        Raises
        ------
        UsageError
            A parameter is out of its range.
        """
        check_batch_size(self.batch_size)
        parts = {field.name: getattr(self, field.name) for field in dataclasses.fields(FeatureRequest)}
        return FeatureRequest(**{**parts, "weights": cast(Any, weights_of(self.model, self.weights))})

    def _check_output(self) -> None:
        """Refuse what cannot be given before any image is looked at."""
        if self.output not in ("numpy", "torch"):
            raise UsageError(f"output={self.output!r} is not known; use 'numpy' or 'torch'")
        configured: dict[str, str] = getattr(self, "_sklearn_output_config", {})
        container = configured.get("transform") or cast(dict[str, Any], get_config())["transform_output"]
        if self.output == "torch" and container != "default":
            raise UsageError(
                f"output='torch' and set_output(transform={container!r}) ask for two containers at once; leave one out"
            )

    def _as_output(self, features: npt.NDArray[np.float32]) -> Any:
        if self.output == "numpy":
            return features
        import torch

        from embedkit.backbones import resolve_device

        return torch.from_numpy(features).to(resolve_device(self.device))  # pyright: ignore[reportUnknownMemberType]

    def _store(self) -> FeatureStore:
        return FeatureStore(default_store() if self.store is None else Path(self.store))

    def _embed(
        self, X: Any, fitted: FeatureSpec | None, keys: Sequence[str] | None
    ) -> tuple[npt.NDArray[np.float32], FeatureSpec]:
        """Return the features of images and their spec, which must be the fitted one where there is one."""
        # What was named stays in the request, so that a change of it since the fit is noticed below.
        request = self.request() if fitted is None else self.request().settled(fitted)
        extraction, names = self._extract(X, request)
        spec = extraction.resolution.spec
        self._keep(request, spec, extraction.backbone)
        if fitted is not None:
            require_equal(
                spec,
                fitted,
                "these are no longer the features that this embedder was fitted with, fit it again to change to them",
            )
        if keys is not None and len(keys) != len(names):
            raise UsageError(f"{len(keys)} keys were given for {len(names)} images, expected one each")
        self._check_failures(extraction, names if keys is None else keys)
        features = np.full((len(extraction.digests), spec.backbone.width), np.nan, dtype=np.float32)
        features[extraction.rows] = extraction.features.get(extraction.digests[extraction.rows])
        return features, spec

    def _extract(self, X: Any, request: FeatureRequest) -> tuple[Extraction, Sequence[str]]:
        """Return where the features of images are, computed if need be, and names of the rows."""
        store, backbone = self._store(), self._backbone_of(request)
        if self._takes_keys():
            digests = digests_of(X)
            return recall(digests, request, store, backbone=backbone), [row.tobytes().hex() for row in digests]
        source = self._source(X)
        return run(source, request, store, batch_size=self.batch_size, backbone=backbone), source.keys

    def _source(self, X: Any) -> ImageSource:
        if self.on_error not in ("raise", "nan"):
            raise UsageError(f"on_error={self.on_error!r} is not known; use 'raise' or 'nan'")
        # Of a fitted one the root may come from a model file.
        if self.root is not None and not hasattr(self, "spec_"):
            name_root(self.root)
        return rows_of(X, root=self.root, missing=self.on_error == "nan")

    def _check_failures(self, extraction: Extraction, names: Sequence[str]) -> None:
        if not extraction.failures:
            return
        if self.on_error == "nan":
            for row, reason in extraction.failures.items():
                logging.getLogger("embedkit").info("row %d, %r, is NaN: %s", row, names[row], reason)
            return
        row, reason = next(iter(extraction.failures.items()))
        more = f" (and {len(extraction.failures) - 1} more)" if len(extraction.failures) > 1 else ""
        raise ImageError(
            f"row {row}, {names[row]!r}: {reason}{more}; leave it out, or use on_error='nan' for a row of NaN"
        )

    def _takes_keys(self) -> bool:
        if self.input not in ("path", "key"):
            raise UsageError(f"input={self.input!r} is not known; use 'path' or 'key'")
        return self.input == "key"

    def _take_columns(self, X: Any) -> None:
        """Remember the column's name if X is a frame, and forget that of an earlier fit."""
        names = _columns(X)
        if names is not None:
            self.feature_names_in_ = np.array(names, dtype=object)
            self.n_features_in_ = len(names)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_, self.n_features_in_

    def _check_columns(self, X: Any) -> None:
        names, fitted = _columns(X), getattr(self, "feature_names_in_", None)
        if names is not None and fitted is not None and names != fitted.tolist():
            raise UsageError(f"X has the columns {names!r}, expected {fitted.tolist()!r} as in fit; select that one")

    def _backbone_of(self, request: FeatureRequest) -> Backbone | None:
        kept: KeptBackbone | None = getattr(self, "_loaded", None)
        return None if kept is None else kept.of(request, self.batch_size)

    def _keep(self, request: FeatureRequest, spec: FeatureSpec, backbone: Backbone | None) -> None:
        if backbone is not None and backbone is not self._backbone_of(request):
            self._loaded = KeptBackbone([request, request.settled(spec)], self.batch_size, backbone)


def _columns(X: Any) -> list[str] | None:
    """Return the names of a data frame's columns; None for anything else."""
    return [str(name) for name in X.columns] if hasattr(X, "columns") and hasattr(X, "shape") else None
