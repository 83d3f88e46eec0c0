"""The few lines that differ between scikit-learn 1.6 and the newest.

Layer: below every room. Imports scikit-learn.
"""

from __future__ import annotations

import numpy as np
import sklearn

SKLEARN_VERSION: tuple[int, int] = (int(sklearn.__version__.split(".")[0]), int(sklearn.__version__.split(".")[1]))
"""Major and minor version of scikit-learn."""


def unpenalised() -> dict[str, float | None]:
    """Give the argument that turns the penalty of `sklearn.linear_model.LogisticRegression` off.

    ``penalty`` is deprecated since 1.8 in favour of ``C=np.inf``, which 1.6 and 1.7 refuse.
    """
    return {"C": np.inf} if SKLEARN_VERSION >= (1, 8) else {"penalty": None}
