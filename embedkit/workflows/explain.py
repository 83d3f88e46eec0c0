"""explain: where a model's prediction comes from, in the image and in the training images.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.backbones import Backbone, FeatureRequest, load_backbone, positions_of
from embedkit.errors import ImageError, UsageError
from embedkit.explanation import Head, deletion_curve, head_of, occlusion_map, training_contributions
from embedkit.extraction import Progress
from embedkit.images import ImageRef, open_source
from embedkit.persistence import at_work
from embedkit.preprocess import Preprocessor, shown_box
from embedkit.results import Deletion, Explanation, Explanations, Influence, NearestTrained, Skipped
from embedkit.specs import FeatureSpec
from embedkit.tables import FeatureTable
from embedkit.workflows.origins import origin_of
from embedkit.workflows.reference import reference_backbone, rgb_of, single_embedder
from embedkit.workflows.targets import open_store, open_target, tables_of

_SHOWN = 3  # training images by nearness, and by influence for and against
_ITSELF = 1 - 1e-5  # cosine above which a training image is the explained one

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]


def explain(
    model: Any,
    source: Any,
    *,
    class_: str | None = None,
    training: Any = None,
    checks: bool = True,
    weights: str | None = None,
    device: str = "cpu",
    store: str | os.PathLike[str] | None = None,
    trust_pickle: bool = False,
    random_state: int = 0,
    progress: Progress | None = None,
) -> Explanations:
    """Say which places of an image a prediction comes from, and which training images speak for it.

    Where features are the mean over a map and the head is linear, the score of a class is a sum over places plus a bias
    (class activation map, Zhou et al. 2016, arXiv:1512.04150); else places are covered one after the other, and what
    the score loses is shown. Features are computed in fp32 by torch.

    Parameters
    ----------
    model : path, Model or Pipeline
        A model file of `fit`, or a fitted pipeline whose first step is an `ImageEmbedder`, its only one.
    source : path, or sequence of images
        What to explain; each image takes some dozens of forward passes.
    class_ : str, optional
        The class to explain; by default the predicted one of each image.
    training : path, or sequence of images, optional
        What the model was fitted on, as `fit` got it (a feature file or images): then the nearest training images are
        named, and for ridge, logistic regression and linear support vector machines those that say most for the class
        and against it.
    checks : bool
        Also compare the map with covering places in random order, and with the map of random weights.
    weights : path, optional
        Where the backbone's weights are now; accepted when they are the same weights.
    device : str
        ``"cpu"`` or ``"cuda:0"``.
    store : path, optional
    trust_pickle : bool
        Load a model that joblib or pickle wrote, and run whatever code is in it; see `load_model`.
    random_state : int
        Draws the random orders.
    progress : callable, optional

    Returns
    -------
    Explanations

    Raises
    ------
    UsageError
        The model has several embedders or no score for its classes; the class is none of the model's.
    ModelFileError
        The model file cannot be loaded.
    SpecMismatchError
        The backbone at hand is not the one that the model was fitted on.

    Examples
    --------
    >>> result = explain("model.skops", ["new.jpg"], training="photos.h5")  # doctest: +SKIP
    >>> one = result.explanations[0]  # doctest: +SKIP
    >>> one.contributions.sum() + one.bias  # the logit  # doctest: +SKIP
    """
    loaded = single_embedder(model, trust_pickle)
    with at_work(model):
        head = head_of(loaded.pipeline.steps[1:], loaded.spec.backbone.width)
    if class_ is not None and class_ not in head.classes:
        raise UsageError(f"class {class_!r} is none of the model's: {', '.join(head.classes) or 'it predicts values'}")
    images = open_source(source)
    backbone = reference_backbone(loaded, weights, device)
    random = _with_random_weights(loaded.pipeline.steps[0][1].request(), loaded.spec, device) if checks else None
    trained = None if training is None else _trained(training, head, loaded.spec, loaded, store, progress)
    eye = _Eye(head=head, backbone=backbone, random=random, seed=random_state)
    explanations: list[Explanation] = []
    skipped = [Skipped(*failure) for failure in images.failures]
    notes: list[str] = []
    for key, ref in zip(images.keys, images.images, strict=True):
        try:
            with at_work(model):
                found = eye.explained(key, ref, loaded.spec, class_)
        except ImageError as error:
            skipped.append(Skipped(key, str(error)))
            continue
        with at_work(model):
            explanations.append(found if trained is None else trained.beside(found, eye.features))
        if found.deletion is not None and found.deletion.gain <= 0:
            notes.append(
                f"{key}: covering what the map holds for important does no more than chance; do not believe it"
            )
    return Explanations(
        origin=origin_of(
            "explain",
            {
                "model_file": model,
                "source": source,
                "class": class_,
                "training": training,
                "no_checks": not checks or None,
            },
            sources=[images.name],
            fingerprints={"model": loaded.spec.fingerprint},
            seeds=[random_state],
        ),
        explanations=explanations,
        skipped=skipped,
        notes=[*([] if trained is None else trained.notes), *notes],
    )


@dataclass(kw_only=True)
class _Eye:
    """Looks at one image after the other."""

    head: Head
    backbone: Backbone
    random: Backbone | None
    seed: int
    features: npt.NDArray[np.float32] = dataclasses.field(default_factory=lambda: np.empty(0, np.float32))

    def explained(self, key: str, ref: ImageRef, spec: FeatureSpec, class_: str | None) -> Explanation:
        preprocessor = Preprocessor(self.backbone.preprocess)
        rgb = rgb_of(ref, spec.decode, preprocessor)
        pixels = np.ascontiguousarray(preprocessor(rgb))
        places = None if self.head.weights is None else positions_of(self.backbone, pixels[None])
        self.features = self.backbone(pixels[None])[0] if places is None else places[0].mean(axis=(0, 1))
        scores = self.head.scores(self.features[None])[0]
        place = self.head.classes.index(class_) if class_ is not None else int(scores.argmax())
        contributions, bias = self._map(self.backbone, pixels, place)
        return Explanation(
            image=key,
            class_=self.head.classes[place] if self.head.classes else "",
            predicted=self.head.classes[int(scores.argmax())] if self.head.classes else f"{scores[0]:.6g}",
            logit=float(scores[place]),
            score=self.head.score,
            method="occlusion" if bias is None else "contributions",
            bias=bias,
            contributions=contributions,
            box=shown_box(self.backbone.preprocess, *rgb.shape[:2]),
            size=(int(rgb.shape[0]), int(rgb.shape[1])),
            deletion=None if self.random is None else self._deletion(pixels, contributions, place),
            random_weights=None if self.random is None else self._likeness(pixels, contributions, place),
        )

    def _map(self, backbone: Backbone, pixels: Pixels, place: int) -> tuple[Floats, float | None]:
        if self.head.weights is not None and self.head.offset is not None:
            places = positions_of(backbone, pixels[None])
            if places is not None:
                found = places[0].astype(np.float64) @ self.head.weights[place]
                return found / found.size, float(self.head.offset[place])
        return occlusion_map(pixels, self._scores(backbone, place)), None

    def _scores(self, backbone: Backbone, place: int) -> Callable[[Pixels], Floats]:
        return lambda pixels: self.head.scores(backbone(pixels))[:, place]

    def _deletion(self, pixels: Pixels, contributions: Floats, place: int) -> Deletion:
        scores = self._scores(self.backbone, place)
        fractions, by_map, at_random = deletion_curve(pixels, contributions, scores, seed=self.seed)
        return Deletion(fractions=fractions, by_map=by_map, at_random=at_random)

    def _likeness(self, pixels: Pixels, contributions: Floats, place: int) -> float | None:
        """Correlate the map with that of random weights (Adebayo et al. 2018, arXiv:1810.03292)."""
        import scipy.stats

        assert self.random is not None
        other, _ = self._map(self.random, pixels, place)
        if other.shape != contributions.shape or np.ptp(other) == 0 or np.ptp(contributions) == 0:
            return None
        return float(cast(Any, scipy.stats).spearmanr(contributions, other, axis=None).statistic)


def _with_random_weights(request: FeatureRequest, spec: FeatureSpec, device: str) -> Backbone:
    asked = dataclasses.replace(request.pinned(spec), precision="fp32", engine="torch", device=device, weights="random")
    return load_backbone(asked)


@dataclass(kw_only=True)
class _Trained:
    """The training images of a model."""

    table: FeatureTable
    head: Head
    X: npt.NDArray[Any]
    transform: Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]]
    notes: list[str]

    def beside(self, found: Explanation, features: npt.NDArray[np.float32]) -> Explanation:
        labels = [str(label) for label in cast(npt.NDArray[Any], self.table.y).tolist()]
        unit = self.table.X / np.maximum(np.linalg.norm(self.table.X, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        cosines = unit @ (features / max(float(np.linalg.norm(features)), float(np.finfo(np.float32).tiny)))
        itself = cosines > _ITSELF
        if itself.any():
            self.notes[:] = dict.fromkeys([*self.notes, f"{found.image}: the model was fitted on this very image"])
        of_class = np.array([found.class_ in ("", label) for label in labels]) & ~itself
        near = np.argsort(np.where(of_class, -cosines, np.inf), kind="stable")[: min(_SHOWN, int(of_class.sum()))]
        return dataclasses.replace(
            found,
            nearest=[
                NearestTrained(
                    key=found.image, other_key=self.table.keys[row], label=labels[row], cosine=float(cosines[row])
                )
                for row in cast(list[int], near.tolist())
            ],
            influence=self._influence(found, features, labels),
        )

    def _influence(self, found: Explanation, features: npt.NDArray[np.float32], labels: list[str]) -> list[Influence]:
        place = self.head.classes.index(found.class_) if self.head.classes else 0
        last = self.head.steps[-1][1]
        y = cast(npt.NDArray[Any], self.table.y)
        said = training_contributions(last, self.X, y, self.transform(features[None])[0], place)
        if said is None:
            note = (
                "the coefficients are not those of a linear model with an L2 penalty on these training rows (another "
                "penalty or loss, class weights, or other rows), so that no image's share in the score is known"
                if hasattr(last, "coef_")
                else f"{type(last).__name__} is not linear in the features, so that no training image's share is known"
            )
            self.notes[:] = dict.fromkeys([*self.notes, note])
            return []
        order = np.argsort(-said, kind="stable")
        most, least = cast(list[int], order[:_SHOWN].tolist()), cast(list[int], order[::-1][:_SHOWN].tolist())
        chosen = {row for row in most if said[row] > 0} | {row for row in least if said[row] < 0}
        return [
            Influence(key=self.table.keys[row], label=labels[row], contribution=float(said[row]))
            for row in sorted(chosen, key=lambda row: -said[row])
        ]


def _trained(
    training: Any,
    head: Head,
    spec: FeatureSpec,
    loaded: Any,
    store: str | os.PathLike[str] | None,
    progress: Progress | None,
) -> _Trained:
    from sklearn.pipeline import Pipeline

    target = open_target(training)
    requests = [] if target.table is not None else [loaded.pipeline.steps[0][1].request().pinned(spec)]
    [named] = tables_of(target, requests, open_store(store), progress=progress).named
    table = named.table
    if table.spec.model_identity != spec.model_identity:
        raise UsageError(f"training {target.name} holds features of another backbone than the model's; name images")
    wanted = "class" if head.classes else "value"
    if table.y is None or table.target_type != wanted:
        raise UsageError(
            f"training {target.name} has labels of the type {table.target_type!r}, the model of {wanted!r}; name what "
            "it was fitted on"
        )
    if lacking := sorted(set(head.classes) - set(table.classes)):
        raise UsageError(
            f"training {target.name} holds no image of {', '.join(lacking)}, which the model knows; name what it was "
            "fitted on"
        )
    table = table[table.labelled]
    if table.split is not None and (table.split != "test").any():
        table = table[table.split != "test"]
    before: Any = Pipeline(head.steps[:-1]) if len(head.steps) > 1 else None
    transform: Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]] = (
        (lambda X: np.asarray(X)) if before is None else (lambda X: np.asarray(before.transform(X)))
    )
    return _Trained(table=table, head=head, X=transform(table.X), transform=transform, notes=[])
