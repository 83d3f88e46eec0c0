"""FineTunedClassifier: images in, classes out, tuned as far as the validation rows support it.

Layer: adaptation, its top. Imports scikit-learn; torch when it is fitted.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError

from embedkit.adaptation.ladder import check_tunable, climb_ladder
from embedkit.adaptation.maps import Maps, Prefix, specs_of
from embedkit.adaptation.pixels import Pixels
from embedkit.adaptation.settings import Rung, TuningSettings
from embedkit.backbones import FeatureRequest, PreprocessOverrides
from embedkit.errors import ImageError, LabelsError
from embedkit.evaluation import final_split
from embedkit.extraction import Extraction, default_store, run
from embedkit.images import ImageSource, rows_of
from embedkit.specs import Json
from embedkit.store import FeatureStore

if TYPE_CHECKING:
    from embedkit.adaptation.tail import Tail


class FineTunedClassifier(ClassifierMixin, BaseEstimator):
    """A network with a linear classifier, of which the last blocks are tuned where that pays.

    A part of the training rows, stratified, chooses: how many blocks, the rate, the mean of tuned and frozen weights,
    and whether anything is tuned at all. What is best there is trained on all rows.

    Parameters
    ----------
    model : str, optional
        A timm name; by default the bundled backbone.
    weights, model_args, preprocess
        As of `ImageEmbedder`.
    until : {"frozen", "head", "cached", "lora", "bias", "gradual", "full"}, default="cached"
        The highest rung of the ladder that is tried.
    depths, skip, rates, weight_decays, epochs, trial_epochs, patience, batch_norm, views, batch_size
        As of `TuningSettings`.
    mixup, ema_decay, rank, precision, random_state
        As of `TuningSettings`.
    store : path, optional
        The folder of the feature store, which keeps the output of the blocks before the tuned ones.
    root : path, optional
        The folder against which relative paths are resolved.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    rung_ : str
        The rung that the validation rows chose.
    depth_ : int
        How many of the last blocks are tuned.
    validation_scores_ : dict of str to float
        Accuracy of each rung on the validation rows.
    head_ : (ndarray of shape (n_classes, width), ndarray of shape (n_classes,))
        The classifier: of frozen features, or of those of the tuned blocks.
    state_ : dict of str to ndarray
        The tuned tensors by their names in timm's state dict; empty where no block is tuned.

    Examples
    --------
    >>> classifier = FineTunedClassifier("vit_tiny_patch16_224").fit(paths, labels)  # doctest: +SKIP
    >>> classifier.score(other_paths, other_labels)  # doctest: +SKIP
    0.87
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        weights: str | os.PathLike[str] = "pretrained",
        model_args: Mapping[str, Json] | None = None,
        preprocess: PreprocessOverrides | Mapping[str, Any] | None = None,
        until: Rung = "cached",
        depths: Sequence[int] | None = None,
        skip: Sequence[Rung] = (),
        rates: Sequence[float] = (3e-4, 1e-3),
        weight_decays: Sequence[float] = (0.05, 0.3),
        epochs: int = 15,
        trial_epochs: int = 5,
        patience: int = 5,
        batch_norm: Literal["eval", "train"] = "eval",
        views: int = 4,
        batch_size: int = 64,
        mixup: float = 0.0,
        ema_decay: float = 0.0,
        rank: int = 8,
        precision: Literal["auto", "fp32", "bf16"] = "auto",
        random_state: int = 0,
        store: str | os.PathLike[str] | None = None,
        root: str | os.PathLike[str] | None = None,
    ) -> None:
        self.model = model
        self.weights = weights
        self.model_args = model_args
        self.preprocess = preprocess
        self.until: Rung = until
        self.depths = depths
        self.skip = skip
        self.rates = rates
        self.weight_decays = weight_decays
        self.epochs = epochs
        self.trial_epochs = trial_epochs
        self.patience = patience
        self.batch_norm: Literal["eval", "train"] = batch_norm
        self.views = views
        self.batch_size = batch_size
        self.mixup = mixup
        self.ema_decay = ema_decay
        self.rank = rank
        self.precision: Literal["auto", "fp32", "bf16"] = precision
        self.random_state = random_state
        self.store = store
        self.root = root

    def fit(self, X: Any, y: Any) -> FineTunedClassifier:
        """Climb the ladder.

        Parameters
        ----------
        X : sequence of images of length n_samples
            As of `ImageEmbedder`: paths, bytes, Pillow images, arrays.
        y : array-like of shape (n_samples,)
            Class labels.

        Returns
        -------
        self

        Raises
        ------
        LabelsError
            Labels are missing, of one class only, or not one an image.
        ImageError
            An image cannot be read.
        AdaptationError
            The network cannot be tuned, or tuning diverges.
        """
        from embedkit.adaptation.rungs import Problem, recommended

        settings, request, store = self._settings(), self._request(), self._store()
        labels = np.asarray(y)
        source = rows_of(X, root=self.root)
        if labels.ndim != 1 or len(labels) != len(source):
            raise LabelsError(f"y has the shape {labels.shape}, expected ({len(source)},): one class an image")
        classes, codes = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise LabelsError(f"y holds {len(classes)} class, expected at least two")
        split = final_split(codes.astype(np.str_), None, np.arange(len(codes)), random_state=self.random_state)
        check_tunable(request, self.until, settings)
        found = _extracted(source, request, store)
        ladder = climb_ladder(
            found.features.get(found.digests).astype(np.float32),
            Problem(y=codes.astype(np.intp), classes=len(classes), fit=split.fit, select=split.select),
            np.arange(0),
            source,
            request,
            store,
            until=self.until,
            settings=settings,
        )
        best = recommended([one.tuned for one in ladder.rungs])
        self.classes_ = classes
        self.validation_scores_ = {one.tuned.rung: one.tuned.validation for one in ladder.rungs}
        self.rung_: str = best.rung
        self.depth_ = best.depth
        self.state_ = best.state if best.depth else {}
        self.head_ = (best.head.weight, best.head.bias)
        return self

    def decision_function(self, X: Any) -> npt.NDArray[np.float32]:
        """Return logits, (n_samples, n_classes); of two classes (n_samples,), those of the second over the first."""
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Return the probability of each class, (n_samples, n_classes), in the order of `classes_`."""
        logits = self._logits(X).astype(np.float64)
        found = np.exp(logits - logits.max(axis=1, keepdims=True))
        return found / found.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the class of each image, (n_samples,)."""
        logits = self._logits(X)
        return self.classes_[logits.argmax(axis=1)]

    def __getstate__(self) -> dict[str, Any]:
        state = dict(cast(dict[str, Any], super().__getstate__()))
        state.pop("_tail", None)  # it is built again from the weights
        return state

    def __sklearn_tags__(self) -> Any:
        tags = cast(Any, super().__sklearn_tags__())
        tags.no_validation = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags

    def _logits(self, X: Any) -> npt.NDArray[np.float32]:
        if not hasattr(self, "head_"):
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet; call fit with images and classes")
        source, store, request = rows_of(X, root=self.root), self._store(), self._request()
        if not self.depth_:
            found = _extracted(source, request, store)
            features = found.features.get(found.digests).astype(np.float32)
            weight, bias = self.head_
            return features @ weight.T + bias
        from embedkit.adaptation.training import logits_of
        from embedkit.adaptation.ways import in_bf16

        tail, rows = self._built(), np.arange(len(source))
        layer = tail.network.layers.get(self.depth_, 0)
        prefix = Prefix(request=request, layers={self.depth_: layer}, views=0, seed=0)
        if tail.whole:
            read = Pixels(source, specs_of(prefix, store)).read
        else:
            found = _extracted(source, prefix.requests(0)[0], store)
            maps = Maps(found.digests, {self.depth_: [found.features]})
            read = functools.partial(maps.read, self.depth_)
        return logits_of(tail, read, rows, bf16=in_bf16(self._settings(), tail.device.type))

    def _built(self) -> Tail:
        """Return the tuned network, built when it is first needed."""
        tail: Tail | None = getattr(self, "_tail", None)
        if tail is None:
            from embedkit.adaptation.networks import tunable_network
            from embedkit.adaptation.tail import Tail
            from embedkit.backbones import resolve_device  # it imports torch

            tail = Tail(tunable_network(self._request(), len(self.classes_)), self.depth_)
            tail.to(resolve_device(self._request().device))
            tail.load(self.state_)
            self._tail = tail
        return tail

    def _settings(self) -> TuningSettings:
        parts: dict[str, Any] = {name: getattr(self, name) for name in TuningSettings.__slots__}
        parts |= {
            name: tuple(parts[name]) for name in ("depths", "rates", "weight_decays", "skip") if parts[name] is not None
        }
        return TuningSettings(**parts)

    def _request(self) -> FeatureRequest:
        return FeatureRequest(self.model, self.weights, model_args=self.model_args, preprocess=self.preprocess)

    def _store(self) -> FeatureStore:
        return FeatureStore(default_store() if self.store is None else Path(self.store))


def _extracted(source: ImageSource, request: FeatureRequest, store: FeatureStore) -> Extraction:
    found = run(source, request, store)
    if found.failures:
        row, reason = next(iter(found.failures.items()))
        raise ImageError(f"row {row}, {source.keys[row]!r}: {reason}; leave it out")
    return found
