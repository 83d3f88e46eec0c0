"""Any estimator of scikit-learn's kind as a probe: by dotted path, or as an object, with a grid of its parameters.

Layer: probes; above probes.outcomes. Imports what a user names, and nothing but classes with scikit-learn's interface.
"""

from __future__ import annotations

import copy
import difflib
import importlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, cast

import sklearn.base
from sklearn.base import BaseEstimator
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from embedkit.errors import EmbedkitError, UsageError
from embedkit.estimators import device_for
from embedkit.evaluation import Outcome, Steps, Task
from embedkit.probes.grids import search
from embedkit.probes.steps import Params

Grid = Mapping[str, Sequence[Any]]

_base = cast(Any, sklearn.base)  # not typed throughout


def is_path(estimator: object) -> bool:
    """Whether a name is a dotted path, as ``sklearn.svm.SVC``."""
    return isinstance(estimator, str) and "." in estimator


def import_estimator(path: str) -> BaseEstimator:
    """Make an estimator of its dotted path, with default arguments.

    Raises
    ------
    UsageError
        There is no such module or class, it is no estimator, or it needs arguments.
    """
    module_name, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever a module may raise while it is imported
        raise UsageError(
            f"estimator {path!r}: the module {module_name!r} cannot be imported ({type(error).__name__}: {error}); "
            "check the path, or install the package"
        ) from error
    found = getattr(module, name, None)
    if found is None:
        raise UsageError(f"estimator {path!r}: {module_name} has no {name!r}{_nearest(name, dir(module))}")
    if not (isinstance(found, type) and issubclass(found, BaseEstimator)):
        raise UsageError(f"estimator {path!r} is not a class of scikit-learn estimators; name one as sklearn.svm.SVC")
    try:
        return found()
    except TypeError as error:
        raise UsageError(
            f"estimator {path!r} needs arguments ({error}); use it from Python, where estimator= takes an object"
        ) from error


def checked(estimator: Any, grid: Grid, kind: str) -> tuple[BaseEstimator, Grid]:
    """Return an unfitted copy of an estimator that suits the kind of labels, and its grid with full names.

    Raises
    ------
    UsageError
        It is no classifier (for values: no regressor), a parameter is not its own, or has no values.
    """
    if not isinstance(estimator, BaseEstimator):
        raise UsageError(
            f"estimator is a {type(estimator).__name__}, expected a name, a dotted path or a scikit-learn estimator"
        )
    name, suits = type(estimator).__name__, _base.is_regressor if kind == "value" else _base.is_classifier
    if not suits(estimator):
        wanted = "values, which ask for a regressor" if kind == "value" else "classes, which ask for a classifier"
        raise UsageError(f"estimator {name} does not fit the labels: these are {wanted}")
    unfitted = _base.clone(estimator)
    known = unfitted.get_params()
    open_ended = any(
        one.kind is one.VAR_KEYWORD for one in inspect.signature(cast(Any, type(unfitted))).parameters.values()
    )
    for param, values in grid.items():
        if param not in known and not open_ended:
            raise UsageError(f"{name} has no parameter {param!r}{_nearest(param, list(known))}")
        if isinstance(cast(object, values), str) or not len(values):
            raise UsageError(f"parameter {param!r} is {values!r}, expected a list of at least one value")
    return unfitted, grid


def run(estimator: BaseEstimator, grid: Grid, task: Task, seed: int, device: str) -> Outcome:
    """Run an estimator on standardised features; a Pipeline is taken as it is.

    With a device (`embedkit.estimators.array_api`) it is fitted on tensors where it takes them, else on NumPy.

    Raises
    ------
    DeviceError
        The device that was named is not there.
    UsageError
        The estimator refuses the features or a value of the grid, or SciPy was imported without its array API.
    """
    tensors = device_for(estimator, device)

    def steps_for(params: Params) -> Steps:
        unfitted: Any = _base.clone(estimator).set_params(
            **{name: copy.deepcopy(value) for name, value in params.items()}
        )
        for name, value in unfitted.get_params().items():
            if name.rpartition("__")[2] == "random_state" and value is None:
                unfitted.set_params(**{name: seed})
        if task.is_multilabel:
            unfitted = OneVsRestClassifier(unfitted)
        own = isinstance(unfitted, Pipeline)
        final = [(type(estimator).__name__.lower(), unfitted)]
        return final if own else [("scale", StandardScaler()), *final]

    try:
        return search(steps_for, grid, task, tensors)
    except EmbedkitError:
        raise
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:  # of the network, of a library lacking
        reason = " ".join(str(error).split())
        raise UsageError(f"{type(estimator).__name__} cannot be fitted: {reason}; check its parameters") from error


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, [other for other in known if not other.startswith("_")])
    return f"; did you mean {', '.join(near)}?" if near else ""
