"""Small tables for protocols, and the rows that their independent implementations work on."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.tables import FeatureTable
from embedkit.tables.head import TableHead
from tests.tables.table_samples import make_digests, make_spec


def table_of(X: npt.NDArray[Any], labels: Any, split: Any = None, **head: Any) -> FeatureTable:
    n, width = X.shape
    return FeatureTable(
        TableHead(
            spec=head.pop("spec", make_spec(width)),
            keys=[f"{row}.jpg" for row in range(n)],
            digests=make_digests(n),
            labels=labels,
            split=None if split is None else list(split),
            **head,
        ),
        np.ascontiguousarray(X, dtype=np.float32),
    )


@dataclass(frozen=True)
class Rows:
    """A table and its rows as arrays: training, validation (or None) and test."""

    table: FeatureTable
    X: npt.NDArray[np.float32]
    y: npt.NDArray[Any]
    X_val: npt.NDArray[np.float32] | None
    y_val: npt.NDArray[Any] | None
    X_test: npt.NDArray[np.float32]
    y_test: npt.NDArray[Any]

    @property
    def X_known(self) -> npt.NDArray[np.float32]:  # noqa: N802
        return self.X if self.X_val is None else np.concatenate([self.X, self.X_val])

    @property
    def y_known(self) -> npt.NDArray[Any]:
        return self.y if self.y_val is None else np.concatenate([self.y, self.y_val])


def rows_of(
    *, kind: str = "class", classes: int = 3, n: int = 240, width: int = 8, validation: bool = False, seed: int = 0
) -> Rows:
    """Overlapping classes, so that no penalty separates them and every optimum is finite."""
    random = np.random.default_rng(seed)
    splits = ["train", "train", "test", "val" if validation else "train"]
    split = np.array(splits)[random.permutation(np.arange(n) % 4)]
    head: dict[str, Any] = {}
    if kind == "class":
        y: npt.NDArray[Any] = random.permutation(np.arange(n) % classes)
        X = random.standard_normal((n, width)) + 0.8 * random.standard_normal((classes, width))[y]
        labels: Any = [f"class {k}" for k in y]
    else:
        X = random.standard_normal((n, width))
        signal = X @ random.standard_normal((width, classes)) + 1.5 * random.standard_normal((n, classes))
        y = signal > 2 if kind == "multilabel" else signal[:, 0]
        labels = y
        if kind == "multilabel":
            head["classes"] = [f"class {k}" for k in range(classes)]
    X = (X * np.linspace(0.3, 3, width)).astype(np.float32)
    train, val, test = (split == name for name in ("train", "val", "test"))
    return Rows(
        table=table_of(X, labels, split, **head),
        X=X[train],
        y=y[train],
        X_val=X[val] if validation else None,
        y_val=y[val] if validation else None,
        X_test=X[test],
        y_test=y[test],
    )


def names(codes: npt.NDArray[Any]) -> list[Any]:
    """The labels of class numbers."""
    flat = [f"class {k}" for k in codes.ravel()]
    return np.array(flat).reshape(codes.shape).tolist()


def solved(X: npt.NDArray[Any], y: npt.NDArray[Any], C: float) -> Any:
    """scikit-learn's logistic regression, solved to 1e-10."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=C, solver="newton-cg", tol=1e-10, max_iter=10_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its line search warns where rounding ends the descent
        return model.fit(X.astype(np.float64), y)


def stopped(
    X: npt.NDArray[Any], y: npt.NDArray[Any], C: float, *, max_iter: int, tol: float = 1e-4, dtype: Any = np.float64
) -> Any:
    """scikit-learn's logistic regression as lbfgs stops."""
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return LogisticRegression(C=C, max_iter=max_iter, tol=tol).fit(X.astype(dtype), y)
