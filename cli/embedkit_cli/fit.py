"""embedkit fit."""

from __future__ import annotations

from typing import Any, cast

import click

from embedkit_cli.grids import ESTIMATORS, param_option
from embedkit_cli.help import Command
from embedkit_cli.options import (
    backbone_options,
    drop_option,
    estimator_device_option,
    one_model_option,
    read_options,
    requests_beside,
    result_options,
    target_from,
)
from embedkit_cli.output import check_outputs, finish
from embedkit_cli.progress import ProgressBar


@click.command("fit", cls=Command, first=("--model", "--estimator", "--output", "--report", "--force"))
@click.argument("targets", type=click.Path(), nargs=-1, required=True, metavar="TARGET...")
@one_model_option("For a source of images.")
@backbone_options
@click.option(
    "--estimator",
    metavar="NAME",
    help=f"One of {ESTIMATORS}; by default logistic, on statistics ridge.",
)
@param_option
@click.option(
    "-o", "--output", type=click.Path(), required=True, metavar="MODEL.skops", help="The model file to write."
)
@click.option("--folds", type=int, default=5, show_default=True, help="For a target without splits.")
@click.option("--calibrate", is_flag=True, help="Give probabilities: sigmoids, cross-validated on the training rows.")
@click.option(
    "--conformal",
    is_flag=True,
    help="Hold out a fifth of the training rows, so that predict marks unknown images and gives --sets.",
)
@click.option(
    "--one-class",
    "normal",
    metavar="NAME",
    help="Learn class NAME alone; predict marks what is unlike it. --estimator: mahalanobis (default), knn, svm.",
)
@estimator_device_option
@click.option(
    "--result", "record", type=click.Path(), metavar="R.json", help="Save the result, with each row's outcome."
)
@result_options
@drop_option
@read_options
def command(
    targets: tuple[str, ...],
    model: str | None,
    estimator: str | None,
    params: dict[str, list[Any]],
    output: str,
    folds: int,
    calibrate: bool,
    conformal: bool,
    normal: str | None,
    estimator_device: str,
    record: str | None,
    page: str | None,
    force: bool,
    label_column: str | None,
    drop_unlabelled: bool,
    layout: str | None,
    target_type: str | None,
    image_column: str | None,
    store: str | None,
    as_json: bool,
    **backbone: Any,
) -> int:
    """Fit an estimator on the features of TARGET and save a pipeline that takes images.

    The file holds no weights of the backbone. Test rows are not fitted on; their accuracy is printed. Several --layer
    are blocks of columns side by side. Files of `embedkit stats` (.stats) are added up: ridge and lda.

    \b
    embedkit fit photos.h5 --estimator svm -o model.skops
    embedkit fit photos.h5 --estimator svm --calibrate -o model.skops
    embedkit fit photos.h5 --conformal -o model.skops
    embedkit fit photos.h5 --one-class bolt -o model.skops
    embedkit fit here.stats there.stats -o model.skops
    """
    from embedkit import fit, fit_one_class

    check_outputs(output, record, page, force=force)
    if any(target.lower().endswith(".stats") for target in targets):
        return _of_statistics(targets, estimator or "ridge", params, output, record, force, as_json)
    requests = requests_beside((model,) if model else (), backbone, blocks=True)
    target, label_column = target_from(
        targets, label_column=label_column, layout=layout, target_type=target_type, image_column=image_column
    )
    if normal is not None:
        if params or calibrate or conformal or drop_unlabelled:
            raise click.UsageError("--one-class takes no --param, --calibrate, --conformal or --drop-unlabelled")
        detector = fit_one_class(
            target,
            normal,
            requests[0] if requests else None,
            distance=cast(Any, estimator or "mahalanobis"),
            output=output,
            label_column=label_column,
            force=force,
            store=store,
            progress=ProgressBar(),
        )
        return finish(detector, as_json, output=record, page=page, force=force, store=store)
    result = fit(
        target,
        requests[0] if requests else None,
        estimator=estimator or "logistic",
        params=params,
        output=output,
        folds=folds,
        force=force,
        label_column=label_column,
        drop_unlabelled=drop_unlabelled,
        store=store,
        device=estimator_device,
        calibrate=calibrate,
        conformal=conformal,
        progress=ProgressBar(),
    )
    return finish(result, as_json, output=record, page=page, force=force, store=store)


def _of_statistics(
    files: tuple[str, ...],
    estimator: Any,
    params: dict[str, list[Any]],
    output: str,
    record: str | None,
    force: bool,
    as_json: bool,
) -> int:
    """Fit on files of statistics, of which no option says how features are made or judged."""
    from embedkit import fit_statistics

    ctx = click.get_current_context()
    taken = {"targets", "estimator", "params", "output", "record", "force", "as_json", "weights", "log_format"}
    for name, parameter in {str(one.name): one for one in ctx.command.params}.items():
        if name not in taken and ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError(f"{parameter.opts[-1]} says nothing of statistics; leave it out, or name a TARGET")
    for name, values in params.items():
        if name not in ("alpha", "shrinkage") or len(values) != 1 or type(values[0]) not in (int, float):
            raise click.UsageError("of statistics --param is alpha=NUMBER (ridge) or shrinkage=NUMBER (lda)")
    result = fit_statistics(
        files,
        output=output,
        estimator=estimator,
        weights=None if ctx.params["weights"] == "pretrained" else ctx.params["weights"],
        force=force,
        **{name: float(values[0]) for name, values in params.items()},
    )
    return finish(result, as_json, output=record, force=force)
