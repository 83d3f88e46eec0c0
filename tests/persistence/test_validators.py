"""Every estimator that a model file may hold: it survives the file, and hostile arrays in it crash nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import Birch
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from embedkit.errors import UntrustedModelError
from embedkit.persistence import check_saveable
from embedkit.persistence.archive import check_archive
from embedkit.persistence.trusted import TRUSTED_TYPES
from embedkit.persistence.validators import PLAIN, VALIDATORS, MisfitError, validate
from tests.persistence.estimators import X, Y, fitted, outcome

FITTED = fitted()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FITTED)
def test_it_survives_the_file(name):
    content = skops.io.dumps(FITTED[name])
    check_archive(content, name, "no")
    loaded = skops.io.loads(content, trusted=sorted(TRUSTED_TYPES))
    validate(loaded)
    for now, then in zip(outcome(loaded), outcome(FITTED[name]), strict=True):
        for one, other in zip(*((said if isinstance(said, list) else [said]) for said in (now, then)), strict=True):
            if np.asarray(other).dtype.kind == "f":
                np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
            else:
                np.testing.assert_array_equal(one, other)


def test_hostile_arrays_crash_nothing():
    """One in 29 of the eleven thousand files that ``python -m tests.persistence.hostile`` makes."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-m", "tests.persistence.hostile", "29"],
        capture_output=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    counts = json.loads(done.stdout)
    assert counts["unclear"] == 0
    assert counts["refused"] > 100
    assert counts["said something"] > 100


def test_support_vectors_that_are_not_there_are_refused():
    """An empty array of coefficients ended predict with a segmentation fault."""
    content = skops.io.dumps(SVC().fit(X, Y))
    model = skops.io.loads(content, trusted=sorted(TRUSTED_TYPES))
    for name in ("_dual_coef_", "support_vectors_", "_n_support", "_intercept_"):
        kept = vars(model)[name]
        setattr(model, name, kept[:0])
        with pytest.raises(MisfitError, match=name.strip("_")[:6]):
            validate(model)
        setattr(model, name, kept)
    validate(model)


def test_what_could_not_be_loaded_is_refused_before_it_is_fitted():
    for one in (KNeighborsClassifier(algorithm="kd_tree"), CalibratedClassifierCV(method="isotonic"), Birch()):
        with pytest.raises(UntrustedModelError, match="expected|cannot|holds types"):
            check_saveable(make_pipeline(one))
    check_saveable(make_pipeline(StandardScaler(), RandomForestClassifier()))


def test_what_has_no_validator_is_not_on_the_list():
    for name in ("sklearn.cluster._birch.Birch", "sklearn.preprocessing._polynomial.SplineTransformer"):
        assert name not in TRUSTED_TYPES
    assert {name for name in TRUSTED_TYPES if name.startswith("embedkit.")} <= set(VALIDATORS)
    assert not PLAIN & set(VALIDATORS)
