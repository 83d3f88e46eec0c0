"""The allow-list: what a model file may hold.

Of scikit-learn's and NumPy's types, skops lets pass the public ones that cannot run code of the file's maker. Here they
are named one by one: what has a validator, what holds plain values, and functions that compute from arrays and do
nothing else. Not here, for a reason: distributions of scipy.stats, which compile text that they hold; search trees of
neighbours, whose nodes cannot be looked at.

Layer: persistence; above validators.
"""

from __future__ import annotations

from embedkit.persistence.validators import PLAIN, VALIDATORS

_FUNCTIONS = frozenset(
    {
        "numpy.number",  # an abstract type, by which columns are selected
        "sklearn.feature_selection._univariate_selection.f_classif",
        "sklearn.feature_selection._univariate_selection.f_regression",
        "sklearn.metrics._classification.accuracy_score",
        "sklearn.metrics._classification.balanced_accuracy_score",
        "sklearn.metrics._classification.f1_score",
        "sklearn.metrics._classification.log_loss",
        "sklearn.metrics._classification.precision_score",
        "sklearn.metrics._classification.recall_score",
        "sklearn.metrics._ranking.average_precision_score",
        "sklearn.metrics._ranking.roc_auc_score",
        "sklearn.metrics._ranking.top_k_accuracy_score",
        "sklearn.metrics._regression.mean_absolute_error",
        "sklearn.metrics._regression.mean_squared_error",
        "sklearn.metrics._regression.r2_score",
        "sklearn.metrics._regression.root_mean_squared_error",
    }
)

TRUSTED_TYPES = frozenset(VALIDATORS) | PLAIN | _FUNCTIONS
"""Names of types and functions, as ``sklearn.svm._classes.SVC``."""
