"""fit: from a target to a model file that takes images.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.backbones import FeatureRequest, as_requests
from embedkit.errors import LabelsError, OutputExistsError, SplitError, UsageError
from embedkit.estimators import LabelSetClassifier
from embedkit.evaluation import FeatureRows, ProbeRun
from embedkit.extraction import Progress
from embedkit.persistence import Model, check_saveable, save_model
from embedkit.probes import check_estimator, import_estimator, is_path, quick
from embedkit.results import FitResult, Origin, ProbeResult, Skipped
from embedkit.tables import FeatureTable
from embedkit.workflows.fit_ticks import FitTicks
from embedkit.workflows.guarding import guarded, template_of
from embedkit.workflows.origins import data_name, origin_of
from embedkit.workflows.reading import read_line
from embedkit.workflows.targets import open_store, open_target, tables_of


def fit(
    target: Any,
    model: str | FeatureRequest | None = None,
    *,
    estimator: Any = "logistic",
    params: Mapping[str, Sequence[Any]] | None = None,
    output: str | os.PathLike[str],
    label_column: str | None = None,
    drop_unlabelled: bool = False,
    folds: int = 5,
    force: bool = False,
    store: str | os.PathLike[str] | None = None,
    random_state: int = 0,
    device: str = "auto",
    calibrate: bool = False,
    conformal: bool = False,
    progress: Progress | None = None,
) -> FitResult:
    """Choose hyper-parameters as `probe` does, fit, and save a pipeline that takes images.

    Parameters
    ----------
    target : path, or sequence of images
        A feature file, or a source of images.
    model : str or FeatureRequest, optional
        For a source of images, by default the bundled backbone; not allowed for a feature file.
    estimator : str or estimator of scikit-learn
        ``"logistic"``, ``"pca+logistic"``, ``"svm"``, ``"knn"``, ``"ridge"``, ``"lda"``, for values ``"ridge"``; the
        dotted path of a classifier, for values of a regressor, such as ``"sklearn.svm.SVC"``, or an object.
    params : mapping of str to sequence, optional
        Values to choose from, for an estimator that is given by path or object.
    output : path
        The model file to write (``.skops``).
    label_column, drop_unlabelled, folds, store, random_state, progress
        As in `probe`. Without splits the model is fitted on every row and its number comes from cross-validation.
    force : bool
        Replace an existing model file.
    device : str
        Where an estimator given by path or object is fitted, if scikit-learn can fit it on tensors: ``"auto"`` (a GPU
        where there is one, else NumPy), ``"cpu"`` (NumPy), ``"cuda"``, ``"cuda:0"``, ``"torch:cpu"``. A device that is
        named needs ``SCIPY_ARRAY_API=1`` in the environment. The file holds NumPy in any case.
    calibrate : bool
        Of classes: give probabilities, by scikit-learn's ``CalibratedClassifierCV`` (sigmoids, cross-validated on the
        rows that train). The result is that of the estimator before.
    conformal : bool
        Of classes: fit the estimator anew without a fifth of the rows that train, which calibrate. `predict` then marks
        images that are unlike these (`UnknownDetector`) and gives sets of classes (`ConformalClassifier`). The result
        is that of the estimator before.

    Returns
    -------
    FitResult

    Raises
    ------
    OutputExistsError
        The output is there, and `force` was not given.
    ProbeError
        Labels or splits do not allow a fit.
    UntrustedModelError
        A model of this estimator could not be loaded again; nothing is fitted.
    """
    check_estimator(estimator, params)
    if is_path(estimator):
        check_saveable(import_estimator(estimator))
    elif not isinstance(estimator, str):
        check_saveable(estimator)
    output = Path(output)
    if output.suffix.lower() != ".skops":
        raise UsageError(f"{output} is no name of a model file; let it end in .skops")
    if output.exists() and not force:
        raise OutputExistsError(f"{output} exists; name another file, or use --force (force=True) to replace it")
    if not output.parent.is_dir():
        raise UsageError(
            f"the folder {output.parent} does not exist, so {output.name} cannot be written; create it first"
        )
    if calibrate and conformal:
        raise UsageError("sets need no calibrated probabilities; give calibrate or conformal, not both")
    opened = open_target(target, label_column=label_column, drop_unlabelled=drop_unlabelled)
    if (calibrate or conformal) and opened.target_type != "class":
        raise LabelsError(
            f"{'probabilities' if calibrate else 'sets and unknowns'} are of one class an image, and the labels are of "
            f"type {opened.target_type!r}; leave out {'calibrate' if calibrate else 'conformal'}"
        )
    if opened.target_type == "value" and estimator == "logistic":
        raise UsageError(
            "estimator 'logistic' is not for labels that are values; use ridge, or a dotted path of a scikit-learn "
            "regressor"
        )
    [named] = tables_of(opened, as_requests(model), open_store(store), progress=progress).named
    ticks = FitTicks(1, progress)
    fitted = quick(
        named.table,
        estimator,
        model=named.name,
        folds=folds,
        random_state=random_state,
        params=params,
        device=device,
    )
    ticks.done()
    if not fitted.steps:
        raise UsageError(
            f"a model of {estimator} would hold all {len(named.table)} rows of features; fit another estimator"
        )
    steps = _calibrated(named.table, fitted, folds, random_state) if calibrate else fitted.steps
    if conformal:
        steps = guarded(named.table, fitted, random_state)
    if opened.target_type == "multilabel":
        steps = _with_labels(named.table, fitted)
    data = data_name(named)
    origin = origin_of(
        "fit",
        {
            "target": target,
            "model": model,
            "estimator": estimator,
            "params": None if params is None else dict(params),
            "output": output,
            "label_column": label_column,
            "drop_unlabelled": drop_unlabelled or None,
            "folds": folds,
            "random_state": random_state,
            "calibrate": calibrate or None,
            "conformal": conformal or None,
        },
        {data: [named]},
        seeds=[random_state],
    )
    result = dataclasses.replace(fitted.result, data=data)
    if calibrate:
        said = "its probabilities are calibrated by cross-validation on the rows that train; the number is without that"
        result = dataclasses.replace(result, notes=[*result.notes, said])
    if conformal:
        said = "the model is fitted without the rows that calibrate its sets and unknowns; the number is with them"
        result = dataclasses.replace(result, notes=[*result.notes, said])
    fitted_model = _saved(named.table, steps, result, output, origin)
    return dataclasses.replace(fitted_model, read=[read_line(opened)])


def _with_labels(table: FeatureTable, fitted: ProbeRun) -> list[tuple[str, Any]]:
    """Give the columns of the last step their names, and thresholds by their shares in the rows it was fitted on."""
    from sklearn.pipeline import Pipeline

    rows = np.arange(len(table)) if table.split is None else np.setdiff1d(np.arange(len(table)), fitted.tested)
    features: Any = FeatureRows(table).take(rows)
    before, (name, final) = fitted.steps[:-1], fitted.steps[-1]
    if before:
        features = cast(Any, Pipeline(before)).transform(features)
    marks = cast("npt.NDArray[np.bool_]", table.y)[rows]
    return [*before, (name, LabelSetClassifier(final, table.classes, by_share=True).around(final, features, marks))]


def _calibrated(table: FeatureTable, fitted: ProbeRun, folds: int, random_state: int) -> list[tuple[str, Any]]:
    """Fit the steps anew on parts of the rows that they were fitted on, and sigmoids on the rest of these."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    rows = np.arange(len(table)) if table.split is None else np.setdiff1d(np.arange(len(table)), fitted.tested)
    y = cast("npt.NDArray[np.str_]", table.y)[rows].astype(str)
    least = int(np.unique(y, return_counts=True)[1].min())
    if least < 2:
        raise SplitError("calibration needs at least 2 training images of each class, and one has fewer; add images")
    parts = min(folds, least)
    groups = None if table.groups is None else table.groups[rows]
    kinds: Any = StratifiedKFold if groups is None else StratifiedGroupKFold
    cut = list(kinds(parts, shuffle=True, random_state=random_state).split(rows, y, groups))
    calibrated: Any = CalibratedClassifierCV(template_of(fitted.steps), cv=cut)
    return [("calibrated", calibrated.fit(FeatureRows(table).take(rows), y))]


def _saved(
    table: FeatureTable, steps: list[tuple[str, Any]], result: ProbeResult, output: Path, origin: Origin
) -> FitResult:
    """Put the embedder of a table before fitted steps, and save them."""
    from sklearn.pipeline import Pipeline

    steps = [("embed", table.embedder()), *steps]
    pipeline = Pipeline(steps)
    save_model(pipeline, output)
    return FitResult(
        output=str(output),
        origin=origin,
        pipeline=pipeline,
        classes=Model(pipeline=pipeline).classes,
        result=result,
        steps=[type(step).__name__ for _, step in steps],
        skipped=[Skipped(failure.key, failure.reason) for failure in table.failures],
    )
