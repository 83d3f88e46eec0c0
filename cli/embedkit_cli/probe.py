"""embedkit probe."""

from __future__ import annotations

from typing import Any

import click

from embedkit_cli.grids import ESTIMATORS, param_option
from embedkit_cli.options import backbone_options, backbones_from, json_option, label_option, store_option
from embedkit_cli.output import note, params_text, percent, print_json, print_table, say_failures
from embedkit_cli.progress import ProgressBar

_METRICS = {"r2": "R2", "average_precision": "average precision"}


@click.command("probe")
@click.argument("target", type=click.Path())
@click.option("--model", "models", multiple=True, metavar="NAME", help="For a source of images; repeat for several.")
@backbone_options
@click.option(
    "--estimator",
    "estimators",
    multiple=True,
    metavar="NAME",
    help=f"Repeat for several: {ESTIMATORS}. By default those that suit the labels.",
)
@param_option
@click.option("--folds", type=int, default=5, show_default=True, help="For a target without splits.")
@click.option("--no-floors", is_flag=True, help="Leave out raw pixels, colour histograms, random weights.")
@label_option
@store_option
@json_option
def command(
    target: str,
    models: tuple[str, ...],
    estimators: tuple[str, ...],
    params: dict[str, list[Any]],
    folds: int,
    no_floors: bool,
    label_column: str | None,
    store: str | None,
    as_json: bool,
    **backbone: Any,
) -> int:
    """Report how well simple estimators do on the features of TARGET.

    TARGET is a feature file, or a source of images together with --model.

    \b
    embedkit probe photos.h5
    embedkit probe photos.h5 --estimator sklearn.svm.SVC --param C=1,10,100 --param gamma=scale,auto
    embedkit probe photos/ --model resnet50.a1_in1k --model vit_small_patch16_224.augreg_in21k_ft_in1k
    """
    from embedkit import probe

    report = probe(
        target,
        backbones_from(models, backbone),
        estimator=estimators or None,
        params=params,
        label_column=label_column,
        folds=folds,
        store=store,
        floors=not no_floors,
        progress=ProgressBar(),
    )
    if as_json:
        print_json(report.to_dict())
    else:
        print_probe(report)
    return 3 if report.skipped else 0


def print_probe(report: Any) -> None:
    """Print a `ProbeReport` for a person: the table on stdout, what to know about it on stderr."""
    first = report.results[0]
    metric = _METRICS.get(str(first.metric), str(first.metric))
    print_table(
        ("features", "estimator", metric, "95 % interval", "chosen", "train", "test"),
        [
            (
                result.model + (" (floor)" if result.floor else ""),
                result.estimator,
                _value(result.metric, result.value) + ("" if result.converged else " (not converged)"),
                _interval(result.metric, *result.interval),
                params_text(result.params) + (" (end of grid)" if result.at_edge else ""),
                str(result.n_train),
                str(result.n_test),
            )
            for result in report.results
        ]
        + [(f"{name} (floor)", "", "unavailable", "", "", "", "") for name, _ in report.unavailable],
    )
    click.echo(f"\nreported on: {first.reported_on}\nchosen on:   {first.selected_on}")
    for name, reason in report.unavailable:
        note(f"no floor {name}: {reason}")
    for text in report.notes:
        note(text)
    say_failures(report.skipped)


def _value(metric: str, value: float) -> str:
    return f"{value:.3f}" if metric == "r2" else percent(value)


def _interval(metric: str, low: float, high: float) -> str:
    return f"{low:.3f} - {high:.3f}" if metric == "r2" else f"{100 * low:.1f} - {percent(high)}"
