"""Trees, whose nodes compiled code follows unchecked, and what is built of them.

A node's children stand behind it, as all of scikit-learn's builders have it: so every way down ends.

Layer: persistence; above fields. scikit-learn for the types.
"""

from __future__ import annotations

import importlib
from typing import Any, cast

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor

from embedkit.persistence.validators.fields import (
    Array,
    Checked,
    Field,
    Validator,
    attributes_of,
    fields,
    floats,
    wholes,
)

_MAX_OUTPUTS = 1 << 24
_BOOSTING = "sklearn.ensemble._hist_gradient_boosting."

# Compiled, and without types that a checker could read.
Tree: Any = cast(Any, importlib.import_module("sklearn.tree._tree")).Tree


def _tree(checked: Checked) -> None:
    tree: Any = checked.attributes.get("tree_")
    if not isinstance(tree, Tree):
        raise checked.misfit("tree_", type(tree).__name__, "a Tree")
    outputs = checked.whole("n_outputs_", 1, _MAX_OUTPUTS)
    # Before any array is asked for: they are views of as many nodes as it says, whether there are so many or not.
    if not 1 <= tree.node_count <= tree.capacity:
        raise checked.misfit("tree_", f"of {tree.node_count} nodes in {tree.capacity} places", "as many as there are")
    if tree.n_features != checked.n or tree.n_outputs != outputs:
        found = f"for {tree.n_features} features and {tree.n_outputs} outputs"
        raise checked.misfit("tree_", found, f"{checked.n} and {outputs}")
    classes = np.asarray(tree.n_classes)
    if classes.min() < 1 or tree.max_n_classes != classes.max():
        raise checked.misfit("tree_", f"of {classes.min()} classes", "at least one")
    if "n_classes_" in checked.attributes:
        told = np.atleast_1d(np.asarray(checked.attributes["n_classes_"]))
        if told.dtype.kind not in "iu" or not np.array_equal(told, classes):
            raise checked.misfit("n_classes_", repr(told.tolist())[:60], "what its tree has")
        if outputs == 1 and checked.letters.get("k") != told[0]:
            raise checked.misfit("classes_", f"{checked.letters.get('k')}", f"{told[0]} classes")
    elif classes.max() != 1:
        raise checked.misfit("tree_", f"of {classes.max()} classes", "values")
    left, right, feature = tree.children_left, tree.children_right, tree.feature
    _check_children(checked, "tree_", left != -1, left, right, feature)
    if not np.isfinite(tree.value).all():
        raise checked.misfit("tree_", "of values that are not finite", "finite ones")


def _check_children(checked: Checked, name: str, inner: Array, left: Array, right: Array, feature: Array) -> None:
    nodes = np.arange(len(inner))[inner]
    for children in (left[inner], right[inner]):
        if not ((children > nodes) & (children < len(inner))).all():
            raise checked.misfit(name, "with children out of their order", "each behind its parent")
    if not ((feature[inner] >= 0) & (feature[inner] < checked.n)).all():
        raise checked.misfit(name, "split by features that are not there", f"0 to {checked.n - 1}")


def _members(checked: Checked, members: list[Any]) -> list[Any]:
    """Check that members take the features of the whole and have its outputs: it does not ask them."""
    if not members:
        raise checked.misfit("estimators_", "empty", "at least one")
    for member in members:
        if not isinstance(getattr(member, "tree_", None), Tree) or getattr(member, "n_features_in_", None) != checked.n:
            raise checked.misfit("estimators_", "of others", f"trees of {checked.n} features")
    return members


def _forest(checked: Checked) -> None:
    outputs = checked.whole("n_outputs_", 1, _MAX_OUTPUTS)
    for member in _members(checked, checked.listed("estimators_")):
        if member.n_outputs_ != outputs or (outputs == 1 and "classes_" in checked.attributes) != (
            outputs == 1 and hasattr(member, "n_classes_")
        ):
            raise checked.misfit("estimators_", "of other outputs", f"{outputs}")
        if outputs == 1 and "k" in checked.letters and member.tree_.max_n_classes != checked.letters["k"]:
            raise checked.misfit("estimators_", "of other classes", f"{checked.letters['k']}")


def _bagging(checked: Checked) -> None:
    members = checked.listed("estimators_")
    chosen = checked.listed("estimators_features_", len(members))
    if not members:
        raise checked.misfit("estimators_", "empty", "at least one")
    for member, features in zip(members, chosen, strict=True):
        checked.letters.pop("f", None)
        columns = checked.array("estimators_features_", wholes("f", low=0, high=checked.n - 1), features)
        if getattr(member, "n_features_in_", None) != len(columns):
            raise checked.misfit("estimators_", "of other features", f"{len(columns)}")


def _boosting_by_weights(checked: Checked) -> None:
    members = checked.listed("estimators_")
    if not members or any(getattr(member, "n_features_in_", None) != checked.n for member in members):
        raise checked.misfit("estimators_", "of others", f"members of {checked.n} features")
    weights = checked.array("estimator_weights_", floats("m", low=0))
    if len(weights) < len(members):
        raise checked.misfit("estimator_weights_", f"{len(weights)}", f"{len(members)}")


def _gradient_boosting(checked: Checked) -> None:
    per_step = checked.whole("n_trees_per_iteration_", 1, _MAX_OUTPUTS)
    classes = checked.letters.get("k")
    if per_step != (1 if classes is None or classes == 2 else classes):
        raise checked.misfit("n_trees_per_iteration_", str(per_step), f"what {classes} classes need")
    checked.letters["w"] = per_step
    trees = checked.array("estimators_", Field("O", ("e w",)))
    for member in _members(checked, trees.ravel().tolist()):
        if member.n_outputs_ != 1 or member.tree_.max_n_classes != 1:
            raise checked.misfit("estimators_", "of other outputs", "one value each")
    init: Any = checked.attributes.get("init_")
    kind = type(cast(object, init))
    many = getattr(checked.attributes.get("_loss"), "is_multiclass", None)
    if many is not (per_step > 1) and not (many is False and per_step == 1):
        raise checked.misfit("_loss", type(checked.attributes.get("_loss")).__name__, f"one of {per_step} trees a step")
    if init == "zero":
        return
    # Any other might predict more or fewer columns than there are trees, which are added to it unchecked.
    if classes is None:
        fits = kind is DummyRegressor and np.shape(init.constant_) == (1, 1)
    else:
        prior: Any = getattr(init, "class_prior_", None)
        fits = (
            kind is DummyClassifier
            and init.n_classes_ == classes == len(init.classes_)
            and np.shape(prior) == (classes,)
            and attributes_of(init).get("_strategy") in ("prior", "most_frequent")
        )
    if not fits or init.n_outputs_ != 1:
        raise checked.misfit("init_", kind.__name__, "'zero', or what is fitted by default")


def _histogram_boosting(checked: Checked) -> None:
    mapper_kind: Any = cast(Any, importlib.import_module(_BOOSTING + "binning"))._BinMapper
    tree_kind: Any = cast(Any, importlib.import_module(_BOOSTING + "predictor")).TreePredictor
    record: Any = cast(Any, importlib.import_module(_BOOSTING + "common")).PREDICTOR_RECORD_DTYPE
    per_step = checked.whole("n_trees_per_iteration_", 1, _MAX_OUTPUTS)
    classes = checked.letters.get("k")
    if per_step != (1 if classes is None or classes == 2 else classes):
        raise checked.misfit("n_trees_per_iteration_", str(per_step), f"what {classes} classes need")
    checked.letters["w"] = per_step
    checked.array("_baseline_prediction", floats("1 w"))
    if checked.whole("_n_features", 1, checked.n) != checked.n:
        raise checked.misfit("_n_features", "another", str(checked.n))
    checked.is_one_of("_preprocessor", (None,))
    mapper: Any = checked.attributes.get("_bin_mapper")
    if type(mapper) is not mapper_kind:
        raise checked.misfit("_bin_mapper", type(mapper).__name__, "what bins features")
    # Without categories, of which the features of images have none: they are looked up by the bits of what is stored.
    checked.array(
        "_bin_mapper.is_categorical_", Field("u", ("n",), high=0), attributes_of(mapper).get("is_categorical_")
    )
    for step in checked.listed("_predictors"):
        step: Any = step
        if not isinstance(step, list) or len(cast(list[Any], step)) != per_step:
            raise checked.misfit("_predictors", "of other outputs", f"{per_step} trees a step")
        for predictor in cast(list[Any], step):
            if type(predictor) is not tree_kind:
                raise checked.misfit("_predictors", "of others", "trees")
            nodes: Any = attributes_of(predictor).get("nodes")
            if not hasattr(nodes, "dtype") or nodes.dtype != record or nodes.ndim != 1:
                raise checked.misfit("_predictors", "of other nodes", "nodes of a tree")
            if not len(nodes) or nodes["is_categorical"].any() or not np.isfinite(nodes["value"]).all():
                raise checked.misfit("_predictors", "a tree without nodes, or with categories", "splits by thresholds")
            inner = nodes["is_leaf"] == 0
            left, right = nodes["left"].astype(np.int64), nodes["right"].astype(np.int64)
            _check_children(checked, "_predictors", inner, left, right, nodes["feature_idx"].astype(np.int64))
            for bits in ("raw_left_cat_bitsets", "binned_left_cat_bitsets"):
                found: Any = attributes_of(predictor).get(bits)
                if not hasattr(found, "dtype") or found.dtype != np.uint32 or found.shape[1:] != (8,):
                    raise checked.misfit("_predictors", "of other categories", "none")


def _isolation_forest(checked: Checked) -> None:
    members = checked.listed("estimators_")
    _bagging(checked)
    for name in ("_average_path_length_per_tree", "_decision_path_lengths"):
        for member, lengths in zip(members, checked.listed(name, len(members), (list, tuple)), strict=True):
            checked.letters["nodes"] = member.tree_.node_count
            checked.array(name, Field("iuf", ("nodes",), low=0), lengths)


_TREE = fields({}, _tree)
_FOREST = fields({}, _forest)
_BAGGING = fields({}, _bagging)
_WEIGHTED = fields({}, _boosting_by_weights)
_GRADIENT = fields({}, _gradient_boosting)
_HISTOGRAM = fields({}, _histogram_boosting)

TREES: dict[str, Validator] = {
    "sklearn.tree._classes.DecisionTreeClassifier": _TREE,
    "sklearn.tree._classes.DecisionTreeRegressor": _TREE,
    "sklearn.tree._classes.ExtraTreeClassifier": _TREE,
    "sklearn.tree._classes.ExtraTreeRegressor": _TREE,
    "sklearn.ensemble._forest.ExtraTreesClassifier": _FOREST,
    "sklearn.ensemble._forest.ExtraTreesRegressor": _FOREST,
    "sklearn.ensemble._forest.RandomForestClassifier": _FOREST,
    "sklearn.ensemble._forest.RandomForestRegressor": _FOREST,
    "sklearn.ensemble._bagging.BaggingClassifier": _BAGGING,
    "sklearn.ensemble._bagging.BaggingRegressor": _BAGGING,
    "sklearn.ensemble._iforest.IsolationForest": fields({}, _isolation_forest),
    "sklearn.ensemble._weight_boosting.AdaBoostClassifier": _WEIGHTED,
    "sklearn.ensemble._weight_boosting.AdaBoostRegressor": _WEIGHTED,
    "sklearn.ensemble._gb.GradientBoostingClassifier": _GRADIENT,
    "sklearn.ensemble._gb.GradientBoostingRegressor": _GRADIENT,
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier": _HISTOGRAM,
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingRegressor": _HISTOGRAM,
}
