"""embedkit fit."""

from __future__ import annotations

from typing import Any

import click

from embedkit_cli.grids import ESTIMATORS, param_option
from embedkit_cli.options import backbone_options, json_option, label_option, requests_beside, store_option
from embedkit_cli.output import note, params_text, percent, print_facts, print_json, say_failures
from embedkit_cli.progress import ProgressBar


@click.command("fit")
@click.argument("target", type=click.Path())
@click.option("--model", metavar="NAME", help="For a source of images.")
@backbone_options
@click.option(
    "--estimator",
    metavar="NAME",
    default="logistic",
    show_default=True,
    help=f"One of {ESTIMATORS}.",
)
@param_option
@click.option(
    "-o", "--output", type=click.Path(), required=True, metavar="MODEL.skops", help="The model file to write."
)
@click.option("--folds", type=int, default=5, show_default=True, help="For a target without splits.")
@click.option("--force", is_flag=True, help="Replace an existing model file.")
@label_option
@store_option
@json_option
def command(
    target: str,
    model: str | None,
    estimator: str,
    params: dict[str, list[Any]],
    output: str,
    folds: int,
    force: bool,
    label_column: str | None,
    store: str | None,
    as_json: bool,
    **backbone: Any,
) -> int:
    """Fit an estimator on the features of TARGET and save a pipeline that takes images.

    The file holds no weights of the backbone. Test rows are not fitted on; their accuracy is printed.

    \b
    embedkit fit photos.h5 --estimator svm -o model.skops
    """
    from embedkit import fit

    requests = requests_beside((model,) if model else (), backbone)
    if len(requests) > 1:
        raise click.UsageError("a pipeline takes one --layer, and several are named")
    result = fit(
        target,
        requests[0] if requests else None,
        estimator=estimator,
        params=params,
        output=output,
        folds=folds,
        force=force,
        label_column=label_column,
        store=store,
        device=backbone["device"],
        progress=ProgressBar(),
    )
    if as_json:
        print_json(result.to_dict(rows=False))
    else:
        found = result.result
        print_facts(
            [
                ("model file", result.output),
                ("pipeline", " -> ".join(result.steps)),
                ("classes", len(result.classes)),
                ("accuracy", f"{percent(found.value)} ({100 * found.interval[0]:.1f} - {percent(found.interval[1])})"),
                ("reported on", found.reported_on),
                ("chosen", params_text(found.params)),
                ("chosen on", found.selected_on),
                ("converged", None if found.converged else "no: treat the number with care"),
            ]
        )
    for text in result.result.notes:
        note(text)
    say_failures(result.skipped)
    return 3 if result.skipped else 0
