"""ImageEmbedder: a frozen backbone as a scikit-learn transformer, each image through the network once, ever.

Layer: above extraction, below probes and workflows. Never imports h5py or timm itself, and torch only for
``output="torch"``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
import numpy.typing as npt
from sklearn import get_config
from sklearn.base import BaseEstimator, TransformerMixin

from embedkit.backbones import Backbone, BackboneRequest
from embedkit.errors import ImageError, UsageError
from embedkit.extraction import ExtractionRequest, default_store, overrides_from, resolve, run
from embedkit.images import rows_of
from embedkit.specs import Dtype, Engine, FeatureSpec, Json, Pool, Precision, require_equal
from embedkit.store import FeatureStore


class ImageEmbedder(TransformerMixin, BaseEstimator):
    """Turn images into features with a frozen timm backbone.

    Features are kept in a store: an image that was embedded before, under whatever name and in whatever process, is not
    put through the network again. Clones and pickles carry no weights.

    Parameters
    ----------
    model : str or None
        A timm name, passed through unchanged: ``"resnet50.a1_in1k"``, ``"hf-hub:org/name"``, ``"local-dir:/folder"``;
        or ``"pixels32"``, ``"colour-histogram"``, the floors that need no weights; None with ``weights="bundled"``.
    weights : str, default="pretrained"
        ``"pretrained"`` (timm's own), ``"random"``, ``"bundled"``, or a ``.safetensors`` / ``.pth`` file.
    model_args : mapping, optional
        Further arguments of ``timm.create_model``.
    layer : int, optional
        Index into the model's intermediate layers, negative from the end; by default the output before the classifier.
    pool : {"auto", "avg", "cls", "cls+avg", "max", "gem"}, default="auto"
        How a layer's map or tokens become one vector.
    precision : {"auto", "fp32", "bf16", "fp16"}, default="auto"
    dtype : {"float32", "float16"}, default="float32"
        The type in which features are stored; `transform` always returns float32.
    device : str, default="auto"
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:0"``.
    engine : {"auto", "torch", "openvino"}, default="auto"
    resize : {"fast", "exact"}, default="fast"
        ``"exact"`` decodes and resizes with Pillow, equal to timm's own transform.
    preprocess : mapping, optional
        What replaces parts of the model's own preprocessing, as `PreprocessOverrides` names them:
        ``{"input_size": (96, 96), "crop_pct": 1.0}``.
    store : str or Path, optional
        The folder of the feature store; by default the user's (`embedkit info`, ``EMBEDKIT_STORE``).
    batch_size : int, optional
        Images in one forward pass.
    root : str or Path, optional
        The folder against which relative paths are resolved; by default the working folder.
    on_error : {"raise", "nan"}, default="raise"
        What becomes of an image that cannot be read: an error that names it, or a row of NaN.
    output : {"numpy", "torch"}, default="numpy"
        ``"torch"``: `transform` returns a tensor on the embedder's device instead of an array. It excludes
        `set_output`.

    Attributes
    ----------
    spec_ : FeatureSpec
        What the features are, `auto` resolved; set by `fit`.

    Notes
    -----
    `X` may be a list, array or data frame column of paths, or a list of encoded bytes, PIL images or uint8 arrays, or
    one uint8 array of shape (n_samples, height, width, 3).
    """

    def __init__(
        self,
        model: str | None,
        *,
        weights: str = "pretrained",
        model_args: Mapping[str, Json] | None = None,
        layer: int | None = None,
        pool: Pool = "auto",
        precision: Precision | Literal["auto"] = "auto",
        dtype: Dtype = "float32",
        device: str = "auto",
        engine: Engine | Literal["auto"] = "auto",
        resize: Literal["fast", "exact"] = "fast",
        preprocess: Mapping[str, Any] | None = None,
        store: str | os.PathLike[str] | None = None,
        batch_size: int | None = None,
        root: str | os.PathLike[str] | None = None,
        on_error: Literal["raise", "nan"] = "raise",
        output: Literal["numpy", "torch"] = "numpy",
    ) -> None:
        self.model = model
        self.weights = weights
        self.model_args = model_args
        self.layer = layer
        self.pool: Pool = pool
        self.precision: Precision | Literal["auto"] = precision
        self.dtype: Dtype = dtype
        self.device = device
        self.engine: Engine | Literal["auto"] = engine
        self.resize: Literal["fast", "exact"] = resize
        self.preprocess = preprocess
        self.store = store
        self.batch_size = batch_size
        self.root = root
        self.on_error = on_error
        self.output: Literal["numpy", "torch"] = output

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
        self.spec_ = self._resolve(len(rows_of(X, root=self.root)))
        return self

    def fit_transform(  # pyright: ignore[reportIncompatibleMethodOverride]  # fit takes no further parameters
        self, X: Any, y: Any = None
    ) -> Any:
        """Fit and return the features of `X`: the same as `fit` and `transform`, with one look at the images."""
        self._check_output()
        features, self.spec_ = self._embed(X, None)
        return self._as_output(features)

    def transform(self, X: Any) -> Any:
        """Return the features of images.

        Parameters
        ----------
        X : sequence of images of length n_samples

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
            The backbone at hand is not the one that this embedder was fitted with.
        """
        self._check_output()
        return self._as_output(self._embed(X, getattr(self, "spec_", None))[0])

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``imageembedder0``, ``imageembedder1``, ...; one name a feature."""
        spec: FeatureSpec = getattr(self, "spec_", None) or self._resolve()
        return np.array([f"imageembedder{number}" for number in range(spec.backbone.width)], dtype=object)

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
        if "spec_" in state:
            state["spec_"] = state["spec_"].to_dict()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "spec_" in state:
            state = {**state, "spec_": FeatureSpec.from_dict(state["spec_"])}
        cast(Any, super()).__setstate__(state)

    def request(self) -> ExtractionRequest:
        """Return what the parameters ask of an extraction.

        Raises
        ------
        UsageError
            A parameter is out of its range.
        """
        try:
            preprocess = overrides_from(self.preprocess or {})
        except TypeError as error:
            raise UsageError(
                f"preprocess is {self.preprocess!r}; expected fields of PreprocessOverrides: {error}"
            ) from error
        return ExtractionRequest(
            backbone=BackboneRequest(
                self.model,
                weights=os.fspath(self.weights),
                model_args=dict(self.model_args or {}),
                layer=self.layer,
                pool=self.pool,
                precision=self.precision,
                engine=self.engine,
                device=self.device,
                preprocess=preprocess,
                resize=self.resize,
            ),
            dtype=self.dtype,
        )

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

    def _resolve(self, expected_images: int | None = None) -> FeatureSpec:
        request = self.request()
        resolution, backbone = resolve(
            request,
            self._store(),
            expected_images=expected_images,
            batch_size=self.batch_size,
            backbone=self._backbone_of(request),
        )
        self._keep(request, backbone)
        return resolution.spec

    def _embed(self, X: Any, fitted: FeatureSpec | None) -> tuple[npt.NDArray[np.float32], FeatureSpec]:
        """Return the features of images and their spec, which must be the fitted one where there is one."""
        if self.on_error not in ("raise", "nan"):
            raise UsageError(f"on_error={self.on_error!r} is not known; use 'raise' or 'nan'")
        request = self.request() if fitted is None else self.request().pinned(fitted)
        source = rows_of(X, root=self.root)
        extraction = run(
            source, request, self._store(), batch_size=self.batch_size, backbone=self._backbone_of(request)
        )
        self._keep(request, extraction.backbone)
        spec = extraction.resolution.spec
        if fitted is not None:
            require_equal(spec, fitted, "the parameters no longer give the features that this embedder was fitted with")
        if extraction.failures and self.on_error == "raise":
            row, reason = next(iter(extraction.failures.items()))
            more = f" (and {len(extraction.failures) - 1} more)" if len(extraction.failures) > 1 else ""
            raise ImageError(
                f"row {row}, {source.keys[row]!r}: {reason}{more}; leave it out, or use on_error='nan' for a row of NaN"
            )
        features = np.full((len(source), spec.backbone.width), np.nan, dtype=np.float32)
        rows = extraction.rows
        features[rows] = extraction.features.get(extraction.digests[rows])
        return features, spec

    def _backbone_of(self, request: ExtractionRequest) -> Backbone | None:
        """Return the network of an earlier call, if it was for the same request."""
        asked, backbone = getattr(self, "_loaded", (None, None))
        return backbone if asked == request.to_dict() else None

    def _keep(self, request: ExtractionRequest, backbone: Backbone | None) -> None:
        if backbone is not None:
            self._loaded = (request.to_dict(), backbone)
