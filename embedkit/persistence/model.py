"""Model: a fitted pipeline, and the embedders in it by name.

Layer: persistence; above the embedder. scikit-learn only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import sklearn.utils.validation
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import FeatureUnion, Pipeline

from embedkit.embedder import ImageEmbedder
from embedkit.errors import UsageError
from embedkit.specs import FeatureSpec


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


def lack_of(model: Model) -> str | None:
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
