"""scikit-learn estimators on features: fast where features are, exact where scikit-learn's are.

Layer: imports scikit-learn, SciPy, NumPy, and of embedkit only errors and compat; torch only when a device asks for it.
"""

from embedkit.estimators.adaptive_neighbors import AdaptiveNeighborsClassifier
from embedkit.estimators.alignment import CORAL, LinearTransport, SubspaceAlignment
from embedkit.estimators.array_api import device_for, fit_on, fit_transform_on
from embedkit.estimators.arrays import release_pages
from embedkit.estimators.class_ridge import block_ridge, class_weights, fitted_weights, standardising
from embedkit.estimators.conformal import ConformalClassifier
from embedkit.estimators.held_out import held_out_rows, rarity
from embedkit.estimators.label_sets import LabelSetClassifier
from embedkit.estimators.linear_svc import LinearSVC, LinearSVCPath
from embedkit.estimators.logistic import LogisticRegression
from embedkit.estimators.logistic_path import LogisticRegressionPath
from embedkit.estimators.nearest_rows import PART_ROWS, NearestRows, nearest_in_parts, require_finite
from embedkit.estimators.neighbors import KNeighborsClassifier, NearestClassMean
from embedkit.estimators.pointwise import PointwiseAugmentation
from embedkit.estimators.robust_logistic import RobustLogisticRegression
from embedkit.estimators.scaled_statistics import standardised
from embedkit.estimators.streaming_lda import StreamingLDA
from embedkit.estimators.streaming_pca import StreamingPCA
from embedkit.estimators.streaming_ridge import StreamingRidge, StreamingRidgeClassifier
from embedkit.estimators.sufficient_statistics import SufficientStatistics
from embedkit.estimators.transformers import SignedPower, ViewAverage, fuse
from embedkit.estimators.unknowns import DISTANCES, Distance, UnknownDetector

__all__ = [
    "AdaptiveNeighborsClassifier",
    "ConformalClassifier",
    "CORAL",
    "DISTANCES",
    "Distance",
    "KNeighborsClassifier",
    "LabelSetClassifier",
    "LinearSVC",
    "LinearSVCPath",
    "LinearTransport",
    "LogisticRegression",
    "LogisticRegressionPath",
    "NearestClassMean",
    "NearestRows",
    "PART_ROWS",
    "RobustLogisticRegression",
    "PointwiseAugmentation",
    "SignedPower",
    "StreamingLDA",
    "StreamingPCA",
    "StreamingRidge",
    "StreamingRidgeClassifier",
    "SubspaceAlignment",
    "SufficientStatistics",
    "UnknownDetector",
    "ViewAverage",
    "block_ridge",
    "class_weights",
    "device_for",
    "fit_on",
    "fit_transform_on",
    "fitted_weights",
    "fuse",
    "held_out_rows",
    "nearest_in_parts",
    "rarity",
    "release_pages",
    "require_finite",
    "standardised",
    "standardising",
]
