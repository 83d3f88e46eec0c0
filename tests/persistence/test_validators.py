"""Every estimator that a model file may hold: it survives the file, and hostile arrays in it crash nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skops.io

from embedkit.persistence.archive import check_archive
from embedkit.persistence.trusted import TRUSTED_TYPES
from embedkit.persistence.validators import PLAIN, VALIDATORS, validate
from tests.persistence.estimators import fitted, outcome

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
