"""Estimators that keep rows of what they were fitted on: support vectors, neighbours, Gaussian processes.

Layer: persistence; above fields. NumPy only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from embedkit.persistence.validators.fields import Checked, Field, Validator, fields, floats, wholes

_GP = "sklearn.gaussian_process.kernels."


def _support_vectors(checked: Checked) -> None:
    """Check what libsvm is handed: it reads as far as the counts say, whatever the arrays hold."""
    kernel = checked.attributes.get("kernel")
    if kernel not in ("linear", "poly", "rbf", "sigmoid"):
        raise checked.misfit("kernel", repr(kernel)[:60], "one that is computed from features")
    if "_impl" in checked.attributes:
        raise checked.misfit("_impl", "its own", "that of its class")
    checked.is_one_of("_sparse", (False,))
    checked.array("_gamma", floats(""))
    checked.array("coef0", floats(""))
    checked.whole("degree", 0, 1000)
    vectors = len(checked.array("support_vectors_", floats("v n")))
    checked.array("support_", wholes("v", low=0))
    classes = checked.letters.get("k")
    pairs = 1 if classes is None else classes * (classes - 1) // 2
    checked.letters.update({"pairs": pairs, "counted": 2 if classes is None else classes})
    checked.letters["others"] = 1 if classes is None else classes - 1
    counts = checked.array("_n_support", wholes("counted", low=0, high=vectors))
    held = int(counts[0]) if classes is None else int(counts.sum(dtype=np.int64))
    if not vectors or held != vectors or (classes is not None and classes < 2):
        raise checked.misfit("_n_support", f"{held} in all", f"{vectors} support vectors, at least one")
    checked.has({"_dual_coef_": floats("others v"), "_intercept_": floats("pairs")})
    checked.has({"dual_coef_": floats("others v"), "intercept_": floats("pairs")})
    for name in ("_probA", "_probB"):
        checked.array(name, floats("pairs", "0"))
    if np.shape(checked.attributes["_probA"]) != np.shape(checked.attributes["_probB"]):
        raise checked.misfit("_probB", "of another length", "that of _probA")


def _neighbors(checked: Checked) -> None:
    checked.is_one_of("_tree", (None,))  # trees of the compiled kind cannot be checked; brute force has none
    checked.is_one_of("_fit_method", ("brute",))
    checked.letters["s"] = checked.whole("n_samples_fit_", 1, 1 << 40)
    checked.array("_fit_X", floats("s n"))
    parameters: Any = checked.attributes.get("effective_metric_params_")
    if not isinstance(parameters, dict) or set(parameters) - {"p"}:  # pyright: ignore[reportUnknownArgumentType]
        raise checked.misfit("effective_metric_params_", "others", "p at most")
    metric: Any = checked.attributes.get("effective_metric_")
    if not isinstance(metric, str) or metric == "precomputed":
        raise checked.misfit("effective_metric_", repr(metric)[:60], "the name of a metric of features")


def _neighbor_classes(checked: Checked) -> None:
    _neighbors(checked)
    known = checked.attributes.get("classes_")
    counts = [len(one) for one in known] if isinstance(known, list) else [checked.letters["k"]]  # pyright: ignore
    targets = checked.array("_y", wholes("s", "s o", low=0))
    columns = targets.reshape(len(targets), -1)
    if columns.shape[1] != len(counts) or not all(
        int(column.max()) < count for column, count in zip(columns.T, counts, strict=True)
    ):
        raise checked.misfit("_y", "of classes that are not there", "places in classes_")


def _neighbor_values(checked: Checked) -> None:
    _neighbors(checked)
    checked.array("_y", Field("iuf", ("s", "s o")))


def _kernel_of_features(checked: Checked) -> None:
    kernel = checked.attributes.get("kernel")
    if not isinstance(kernel, str) or kernel == "precomputed":
        raise checked.misfit("kernel", repr(kernel)[:60], "the name of a kernel of features")


def _process(checked: Checked) -> None:
    checked.has({"X_train_": floats("s n"), "y_train_": floats("s", "s t")})
    checked.has({"alpha_": floats("s", "s t"), "L_": floats("s s")})
    checked.letters.setdefault("t", 1)
    checked.has({"_y_train_mean": floats("", "1", "t"), "_y_train_std": floats("", "1", "t")})


def _binary_process(checked: Checked) -> None:
    checked.has({"X_train_": floats("s p"), "y_train_": Field("iufb", ("s",)), "pi_": floats("s")})
    checked.has({"W_sr_": floats("s"), "L_": floats("s s"), "f_cached": floats("s", optional=True)})


def _kernel_parameter(checked: Checked) -> None:
    for name, value in checked.attributes.items():
        if not name.endswith("bounds") and isinstance(value, (int, float, np.ndarray, np.generic)):
            checked.letters.pop("p", None)
            checked.array(name, floats("", "p"))


_SVM = fields({}, _support_vectors)

KERNELS: dict[str, Validator] = {
    "sklearn.svm._classes.NuSVC": _SVM,
    "sklearn.svm._classes.NuSVR": _SVM,
    "sklearn.svm._classes.OneClassSVM": _SVM,
    "sklearn.svm._classes.SVC": _SVM,
    "sklearn.svm._classes.SVR": _SVM,
    "sklearn.neighbors._classification.KNeighborsClassifier": fields({}, _neighbor_classes),
    "sklearn.neighbors._classification.RadiusNeighborsClassifier": fields({}, _neighbor_classes),
    "sklearn.neighbors._regression.KNeighborsRegressor": fields({}, _neighbor_values),
    "sklearn.neighbors._regression.RadiusNeighborsRegressor": fields({}, _neighbor_values),
    "sklearn.neighbors._unsupervised.NearestNeighbors": fields({}, _neighbors),
    "sklearn.kernel_approximation.Nystroem": fields(
        {"components_": floats("c n"), "normalization_": floats("c c")}, _kernel_of_features
    ),
    "sklearn.decomposition._kernel_pca.KernelPCA": fields(
        {"X_fit_": floats("s n"), "eigenvectors_": floats("s c"), "eigenvalues_": floats("c")}, _kernel_of_features
    ),
    "sklearn.preprocessing._data.KernelCenterer": fields({"K_fit_rows_": floats("n"), "K_fit_all_": floats("")}),
    "sklearn.kernel_ridge.KernelRidge": fields(
        {"X_fit_": floats("s n"), "dual_coef_": floats("s", "s t")}, _kernel_of_features
    ),
    "sklearn.gaussian_process._gpc.GaussianProcessClassifier": fields({}),
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace": _binary_process,
    "sklearn.gaussian_process._gpr.GaussianProcessRegressor": fields({}, _process),
    **{
        _GP + name: _kernel_parameter
        for name in (
            "ConstantKernel", "DotProduct", "Exponentiation", "ExpSineSquared", "Matern", "Product", "RBF",
            "RationalQuadratic", "Sum", "WhiteKernel",
        )
    },
}  # fmt: skip
