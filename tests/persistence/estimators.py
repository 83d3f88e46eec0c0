"""One small fitted estimator of each kind that a model file may hold."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA, FactorAnalysis, FastICA, IncrementalPCA, KernelPCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import RFE, SelectFromModel, SelectKBest, VarianceThreshold
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, DotProduct, Matern, RationalQuadratic, WhiteKernel
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import (
    ARDRegression,
    BayesianRidge,
    ElasticNetCV,
    HuberRegressor,
    LassoLarsIC,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    NearestCentroid,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.random_projection import GaussianRandomProjection
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR, NuSVC, NuSVR, OneClassSVM
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from embedkit import estimators as own


def _as_known(kind: type[Any], **parameters: Any) -> Any:
    """Make an estimator with those of some parameters that this release of scikit-learn knows."""
    known = kind().get_params()
    return kind(**{name: value for name, value in parameters.items() if name in known})


X = np.abs(np.random.default_rng(0).normal(size=(36, 20))).astype(np.float32)
Y = np.array(["red", "green", "blue"])[np.arange(36) % 3]
TWO = np.array(["no", "yes"])[np.arange(36) % 2]
VALUES = X[:, 0] + np.arange(36) / 36

_few = {"n_estimators": 3, "random_state": 0}

CLASSIFIERS: list[Any] = [
    AdaBoostClassifier(**_few),
    BaggingClassifier(LogisticRegression(), max_features=0.5, **_few),
    BaggingClassifier(**_few),
    BernoulliNB(),
    CalibratedClassifierCV(LinearSVC(), cv=2),
    ComplementNB(),
    DecisionTreeClassifier(random_state=0),
    DummyClassifier(),
    ExtraTreeClassifier(random_state=0),
    ExtraTreesClassifier(**_few),
    GaussianNB(),
    GaussianProcessClassifier(1.0 * RBF(1.0), random_state=0),
    GradientBoostingClassifier(**_few),
    GradientBoostingClassifier(init="zero", **_few),
    GridSearchCV(RandomForestClassifier(**_few), {"max_depth": [2, 3]}, cv=2),
    HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=2),
    KNeighborsClassifier(algorithm="brute"),
    LinearDiscriminantAnalysis(),
    LinearSVC(),
    LogisticRegression(),
    # Without the warning of newer releases about attributes that older ones do not know.
    _as_known(LogisticRegressionCV, Cs=2, cv=2, use_legacy_attributes=False, l1_ratios=(0,)),
    MLPClassifier((5, 4), max_iter=5, random_state=0),
    MultinomialNB(),
    NearestCentroid(),
    NuSVC(nu=0.3),
    OneVsOneClassifier(LinearSVC()),
    OneVsRestClassifier(SVC()),
    Perceptron(),
    # Older releases have no solvers, and say of rows as few as these that they are collinear.
    _as_known(QuadraticDiscriminantAnalysis, solver="eigen", shrinkage=0.5),
    RadiusNeighborsClassifier(radius=50, algorithm="brute"),
    RandomForestClassifier(**_few),
    RidgeClassifier(),
    RidgeClassifierCV(),
    SGDClassifier(random_state=0),
    SVC(),
    SVC(kernel="linear"),
    StackingClassifier([("tree", DecisionTreeClassifier(max_depth=2)), ("linear", LogisticRegression())], cv=2),
    VotingClassifier([("tree", RandomForestClassifier(**_few)), ("svm", SVC())]),
    make_pipeline(PCA(4), RandomForestClassifier(**_few)),
    own.KNeighborsClassifier(),
    own.AdaptiveNeighborsClassifier(1, 5),
    own.RobustLogisticRegression(C=1.0),
    own.LinearSVC(),
    own.LinearSVCPath(Cs=[0.1, 1.0], cv=2),
    own.LogisticRegression(),
    own.LogisticRegressionPath(Cs=[0.1, 1.0], cv=2),
    own.NearestClassMean(),
    own.ConformalClassifier(LogisticRegression(), calibration=0.4),
    own.PointwiseAugmentation(own.LogisticRegression(), copies=1),
    own.StreamingLDA(shrinkage=0.5),
    own.StreamingRidgeClassifier(),
    own.StreamingRidgeClassifier(by_class=True),
    own.UnknownDetector(own.ConformalClassifier(own.NearestClassMean(), calibration=0.4), calibration=0.4),
    own.UnknownDetector(SVC(), distance="knn", n_neighbors=2),
    own.UnknownDetector(SVC(), distance="svm"),
]
REGRESSORS: list[Any] = [
    ARDRegression(),
    AdaBoostRegressor(**_few),
    BaggingRegressor(**_few),
    BayesianRidge(),
    DecisionTreeRegressor(random_state=0),
    DummyRegressor(),
    ElasticNetCV(alphas=[0.1, 1.0], cv=2),
    ExtraTreeRegressor(random_state=0),
    ExtraTreesRegressor(**_few),
    GaussianProcessRegressor(RBF(1.0) + WhiteKernel() + DotProduct() + Matern() * RationalQuadratic()),
    GradientBoostingRegressor(**_few),
    HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=2),
    HuberRegressor(),
    KNeighborsRegressor(algorithm="brute"),
    KernelRidge(kernel="rbf"),
    LassoLarsIC(noise_variance=1.0),
    LinearRegression(),
    LinearSVR(),
    MLPRegressor(hidden_layer_sizes=(5,), max_iter=5, random_state=0),
    NuSVR(),
    PLSRegression(2),
    PoissonRegressor(),
    RadiusNeighborsRegressor(radius=50, algorithm="brute"),
    RandomForestRegressor(**_few),
    Ridge(),
    RidgeCV(),
    SGDRegressor(random_state=0),
    SVR(),
    own.StreamingRidge(),
]
TRANSFORMERS: list[Any] = [
    FactorAnalysis(2),
    FastICA(2, random_state=0),
    GaussianMixture(2, random_state=0, reg_covar=0.1),
    BayesianGaussianMixture(n_components=2, random_state=0, reg_covar=0.1),
    GaussianRandomProjection(3, random_state=0),
    IncrementalPCA(2),
    IsolationForest(n_estimators=3, random_state=0),
    KBinsDiscretizer(2, encode="ordinal", strategy="uniform"),
    KMeans(2, n_init=1, random_state=0),
    KNNImputer(),
    KernelPCA(2, kernel="rbf"),
    MaxAbsScaler(),
    MinMaxScaler(),
    MiniBatchKMeans(2, n_init=1, random_state=0),
    Normalizer(),
    Nystroem(n_components=4, random_state=0),
    OneClassSVM(),
    OneHotEncoder(sparse_output=False),
    OrdinalEncoder(),
    PCA(2, whiten=True),
    PowerTransformer(),
    QuantileTransformer(n_quantiles=10),
    RBFSampler(n_components=3, random_state=0),
    RFE(LogisticRegression(), n_features_to_select=4),
    RobustScaler(),
    SelectFromModel(ExtraTreesClassifier(**_few)),
    SelectKBest(k=3),
    SimpleImputer(),
    StandardScaler(),
    TruncatedSVD(2),
    VarianceThreshold(),
    own.SignedPower(),
    own.StreamingPCA(n_components=2),
]
SEVERAL: list[Any] = [
    ClassifierChain(RandomForestClassifier(**_few), random_state=0),
    DecisionTreeClassifier(random_state=0),
    KNeighborsClassifier(algorithm="brute"),
    MultiOutputClassifier(LogisticRegression()),
    RandomForestClassifier(**_few),
]


def fitted() -> dict[str, Any]:
    """Return all of them, fitted, by names that tell them apart."""
    found: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind, members, target in (
            ("classes", CLASSIFIERS, Y),
            (
                "two classes",
                [SVC(), GradientBoostingClassifier(**_few), HistGradientBoostingClassifier(max_iter=2)],
                TWO,
            ),
            ("values", REGRESSORS, VALUES),
            ("rows", TRANSFORMERS, Y),
            ("several", SEVERAL, np.stack([Y == "red", TWO == "yes"], axis=1).astype(int)),
        ):
            for number, member in enumerate(members):
                found[f"{kind} {number} {type(member).__name__}"] = member.fit(X, target)
    return found


def outcome(estimator: Any) -> list[Any]:
    """Return everything that an estimator says of rows."""
    said: list[Any] = []
    for name in ("predict", "predict_proba", "decision_function", "transform", "predict_set", "p_values"):
        method = getattr(estimator, name, None)
        if method is not None:
            said.append(method(X[:5]))
    return said
