"""After loading, before anything predicts: whether every estimator in a model is what fitting makes.

skops says that no type outside an allow-list is built. That is not enough: compiled code follows the indices in arrays
without looking, and a file of a stranger may hold any numbers. So the allow-list is the list of validators, and each
checks types, shapes, ranges and finiteness, and that they agree with ``n_features_in_`` and ``classes_``.

Layer: persistence; above its modules. NumPy, SciPy and scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import BuiltinFunctionType, FunctionType
from typing import Any, cast

import numpy as np
from sklearn.base import BaseEstimator

from embedkit.images import check_url, is_url
from embedkit.persistence.validators.calibrated import CALIBRATED
from embedkit.persistence.validators.fields import Array, Checked, MisfitError, Validator, attributes_of
from embedkit.persistence.validators.kernels import KERNELS
from embedkit.persistence.validators.tables import TABLES
from embedkit.persistence.validators.trees import TREES

__all__ = ["PLAIN", "VALIDATORS", "MisfitError", "check_templates", "validate"]


_EMBEDDER = "embedkit.embedder.ImageEmbedder"


def _embedder(checked: Checked) -> None:
    """Check an embedder from a file, which may name a root: data, as the rows of a manifest are."""
    root = checked.attributes.get("root")
    if isinstance(root, str) and is_url(root):
        check_url(root)


VALIDATORS: dict[str, Validator] = {**TABLES, **TREES, **KERNELS, **CALIBRATED, _EMBEDDER: _embedder}
"""The name of a class -> what checks a fitted one. What is not here, nor in `PLAIN`, is not loaded."""

PLAIN = frozenset(
    {
        "numpy.dtype",  # read from an empty array without pickle; inside SimpleImputer and KBinsDiscretizer
        "sklearn.compose._column_transformer._RemainderColsList",  # a list, up to scikit-learn 1.6
        "sklearn.compose._column_transformer.make_column_selector",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",  # its arrays with the estimator
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.metrics._scorer._CurveScorer",  # a scorer calls its function when it scores, not when it is loaded
        "sklearn.metrics._scorer._PassthroughScorer",
        "sklearn.metrics._scorer._Scorer",
        "sklearn.model_selection._split.GroupKFold",
        "sklearn.model_selection._split.KFold",
        "sklearn.model_selection._split.StratifiedGroupKFold",
        "sklearn.model_selection._split.StratifiedKFold",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",  # used by fit alone
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",  # with the estimator
        "sklearn.utils._bunch.Bunch",
        "sklearn.utils._metadata_requests.MetadataRequest",  # inside searches, up to scikit-learn 1.6
        "sklearn.utils._metadata_requests.MethodMetadataRequest",
        *(
            f"sklearn._loss.link.{name}"
            for name in ("HalfLogitLink", "IdentityLink", "Interval", "LogLink", "LogitLink", "MultinomialLogit")
        ),
        *(
            f"sklearn._loss.loss.{name}"
            for name in (
                "AbsoluteError", "ExponentialLoss", "HalfBinomialLoss", "HalfGammaLoss", "HalfMultinomialLoss",
                "HalfPoissonLoss", "HalfSquaredError", "HalfTweedieLoss", "HalfTweedieLossIdentity", "HuberLoss",
                "PinballLoss",
            )
        ),
        *(
            f"{module}.{name}"
            for module in ("sklearn._loss._loss", "_loss")  # the second up to scikit-learn 1.6
            for name in (
                "CyAbsoluteError", "CyExponentialLoss", "CyHalfBinomialLoss", "CyHalfGammaLoss",
                "CyHalfMultinomialLoss", "CyHalfPoissonLoss", "CyHalfSquaredError", "CyHalfTweedieLoss",
                "CyHalfTweedieLossIdentity", "CyHuberLoss", "CyPinballLoss",
            )
        ),
        *(
            f"sklearn.linear_model._sgd_fast.{name}"
            for name in (
                "EpsilonInsensitive", "Hinge", "ModifiedHuber", "SquaredEpsilonInsensitive", "SquaredHinge",
            )
        ),
    }
)  # fmt: skip
"""Classes that hold plain values, which nothing compiled reads unchecked."""

# What ends a way down, or is read by nothing compiled.
_LEAVES = (type(None), bool, int, float, complex, str, bytes, np.dtype, np.generic, type, range, slice)
_FUNCTIONS = (FunctionType, BuiltinFunctionType, np.ufunc)
_MAX_JOBS = 1024
_LARGEST = 1 << 62  # NumPy's bincount writes beyond its counts for a class of 2**63 - 1
_MT19937_WORDS = 624

# Parameters whose fitted estimators no file can hold.
_UNLOADABLE: dict[tuple[str, str], tuple[Any, ...]] = {
    ("KNeighborsClassifier", "algorithm"): ("kd_tree", "ball_tree"),
    ("KNeighborsRegressor", "algorithm"): ("kd_tree", "ball_tree"),
    ("RadiusNeighborsClassifier", "algorithm"): ("kd_tree", "ball_tree"),
    ("RadiusNeighborsRegressor", "algorithm"): ("kd_tree", "ball_tree"),
    ("NearestNeighbors", "algorithm"): ("kd_tree", "ball_tree"),
    ("CalibratedClassifierCV", "method"): ("isotonic",),
    ("SVC", "kernel"): ("precomputed",),
    ("SVR", "kernel"): ("precomputed",),
    ("NuSVC", "kernel"): ("precomputed",),
    ("NuSVR", "kernel"): ("precomputed",),
}


def validate(model: Any) -> None:
    """Check every object in a model that was loaded.

    Raises
    ------
    MisfitError
        Something is of a type without a validator, or not what fitting makes of it.
    ForbiddenUrlError
        An embedder's root is a URL that data may not name.
    """
    # Members before what is made of them, which takes them for checked.
    for one in reversed(list(_objects(model))):
        name = _class_name(one)
        if isinstance(one, BaseEstimator):
            _check_parameters(one)
        if name in VALIDATORS and (not isinstance(one, BaseEstimator) or _is_fitted(one)):
            VALIDATORS[name](Checked(one))


def check_templates(estimator: Any) -> None:
    """Check that what an estimator becomes when it is fitted can be loaded again, as far as that is known before.

    Raises
    ------
    MisfitError
    """
    for one in _objects(estimator):
        name = type(one).__name__
        for (owner, parameter), refused in _UNLOADABLE.items():
            value: Any = attributes_of(one).get(parameter) if owner == name else None
            if isinstance(value, str) and value in refused:
                raise MisfitError(f"a {name} with {parameter}={value!r} cannot be kept in a model file; choose another")


def _objects(root: Any) -> Iterator[Any]:
    """Yield every object with attributes in something, each once, from the outside in."""
    seen: set[int] = set()
    waiting: list[Any] = [root]
    while waiting:
        one = waiting.pop()
        if isinstance(one, (*_LEAVES, *_FUNCTIONS)) or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, np.ndarray):
            array = cast(Array, one)
            if array.dtype.kind == "O":
                waiting.extend(array.ravel().tolist())
            elif array.dtype.kind in "iu" and array.size and not -_LARGEST < array.min() <= array.max() < _LARGEST:
                raise MisfitError(f"it holds whole numbers from {array.min()} to {array.max()}, expected smaller ones")
            continue
        if isinstance(one, Mapping):
            waiting.extend(cast(Any, one).keys())
            waiting.extend(cast(Any, one).values())
        elif isinstance(one, (list, tuple, set, frozenset)):
            waiting.extend(cast(Any, one))
        elif isinstance(one, (np.random.RandomState, np.random.Generator)):
            _check_random(one)
        else:
            name = _class_name(one)
            if name not in VALIDATORS and name not in PLAIN:
                raise MisfitError(f"it holds a {name}, which embedkit does not load")
            if hasattr(one, "__dict__"):
                yield one
                if name != _EMBEDDER:  # which writes plain values only, and reads them as such
                    waiting.extend(attributes_of(one).values())


def _class_name(one: object) -> str:
    kind = type(one)
    return f"{kind.__module__}.{kind.__qualname__}"


def _is_fitted(one: BaseEstimator) -> bool:
    # As scikit-learn's check_is_fitted has it.
    return any(name.endswith("_") and not name.startswith("__") for name in attributes_of(one))


def _check_parameters(one: BaseEstimator) -> None:
    """Check what the maker of a file may write on any estimator."""
    kind = type(one)
    for name in attributes_of(one):
        if callable(getattr(kind, name, None)):
            raise MisfitError(f"{kind.__name__}.{name} is an attribute, expected a method")
    jobs = attributes_of(one).get("n_jobs")
    if jobs is not None and not (isinstance(jobs, (int, np.integer)) and -_MAX_JOBS <= jobs <= _MAX_JOBS and jobs):
        raise MisfitError(f"{kind.__name__}.n_jobs is {jobs!r}, expected None or a number up to {_MAX_JOBS}")
    check = getattr(one, "_validate_params", None)  # scikit-learn calls it in fit only
    if check is not None and hasattr(kind, "_parameter_constraints") and kind.__module__.startswith("sklearn."):
        try:
            check()
        except Exception as error:  # whatever its constraints run into
            raise MisfitError(" ".join(str(error).split())[:300]) from error


def _check_random(one: np.random.RandomState | np.random.Generator) -> None:
    """Check the state of a generator of random numbers, which reads its words at the place that it holds."""
    state: Any = one.get_state(legacy=False) if isinstance(one, np.random.RandomState) else one.bit_generator.state
    if isinstance(one, np.random.Generator) and state["bit_generator"] != "PCG64":
        raise MisfitError(f"it holds a generator {state['bit_generator']}, expected PCG64")
    if isinstance(one, np.random.RandomState) and not (
        state["bit_generator"] == "MT19937" and 0 <= state["state"]["pos"] <= _MT19937_WORDS
    ):
        raise MisfitError("it holds a random state that none is ever in")
