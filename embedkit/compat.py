"""What differs between the releases of scikit-learn that embedkit runs on (1.6 and up).

`can_dispatch` is the one difference that the library meets: `validate_data`, `__sklearn_tags__` and
`parametrize_with_checks` with expected failures are the same from 1.6 on, and `penalty=None`, which 1.8 deprecates for
`C=np.inf`, is not used. The comparisons with scikit-learn's own numbers need to know the release:
`LinearDiscriminantAnalysis(solver="svd")` divides the covariance by n - n_classes before 1.9 and by n from then on. The
tests of all that meets scikit-learn run at both ends: `.ci/floor` runs them on 1.6, with SciPy and NumPy of its time.

Layer: below every room. Imports scikit-learn.
"""

from __future__ import annotations

from typing import Any, cast

import sklearn


def sklearn_release() -> tuple[int, int]:
    """Return the major and minor number of scikit-learn's release."""
    major, minor = sklearn.__version__.split(".")[:2]
    return int(major), int(minor)


def can_dispatch() -> bool:
    """Say whether this scikit-learn can dispatch to arrays of other libraries, whatever SciPy's settings.

    Release 1.6 wants array-api-compat for it, which later ones bring along.
    """
    try:
        with cast(Any, sklearn).config_context(array_api_dispatch=True):
            return True
    except ImportError:
        return False
    except RuntimeError:  # SCIPY_ARRAY_API is not set, which is told apart elsewhere
        return True
