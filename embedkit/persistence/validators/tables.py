"""Estimators that compute with NumPy, or hand whole arrays to compiled code: what they are made of.

Layer: persistence; above fields. NumPy only.
"""

from __future__ import annotations

from typing import Any

from embedkit.persistence.validators.fields import Checked, Field, Validator, fields, floats, wholes

_BOOLS = Field("b", ("n",))
_LABELS = Field("biufUSO", ("x",), finite=False)


def _widths_of_layers(checked: Checked) -> None:
    """Check a multi-layer perceptron: each layer takes what the one before gives."""
    coefs, intercepts = checked.listed("coefs_"), checked.listed("intercepts_")
    if len(coefs) < 1 or len(coefs) != len(intercepts) or checked.whole("n_layers_", 2, 1000) != len(coefs) + 1:
        raise checked.misfit("coefs_", f"{len(coefs)} layers", "one for each but the first of n_layers_")
    width = checked.n
    for coef, intercept in zip(coefs, intercepts, strict=True):
        checked.letters.pop("m", None)
        checked.letters["i"] = width
        width = checked.array("coefs_", floats("i m"), coef).shape[1]
        checked.array("intercepts_", floats("m"), intercept)
    if width != checked.whole("n_outputs_", 1, 1 << 24):
        raise checked.misfit("coefs_", f"{width} outputs", "n_outputs_")
    checked.is_one_of("out_activation_", ("identity", "softmax", "logistic"))


def _quadratic(checked: Checked) -> None:
    count = checked.letters["k"]
    scalings, rotations = checked.listed("scalings_", count), checked.listed("rotations_", count)
    for scaling, rotation in zip(scalings, rotations, strict=True):
        checked.letters.pop("q", None)
        checked.array("scalings_", floats("q"), scaling)
        checked.array("rotations_", floats("n q"), rotation)


def _categories(checked: Checked) -> None:
    for part in checked.listed("categories_", checked.n):
        checked.letters.pop("x", None)
        checked.array("categories_", _LABELS, part)


def _bins(checked: Checked) -> None:
    for part in checked.array("bin_edges_", Field("O", ("n",))).tolist():
        checked.letters.pop("x", None)
        checked.array("bin_edges_", floats("x"), part)


def _dummy(checked: Checked) -> None:
    checked.whole("n_outputs_", 1, 1 << 24)


def nothing(checked: Checked) -> None:
    """Accept what holds other estimators, or parameters only."""


def _linear(checked: Checked) -> None:
    coef = checked.array("coef_", floats("r n", "n", "t n"))
    checked.letters["outputs"] = len(coef) if coef.ndim == 2 else 1
    checked.array("intercept_", floats("outputs", ""))


_LINEAR = fields({}, _linear)
_COUNTS = fields({"class_count_": floats("k"), "feature_log_prob_": floats("k n", finite=False),
                  "class_log_prior_": floats("k", finite=False)})  # fmt: skip
_SCORES = fields({"scores_": floats("n", finite=False), "pvalues_": floats("n", finite=False, optional=True)})
_MIXTURE = fields(
    {
        "weights_": floats("c"),
        "means_": floats("c n"),
        "precisions_cholesky_": floats("c n n", "c n", "n n", "c"),
    }
)
_MLP = fields({}, _widths_of_layers)
_COMPONENTS = fields({"components_": floats("c n"), "mean_": floats("n", optional=True)})
_MAPPED = fields({"map_": floats("n n"), "source_mean_": floats("n"), "target_mean_": floats("n")})
_MASK = fields({"support_": _BOOLS})

_LINEAR_MODELS = {
    "_bayes": ("ARDRegression", "BayesianRidge"),
    "_coordinate_descent": (
        "ElasticNet", "ElasticNetCV", "Lasso", "LassoCV", "MultiTaskElasticNet", "MultiTaskElasticNetCV",
        "MultiTaskLasso", "MultiTaskLassoCV",
    ),
    "_base": ("LinearRegression",),
    "_glm.glm": ("GammaRegressor", "PoissonRegressor", "TweedieRegressor"),
    "_huber": ("HuberRegressor",),
    "_least_angle": ("Lars", "LarsCV", "LassoLars", "LassoLarsCV", "LassoLarsIC"),
    "_omp": ("OrthogonalMatchingPursuit", "OrthogonalMatchingPursuitCV"),
    "_quantile": ("QuantileRegressor",),
    "_ridge": ("Ridge", "RidgeCV"),
    "_stochastic_gradient": ("SGDRegressor",),
    "_passive_aggressive": ("PassiveAggressiveRegressor",),
    "_theil_sen": ("TheilSenRegressor",),
}  # fmt: skip
_LINEAR_CLASSIFIERS = {
    "_logistic": ("LogisticRegression", "LogisticRegressionCV"),
    "_ridge": ("RidgeClassifier", "RidgeClassifierCV"),
    "_stochastic_gradient": ("SGDClassifier",),
    "_passive_aggressive": ("PassiveAggressiveClassifier",),
    "_perceptron": ("Perceptron",),
}
_COMPOSED = (
    "sklearn.calibration.CalibratedClassifierCV",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.compose._column_transformer.ColumnTransformer",
    "sklearn.compose._target.TransformedTargetRegressor",
    "sklearn.ensemble._stacking.StackingClassifier",
    "sklearn.ensemble._stacking.StackingRegressor",
    "sklearn.ensemble._voting.VotingClassifier",
    "sklearn.ensemble._voting.VotingRegressor",
    "sklearn.feature_selection._from_model.SelectFromModel",
    "sklearn.frozen._frozen.FrozenEstimator",
    "sklearn.model_selection._classification_threshold.FixedThresholdClassifier",
    "sklearn.model_selection._classification_threshold.TunedThresholdClassifierCV",
    "sklearn.model_selection._search.GridSearchCV",
    "sklearn.model_selection._search.RandomizedSearchCV",
    "sklearn.model_selection._search_successive_halving.HalvingGridSearchCV",  # not public, being experimental
    "sklearn.model_selection._search_successive_halving.HalvingRandomSearchCV",
    "sklearn.multiclass.OneVsOneClassifier",
    "sklearn.multiclass.OneVsRestClassifier",
    "sklearn.multioutput.ClassifierChain",
    "sklearn.multioutput.MultiOutputClassifier",
    "sklearn.multioutput.MultiOutputRegressor",
    "sklearn.multioutput.RegressorChain",
    "sklearn.pipeline.FeatureUnion",
    "sklearn.pipeline.Pipeline",
    "sklearn.preprocessing._function_transformer.FunctionTransformer",
)
_WITHOUT_ARRAYS = (
    "sklearn.preprocessing._data.Binarizer",
    "sklearn.preprocessing._data.Normalizer",
    "embedkit.estimators.transformers.SignedPower",
    "embedkit.estimators.transformers.ViewAverage",
)


def _parametric(checked: Checked) -> None:
    checked.array("a_", floats(""))
    checked.array("b_", floats(""))


def _named(rooms: dict[str, tuple[str, ...]], validator: Validator) -> dict[str, Validator]:
    return {f"sklearn.linear_model.{room}.{name}": validator for room, names in rooms.items() for name in names}


def _statistics(checked: Checked) -> None:
    """Check sums over rows, of which the features are the letters in `mean`."""
    checked.has(
        {
            "mean": floats("p"),
            "scatter": floats("p p"),
            "class_n": floats("c", low=0),
            "class_means": floats("c p", "0 0"),
            "target_mean": floats("t"),
            "cross": floats("p t", "0 0"),
            "class_scatter": floats("c p p", "0 0 0", optional=True),
            "drift": floats("", low=0, optional=True),
        }
    )
    checked.is_one_of("by_class", (True, False, None))  # None: of a file from before
    checked.array("classes", Field("biufUSO", ("c",), finite=False))
    checked.is_one_of("target", ("none", "classes", "values"))


def _nearest_rows(checked: Checked) -> None:
    checked.has(
        {"_rows": floats("s p"), "_scale": floats("s", optional=True), "_half_squares": floats("s", optional=True)}
    )
    checked.is_one_of("_metric", ("cosine", "euclidean"))
    needed = "_scale" if checked.attributes["_metric"] == "cosine" else "_half_squares"
    checked.array(needed, floats("s"))


def _own_neighbors(checked: Checked) -> None:
    rows = checked.whole("n_samples_fit_", 1, 1 << 40)
    nearest: Any = checked.attributes.get("_nearest")
    if getattr(getattr(nearest, "_rows", None), "shape", None) != (rows, checked.n):
        raise checked.misfit("_nearest", "of other rows", f"{rows} rows of {checked.n} features")
    checked.letters["s"] = rows
    checked.array("_targets", wholes("s", low=0, high=checked.letters["k"] - 1))


def _adaptive_neighbors(checked: Checked) -> None:
    shape: Any = getattr(getattr(checked.attributes.get("_nearest"), "_rows", None), "shape", ())
    if len(shape) != 2 or shape[1] != checked.n:
        raise checked.misfit("_nearest", "of other features", f"rows of {checked.n} features")
    checked.letters["s"] = shape[0]
    checked.array("_targets", wholes("s", low=0, high=checked.letters["k"] - 1))
    checked.has({"neighbors_": wholes("s", low=1), "reliability_": floats("s", low=0)})


def _streaming_ridge(checked: Checked) -> None:
    checked.has({"coefs_": floats("a t n"), "intercepts_": floats("a t"), "alphas_": floats("a", low=0)})
    checked.has({"coef_": floats("t n", "n", optional=True), "intercept_": floats("t", "", optional=True)})


TABLES: dict[str, Validator] = {
    **_named(_LINEAR_MODELS, _LINEAR),
    **_named(_LINEAR_CLASSIFIERS, _LINEAR),
    "sklearn.svm._classes.LinearSVC": _LINEAR,
    "sklearn.svm._classes.LinearSVR": _LINEAR,
    "sklearn.cluster._kmeans.KMeans": fields(
        {"cluster_centers_": floats("c n")}, lambda checked: _threads(checked, "_n_threads")
    ),
    "sklearn.cluster._kmeans.MiniBatchKMeans": fields(
        {"cluster_centers_": floats("c n")}, lambda checked: _threads(checked, "_n_threads")
    ),
    "sklearn.calibration._SigmoidCalibration": _parametric,
    "sklearn.cross_decomposition._pls.PLSRegression": fields(
        {"coef_": floats("t n"), "intercept_": floats("t"), "_x_mean": floats("n"), "x_rotations_": floats("n c")}
    ),
    "sklearn.decomposition._factor_analysis.FactorAnalysis": fields(
        {"components_": floats("c n"), "mean_": floats("n"), "noise_variance_": floats("n")}
    ),
    "sklearn.decomposition._fastica.FastICA": fields(
        {"components_": floats("c n"), "mean_": floats("n", optional=True), "mixing_": floats("n c")}
    ),
    "sklearn.decomposition._incremental_pca.IncrementalPCA": fields(
        {"components_": floats("c n"), "mean_": floats("n"), "explained_variance_": floats("c")}
    ),
    "sklearn.decomposition._pca.PCA": fields(
        {"components_": floats("c n"), "mean_": floats("n"), "explained_variance_": floats("c")}
    ),
    "sklearn.decomposition._truncated_svd.TruncatedSVD": _COMPONENTS,
    "sklearn.discriminant_analysis.LinearDiscriminantAnalysis": fields(
        {
            "coef_": floats("r n"),
            "intercept_": floats("r"),
            "means_": floats("k n", optional=True),
            "priors_": floats("k"),
            "xbar_": floats("n", optional=True),
            "scalings_": floats("n c", optional=True),
        }
    ),
    "sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis": fields(
        {"priors_": floats("k"), "means_": floats("k n")}, _quadratic
    ),
    "sklearn.dummy.DummyClassifier": _dummy,
    "sklearn.dummy.DummyRegressor": fields({"constant_": floats("1 t", finite=False)}, _dummy),
    "sklearn.feature_selection._rfe.RFE": _MASK,
    "sklearn.feature_selection._rfe.RFECV": _MASK,
    "sklearn.feature_selection._sequential.SequentialFeatureSelector": _MASK,
    "sklearn.feature_selection._variance_threshold.VarianceThreshold": fields({"variances_": floats("n")}),
    **{
        f"sklearn.feature_selection._univariate_selection.{name}": _SCORES
        for name in (
            "GenericUnivariateSelect",
            "SelectFdr",
            "SelectFpr",
            "SelectFwe",
            "SelectKBest",
            "SelectPercentile",
        )
    },
    "sklearn.impute._base.MissingIndicator": fields({"features_": wholes("f", low=0)}),
    "sklearn.impute._base.SimpleImputer": fields({"statistics_": Field("biufUSO", ("n",), finite=False)}),
    "sklearn.impute._knn.KNNImputer": fields(
        {"_fit_X": floats("s n", finite=False), "_mask_fit_X": Field("b", ("s n",)), "_valid_mask": _BOOLS}
    ),
    "sklearn.kernel_approximation.RBFSampler": fields(
        {"random_weights_": floats("n c"), "random_offset_": floats("c")}
    ),
    "sklearn.mixture._bayesian_mixture.BayesianGaussianMixture": _MIXTURE,
    "sklearn.mixture._gaussian_mixture.GaussianMixture": _MIXTURE,
    "sklearn.naive_bayes.BernoulliNB": _COUNTS,
    "sklearn.naive_bayes.ComplementNB": _COUNTS,
    "sklearn.naive_bayes.GaussianNB": fields(
        {"theta_": floats("k n"), "var_": floats("k n", low=0), "class_prior_": floats("k")}
    ),
    "sklearn.naive_bayes.MultinomialNB": _COUNTS,
    "sklearn.neighbors._nearest_centroid.NearestCentroid": fields({"centroids_": floats("k n")}),
    "sklearn.neural_network._multilayer_perceptron.MLPClassifier": _MLP,
    "sklearn.neural_network._multilayer_perceptron.MLPRegressor": _MLP,
    "sklearn.preprocessing._data.MaxAbsScaler": fields({"scale_": floats("n")}),
    "sklearn.preprocessing._data.MinMaxScaler": fields({"scale_": floats("n"), "min_": floats("n")}),
    "sklearn.preprocessing._data.PowerTransformer": fields({"lambdas_": floats("n", finite=False)}),
    "sklearn.preprocessing._data.QuantileTransformer": fields(
        {"quantiles_": floats("q n"), "references_": floats("q"), "n_quantiles_": wholes("", low=1)}
    ),
    "sklearn.preprocessing._data.RobustScaler": fields(
        {"center_": floats("n", optional=True), "scale_": floats("n", optional=True)}
    ),
    "sklearn.preprocessing._data.StandardScaler": fields(
        {"mean_": floats("n", optional=True), "scale_": floats("n", optional=True)}
    ),
    "sklearn.preprocessing._discretization.KBinsDiscretizer": fields({"n_bins_": wholes("n", low=1)}, _bins),
    "sklearn.preprocessing._encoders.OneHotEncoder": fields({}, _categories),
    "sklearn.preprocessing._encoders.OrdinalEncoder": fields({}, _categories),
    "sklearn.preprocessing._label.LabelBinarizer": nothing,
    "sklearn.preprocessing._label.LabelEncoder": nothing,
    "sklearn.preprocessing._label.MultiLabelBinarizer": nothing,
    "sklearn.random_projection.GaussianRandomProjection": fields({"components_": floats("c n")}),
    "embedkit.estimators.label_sets.LabelSetClassifier": fields(
        {"classes_": Field("U", ("k",)), "thresholds_": floats("k")}
    ),
    "embedkit.estimators.linear_svc.LinearSVC": _LINEAR,
    "embedkit.estimators.linear_svc.LinearSVCPath": _LINEAR,
    "embedkit.estimators.logistic.LogisticRegression": _LINEAR,
    "embedkit.estimators.logistic_path.LogisticRegressionPath": _LINEAR,
    "embedkit.estimators.nearest_rows.NearestRows": _nearest_rows,
    "embedkit.estimators.pointwise.PointwiseAugmentation": fields({}),
    "embedkit.estimators.adaptive_neighbors.AdaptiveNeighborsClassifier": fields({}, _adaptive_neighbors),
    "embedkit.estimators.robust_logistic.RobustLogisticRegression": _LINEAR,
    "embedkit.estimators.neighbors.KNeighborsClassifier": fields({}, _own_neighbors),
    "embedkit.estimators.neighbors.NearestClassMean": fields({"class_means_": floats("k n"), "mean_": floats("n")}),
    "embedkit.estimators.streaming_lda.StreamingLDA": fields(
        {
            "coef_": floats("r n", "k n", optional=True),
            "intercept_": floats("r", "k", optional=True),
            "means_": floats("k n"),
            "priors_": floats("k"),
            "xbar_": floats("n", optional=True),
            "scalings_": floats("n c", optional=True),
        }
    ),
    "embedkit.estimators.alignment.CORAL": _MAPPED,
    "embedkit.estimators.alignment.LinearTransport": _MAPPED,
    "embedkit.estimators.alignment.SubspaceAlignment": fields(
        {
            "source_axes_": floats("n c"),
            "target_axes_": floats("n c"),
            "source_mean_": floats("n"),
            "target_mean_": floats("n"),
        }
    ),
    "embedkit.estimators.streaming_pca.StreamingPCA": fields(
        {"components_": floats("c n"), "mean_": floats("n"), "explained_variance_": floats("c")}
    ),
    "embedkit.estimators.streaming_ridge.StreamingRidge": fields({}, _streaming_ridge),
    "embedkit.estimators.streaming_ridge.StreamingRidgeClassifier": fields({}, _streaming_ridge),
    "embedkit.estimators.sufficient_statistics.SufficientStatistics": _statistics,
    **dict.fromkeys(_COMPOSED, nothing),
    **dict.fromkeys(_WITHOUT_ARRAYS, nothing),
}
"""The name of a class -> what checks a fitted one; what is composed of others is checked by these."""


def _threads(checked: Checked, name: str) -> None:
    checked.whole(name, 1, 1024)
