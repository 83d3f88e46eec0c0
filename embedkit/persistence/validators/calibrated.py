"""Estimators that compare scores with those of rows held out.

Layer: persistence; above fields. NumPy only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from embedkit.persistence.validators.fields import Checked, Validator, fields, floats


def _ascending(checked: Checked, name: str) -> None:
    """Check calibrated scores, which are searched by halves."""
    scores = checked.array(name, floats("s"))
    if not len(scores) or (np.diff(scores) < 0).any():
        raise checked.misfit(name, "not in order, or empty", "scores that ascend")


def _sets(checked: Checked) -> None:
    _ascending(checked, "scores_")


def _unknowns(checked: Checked) -> None:
    _ascending(checked, "distances_")
    checked.is_one_of("distance", ("mahalanobis", "knn", "svm"))
    if checked.attributes["distance"] == "mahalanobis":
        checked.has({"center_": floats("n"), "whitening_": floats("n n"), "means_": floats("k n")})
        return
    if checked.attributes["distance"] == "svm":
        machine = checked.attributes.get("machine_")
        if getattr(machine, "n_features_in_", None) != checked.n or not hasattr(machine, "decision_function"):
            raise checked.misfit("machine_", "of other features", f"a machine of {checked.n} features")
        return
    shape: Any = getattr(getattr(checked.attributes.get("nearest_"), "_rows", None), "shape", ())
    if len(shape) != 2 or shape[1] != checked.n:
        raise checked.misfit("nearest_", "of other features", f"rows of {checked.n} features")
    checked.whole("n_neighbors", 1, shape[0])


CALIBRATED: dict[str, Validator] = {
    "embedkit.estimators.conformal.ConformalClassifier": fields({}, _sets),
    "embedkit.estimators.unknowns.UnknownDetector": fields({}, _unknowns),
}
