"""scikit-learn estimators on features: fast where features are, exact where scikit-learn's are.

Layer: imports scikit-learn, SciPy, NumPy, and of embedkit only errors and compat; torch only when a device asks for it.
"""

from embedkit.estimators.logistic import LogisticRegression, LogisticRegressionPath

__all__ = ["LogisticRegression", "LogisticRegressionPath"]
