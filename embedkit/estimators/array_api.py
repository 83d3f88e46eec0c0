"""Fitting scikit-learn's own estimators on tensors of torch, through its array API, where they can.

Which can, they say themselves (the tag ``array_api_support``); everything else gets NumPy, and so does everything under
releases of scikit-learn that cannot dispatch. A fitted estimator is NumPy in either case.

Layer: imports scikit-learn, NumPy and errors; torch and SciPy only when a device asks for them.
"""

from __future__ import annotations

import copy
import shutil
import warnings
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import sklearn
from sklearn import utils
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge

from embedkit.compat import can_dispatch
from embedkit.errors import DeviceError, UsageError

_sklearn = cast(Any, sklearn)  # not typed throughout


def resolve_tensor_device(name: str) -> str | None:
    """Turn what a user asks for into the device of the tensors, None for NumPy.

    Parameters
    ----------
    name : str
        ``"auto"`` (the first CUDA device where there is one and scikit-learn can dispatch to it, else NumPy), ``"cpu"``
        (NumPy), ``"cuda"``, ``"cuda:<index>"``, or ``"torch:cpu"`` (tensors on the CPU).

    Raises
    ------
    DeviceError
        The device that was named is not there.
    UsageError
        A device was named, and SciPy was imported without its array API.
    """
    if name == "cpu":
        return None
    if name == "auto":
        # The driver's own tool says without importing torch that there is nothing to look for.
        there = shutil.which("nvidia-smi") is not None and _cuda_devices() and can_dispatch() and _scipy_dispatches()
        return "cuda:0" if there else None
    wanted = {"torch:cpu": "cpu", "cuda": "cuda:0"}.get(name, name)
    if wanted not in ("cpu", *_cuda_devices()):
        known = ", ".join(["auto", "cpu", "torch:cpu", *_cuda_devices()])
        raise DeviceError(f"device {name!r} is not available for estimators; there is {known}")
    if not can_dispatch():
        return None
    if not _scipy_dispatches():
        raise UsageError(
            f"device={name!r} needs SciPy's array API, which is off: set the environment variable SCIPY_ARRAY_API=1 "
            "before Python imports scipy or sklearn (the command line does so), or use device='cpu'"
        )
    return wanted


def takes_tensors(estimator: Any) -> bool:
    """Whether an estimator with its parameters can be fitted on tensors.

    Estimators that hold others are left out: their tag does not speak for the solvers inside.
    """
    if hasattr(estimator, "steps") or hasattr(estimator, "estimator"):
        return False
    # Where the tag says yes for every solver, and others fail or warn; PCA's "auto" may become its randomized one.
    if isinstance(estimator, LinearDiscriminantAnalysis | Ridge) and cast(Any, estimator).solver != "svd":
        return False
    if isinstance(estimator, PCA) and cast(Any, estimator).svd_solver not in ("full", "covariance_eigh"):
        return False
    tags = cast(Any, utils).get_tags(estimator)
    return bool(getattr(tags, "array_api_support", False))


def device_for(estimator: Any, name: str) -> str | None:
    """Return where an estimator is fitted that a user asked to be fitted on a device.

    ``"auto"`` looks for a GPU only where the estimator could use it; see `resolve_tensor_device` for the rest.
    """
    if name == "auto" and not takes_tensors(estimator):
        return None
    return resolve_tensor_device(name)


def fit_on(device: str | None, estimator: Any, X: Any, y: Any = None) -> Any:
    """Fit an estimator in place, on tensors where it can.

    Parameters
    ----------
    device : str or None
        Of the tensors, as `resolve_tensor_device` gives it; None fits on NumPy.
    estimator : estimator of scikit-learn
    X : ndarray or torch.Tensor of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,), optional

    Returns
    -------
    estimator
        Its fitted attributes are NumPy.
    """
    if device is None or not takes_tensors(estimator):
        return estimator.fit(to_numpy(X), y)
    with _sklearn.config_context(array_api_dispatch=True):
        if isinstance(estimator, LinearDiscriminantAnalysis):
            # It looks for the classes among tensors, which are never text.
            classes, numbers = np.unique(y, return_inverse=True)
            cast(Any, estimator).fit(_to_tensor(X, device), _to_tensor(numbers, device))
            cast(Any, estimator).classes_ = classes
        else:
            estimator.fit(_to_tensor(X, device), y)
    _bring_back(estimator)
    return estimator


def fit_transform_on(device: str | None, transformer: Any, X: Any, y: Any = None) -> Any:
    """Fit a transformer as `fit_on` does and transform the same rows.

    Returns
    -------
    ndarray or torch.Tensor of shape (n_samples, n_outputs)
        A tensor where the transformer took one, so that the next step finds it on the device.
    """
    if device is None or not takes_tensors(transformer):
        return transformer.fit_transform(to_numpy(X), y)
    with _sklearn.config_context(array_api_dispatch=True):
        transformed = transformer.fit_transform(_to_tensor(X, device), y)
    _bring_back(transformer)
    return transformed


def to_numpy(value: Any) -> Any:
    """Return a tensor as NumPy, also where it stands in lists, tuples, mappings and estimators; the rest as it is."""
    if hasattr(value, "detach"):
        return value.detach().cpu().numpy()
    if isinstance(value, BaseEstimator):
        twin = copy.copy(value)
        _bring_back(twin)
        return twin
    if isinstance(value, Mapping):
        return {key: to_numpy(item) for key, item in cast(Mapping[Any, Any], value).items()}
    if type(value) in (list, tuple):
        return type(value)(to_numpy(item) for item in value)
    return value


def _bring_back(estimator: Any) -> None:
    for name, value in list(cast(dict[str, Any], vars(estimator)).items()):
        if not name.startswith("_sklearn_"):
            setattr(estimator, name, to_numpy(value))


def _to_tensor(value: Any, device: str) -> Any:
    import torch

    return torch.as_tensor(value).to(device)


def _cuda_devices() -> list[str]:
    try:
        import torch
    except ImportError:
        return []
    return [f"cuda:{index}" for index in range(torch.cuda.device_count())]


def _scipy_dispatches() -> bool:
    """Whether SciPy was imported with its array API: a tensor goes in, and one comes out."""
    import scipy.fft
    import torch

    try:
        with _sklearn.config_context(array_api_dispatch=True), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's remark on a tensor
            return isinstance(cast(Any, scipy.fft).fft(torch.zeros(2)), torch.Tensor)
    except RuntimeError:  # scikit-learn looks at the environment, which may have been set too late for SciPy
        return False
