"""Linear classifiers for a path of penalties, and the selection of one, whatever their loss.

Layer: imports scikit-learn, embedkit.errors and its own room.
"""

from __future__ import annotations

import functools
import numbers
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Self, cast

import numpy as np
import sklearn.metrics
import sklearn.model_selection
from numpy.typing import NDArray

from embedkit.errors import UsageError
from embedkit.estimators.arrays import Float64, Floats, Indices
from embedkit.estimators.linear_classifier import LinearClassifier
from embedkit.estimators.linear_problem import (
    LinearPath,
    LinearProblem,
    check_arguments,
    decomposed_problem,
    warn_unless_converged,
)
from embedkit.estimators.penalised import PenalisedClassifier
from embedkit.estimators.validation import (
    LabelledRows,
    check_is_fitted,
    checked_features_and_labels,
    checked_weights,
    labelled_rows,
    require,
)

_SELECTED = ("scores_", "best_index_", "best_C_", "best_score_", "at_edge_", "coef_", "intercept_")
_MAPPED = ("coefs_", "intercepts_", "_whole_path")


class PenaltyPath(LinearClassifier):
    """Parameters, attributes and methods of `LogisticRegressionPath` and `LinearSVCPath`, documented there."""

    model_type: ClassVar[type[PenalisedClassifier]]
    """Of one value of C."""

    Cs_: Float64
    path_classes_: NDArray[Any]
    _path: LinearPath
    _position: Indices

    def __init__(
        self,
        Cs: Any = 10,
        *,
        cv: Any = 5,
        scoring: Any = None,
        refit: bool = True,
        fit_intercept: bool = True,
        standardize: bool = False,
        class_weight: Any = None,
        tol: float = 1e-6,
        max_iter: int = 1000,
        device: str = "cpu",
    ) -> None:
        self.Cs = Cs
        self.cv = cv
        self.scoring = scoring
        self.refit = refit
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.device = device

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, validation: Any = None, groups: Any = None) -> Self:
        """Fit the path and select a value of C.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            float32 stays float32; everything else becomes float64.
        y : array-like of shape (n_samples,)
            Class labels: numbers, strings or booleans.
        sample_weight : array-like of shape (n_samples,), optional
            Not negative; a row of weight 0 is as good as absent. Scores are weighted too.
        validation : tuple of (X, y) or (X, y, sample_weight), optional
            Held-out rows that select, in place of `cv`.
        groups : array-like of shape (n_samples,), optional
            Passed on to the splitter `cv`.

        Raises
        ------
        ValueError
            Arguments out of range, features that are no matrix of finite numbers, fewer than two classes.
        """
        check_arguments(self)
        given = self._checked_values()
        self._forget_selection()
        data = labelled_rows(self, X, y, sample_weight)
        Cs, position = np.unique(given, return_inverse=True)
        problem = decomposed_problem(self, data, self.model_type.loss_of)
        path = problem.path(Cs, self.tol)
        warn_unless_converged(self, path, "the data")
        self.Cs_, self.classes_, self.path_classes_ = given, data.classes, data.classes
        self._path, self._position = path, position
        for name in _MAPPED:
            vars(self).pop(name, None)
        self.n_iter_, self.converged_ = path.n_iter[position], path.converged[position]
        self.grad_norms_, self.gaps_ = path.grad_norms[position], path.gaps[position]
        weighted = sample_weight is not None
        if validation is not None:
            held_out = self._checked_validation(validation)
            self._select([self._validation_scores(path, *held_out)], position)
            if self.refit:
                self._refit(data, *held_out)
        elif self.cv is not None:
            splitter = cast(Any, sklearn.model_selection).check_cv(self.cv, np.asarray(y), classifier=True)
            splits = cast(Iterable[tuple[Indices, Indices]], splitter.split(X, y, groups))
            scores = [self._fold_scores(problem, data, weighted, Cs, *split) for split in splits]
            self._select(scores, position)
        return self

    def model_at(self, C: float) -> PenalisedClassifier:
        """Give the model of one value of the path, ready to predict.

        Raises
        ------
        UsageError
            C is none of `Cs_`.
        """
        check_is_fitted(self, "Cs_")
        matches = np.flatnonzero(np.isclose(self.Cs_, C, rtol=1e-9, atol=0.0))
        if not len(matches):
            raise UsageError(f"C={C!r} is not on the path; its values are {self.Cs_.tolist()!r}")
        i = int(matches[0])
        model = self._model(float(self.Cs_[i]), self.path_classes_, *self._coefficients(i))
        model.n_iter_, model.converged_ = self.n_iter_[[i]], bool(self.converged_[i])
        model.grad_norm_, model.gap_ = float(self.grad_norms_[i]), float(self.gaps_[i])
        if hasattr(self, "feature_names_in_"):
            model.feature_names_in_ = self.feature_names_in_
        return model

    def decision_function(self, X: Any) -> Floats:
        """Return the scores of samples by the selected model, shape (n_samples,) or (n_samples, n_classes).

        Raises
        ------
        UsageError
            Nothing was selected (cv=None and no validation set).
        """
        if hasattr(self, "Cs_") and not hasattr(self, "coef_"):
            raise UsageError(
                f"{type(self).__name__} has selected no C (cv=None, no validation set); pass cv or validation, or "
                "predict with model_at(C)"
            )
        return super().decision_function(X)

    @functools.cached_property
    def coefs_(self) -> Floats:
        """Coefficients of the whole path: a product of matrices for each value, made when they are asked for."""
        return self._whole_path[0]

    @functools.cached_property
    def intercepts_(self) -> Floats:
        """Intercepts of the whole path."""
        return self._whole_path[1]

    @functools.cached_property
    def _whole_path(self) -> tuple[Floats, Floats]:
        check_is_fitted(self, "_path")
        models = [self._path.model(at) for at in self._position.tolist()]
        return np.stack([coef for coef, _ in models]), np.stack([intercept for _, intercept in models])

    def kept_attributes(self) -> dict[str, Any]:
        """Give what a file keeps: the models of the features, not the coordinates that they were fitted in."""
        return self._without_coordinates(vars(self))

    def __getstate__(self) -> dict[str, Any]:
        return self._without_coordinates(cast(dict[str, Any], super().__getstate__()))

    def _without_coordinates(self, state: dict[str, Any]) -> dict[str, Any]:
        if "_path" not in state:
            return state
        state = {name: value for name, value in state.items() if name not in ("_path", "_position", "_whole_path")}
        return state | {"coefs_": self.coefs_, "intercepts_": self.intercepts_}

    def _coefficients(self, index: int) -> tuple[Floats, Floats]:
        if "coefs_" in vars(self):
            return self.coefs_[index], self.intercepts_[index]
        return self._path.model(int(self._position[index]))

    def _forget_selection(self) -> None:
        for name in _SELECTED:
            vars(self).pop(name, None)

    def _fold_scores(
        self, problem: LinearProblem, data: LabelledRows, weighted: bool, Cs: Float64, train: Indices, test: Indices
    ) -> Float64:
        kept_train, kept_test = (np.flatnonzero(np.isin(data.index, part)) for part in (train, test))
        if len(np.unique(data.targets[kept_train])) < 2 or not len(kept_test):
            raise UsageError(
                f"a split of cv={self.cv!r} trains on {len(kept_train)} rows of fewer than 2 classes or tests on none; "
                f"use fewer folds or stratified ones"
            )
        path = problem.subset(kept_train).path(Cs, self.tol)
        warn_unless_converged(self, path, "a fold")
        weights = data.weights[kept_test] if weighted else None
        rows = None if problem.rows.offset is not None else problem.rows.rows[kept_test]
        return self._scores(path, data.features[kept_test], data.labels[kept_test], weights, rows)

    def _validation_scores(
        self, path: LinearPath, features: Floats, labels: NDArray[Any], weights: Float64 | None
    ) -> Float64:
        # One product of matrices brings the rows to the models, one a value the models to the rows: what is less.
        is_less = len(features) < sum(len(parameters) for parameters in path.parameters)
        return self._scores(path, features, labels, weights, path.coordinates.reduced(features) if is_less else None)

    def _scores(
        self,
        path: LinearPath,
        features: Floats,
        labels: NDArray[Any],
        weights: Float64 | None,
        rows: Floats | None,
    ) -> Float64:
        """Score each value of the path on held-out rows, in ascending order of C.

        `rows` are the same in the coordinates of the path, where a model needs no mapping; a callable that scores is
        given models of the features, as its author expects. Features that do not vary have no coordinates.
        """
        name_or_callable = "accuracy" if self.scoring is None else self.scoring
        scorer = cast(Callable[..., float], cast(Any, sklearn.metrics).get_scorer(name_or_callable))
        given = {} if weights is None else {"sample_weight": weights}
        if rows is None or not rows.shape[1] or not isinstance(name_or_callable, str):
            held_out, model_of = features, path.model
        else:
            held_out, model_of = rows, path.reduced_model
        scores = [
            scorer(self._model(float(C), path.classes, *model_of(i)), held_out, labels, **given)
            for i, C in enumerate(path.Cs)
        ]
        return np.array(scores, dtype=np.float64)

    def _select(self, ascending_scores: list[Float64], position: Indices) -> None:
        scores = np.stack(ascending_scores)
        means = scores.mean(axis=0)
        if not np.isfinite(means).all():
            raise UsageError(f"scoring={self.scoring!r} gave a score that is no finite number; nothing can be selected")
        best = int(means.argmax())
        self.scores_ = scores[:, position]
        self.best_index_ = int(np.flatnonzero(position == best)[0])
        self.best_C_ = float(self.Cs_[self.best_index_])
        self.best_score_ = float(means[best])
        self.at_edge_ = len(means) > 1 and best in (0, len(means) - 1)
        self.coef_, self.intercept_ = self._coefficients(self.best_index_)

    def _checked_validation(self, validation: Any) -> tuple[Floats, NDArray[Any], Float64 | None]:
        parts = list(cast(tuple[Any, ...], validation)) if isinstance(validation, tuple) else []
        if len(parts) not in (2, 3):
            got = _described(cast(object, validation))
            raise UsageError(f"validation is {got}, expected a tuple (X, y) or (X, y, sample_weight)")
        features, labels = checked_features_and_labels(self, parts[0], parts[1], reset=False)
        weights = parts[2] if len(parts) == 3 else None
        return features, labels, None if weights is None else checked_weights(weights, len(features))

    def _refit(self, data: LabelledRows, features: Floats, labels: NDArray[Any], weights: Float64 | None) -> None:
        model = self._model(self.best_C_)
        model.fit(
            np.concatenate([data.features, features]),
            np.concatenate([data.labels, labels]),
            np.concatenate([data.weights, np.ones(len(features)) if weights is None else weights]),
        )
        self.classes_, self.coef_, self.intercept_ = model.classes_, model.coef_, model.intercept_

    def _model(
        self, C: float, classes: Any = None, coef: Floats | None = None, intercept: Floats | None = None
    ) -> PenalisedClassifier:
        model = self.model_type(
            C,
            fit_intercept=self.fit_intercept,
            standardize=self.standardize,
            class_weight=self.class_weight,
            tol=self.tol,
            max_iter=self.max_iter,
            device=self.device,
        )
        if coef is not None and intercept is not None:
            model.classes_, model.coef_, model.intercept_ = classes, coef, intercept
            model.n_features_in_ = coef.shape[1]
        return model

    def _checked_values(self) -> Float64:
        if isinstance(self.Cs, numbers.Integral):
            require(int(self.Cs) >= 1, self, "Cs", "at least one value of C")
            return np.logspace(-4, 4, int(self.Cs))
        values = np.asarray(self.Cs, dtype=np.float64)
        require(values.ndim == 1 and len(values) > 0, self, "Cs", "an int or a list of values of C")
        require(bool(np.isfinite(values).all() and values.min() > 0), self, "Cs", "positive, finite values")
        return values


def _described(value: object) -> str:
    return f"a {type(value).__name__}" + (
        f" of {len(cast(tuple[Any, ...], value))}" if isinstance(value, tuple) else ""
    )
