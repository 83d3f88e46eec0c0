"""embedkit probe."""

from __future__ import annotations

from typing import Any

import click

from embedkit_cli.curve import curve_options, print_curves
from embedkit_cli.grids import ESTIMATORS, param_option
from embedkit_cli.options import backbone_options, json_option, label_option, requests_beside, store_option
from embedkit_cli.output import note, params_text, percent, print_json, print_table, say_failures
from embedkit_cli.progress import ProgressBar

_METRICS = {
    "r2": "R2",
    "pearson": "Pearson's r",
    "average_precision": "average precision",
    "map_11_point": "mAP (11-point)",
    "map_area": "mAP",
    "mean_per_class_accuracy": "mean per-class accuracy",
}
_RAW = ("r2", "pearson")  # no shares of anything


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
@click.option("--protocol", "protocols", default="quick", show_default=True, metavar="A,B", help="Several by commas.")
@click.option("--as-published", is_flag=True, help="Solve each protocol by its original's solver and stop rule.")
@curve_options
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
    protocols: str,
    as_published: bool,
    shots: list[int],
    fractions: list[float],
    seeds: int | None,
    folds: int,
    no_floors: bool,
    label_column: str | None,
    store: str | None,
    as_json: bool,
    **backbone: Any,
) -> int:
    """Report how well simple estimators do on the features of TARGET.

    Protocols are quick, and published ones: clip, kornblith, dinov2-logreg, dinov3-logreg, dinov2-knn, coop-fewshot,
    clip-benchmark, ridge-lsr, simpleshot, voc-svm, mteb-fewshot, hest-ridge, uni-logreg.

    TARGET is a feature file, or a source of images, by default with the bundled backbone.

    \b
    embedkit probe photos.h5
    embedkit probe photos.h5 --estimator sklearn.svm.SVC --param C=1,10,100 --param gamma=scale,auto
    embedkit probe photos.h5 --protocol clip,dinov2-knn,kornblith
    embedkit probe photos.h5 --shots 1,2,4,8,16 --seeds 10
    embedkit probe photos/ --model resnet50.a1_in1k --model vit_small_patch16_224.augreg_in21k_ft_in1k
    """
    from embedkit import curve, probe

    if shots or fractions:
        if params or as_published or protocols != "quick" or len(estimators) > 1:
            raise click.UsageError("a curve takes one --estimator, and no --param, --protocol or --as-published")
        curves = curve(
            target,
            requests_beside(models, backbone),
            shots=shots,
            fractions=fractions,
            seeds=seeds or 5,
            estimator=estimators[0] if estimators else None,
            label_column=label_column,
            folds=folds,
            store=store,
            floors=not no_floors,
            progress=ProgressBar(),
        )
        if as_json:
            print_json(curves.to_dict(rows=False))
        else:
            print_curves(curves)
        return 3 if curves.skipped else 0
    if seeds is not None:
        raise click.UsageError(
            "--seeds is for curves (--shots, --fractions); `embedkit compare` repeats with seeds too"
        )
    report = probe(
        target,
        requests_beside(models, backbone),
        estimator=estimators or None,
        params=params,
        protocol=[name.strip() for name in protocols.split(",")],
        as_published=as_published,
        label_column=label_column,
        folds=folds,
        store=store,
        floors=not no_floors,
        device=backbone["device"],
        progress=ProgressBar(),
    )
    if as_json:
        print_json(report.to_dict(rows=False))
    else:
        print_probe(report)
    return 3 if report.skipped else 0


def print_probe(report: Any) -> None:
    """Print a `ProbeReport` for a person: the table on stdout, what to know about it on stderr."""
    protocols = list(dict.fromkeys(result.protocol for result in report.results))
    by_protocol = protocols != ["quick"]
    metrics = list(dict.fromkeys(_metric(result) for result in report.results))
    number = metrics[0] if len(metrics) == 1 else "value"
    columns = ["features", "protocol", "estimator", "metric", number, "95 % interval", "chosen", "train", "test"]
    left_out = ([] if by_protocol else ["protocol"]) + (["metric"] if len(metrics) == 1 else [])
    columns = [column for column in columns if column not in left_out]
    rows = [
        {
            "features": result.model + (" (floor)" if result.floor else ""),
            "protocol": result.protocol + (" (as published)" if result.as_published else ""),
            "estimator": result.estimator,
            "metric": _metric(result),
            number: _value(result.metric, result.value) + ("" if result.converged else " (not converged)"),
            "95 % interval": _interval(result.metric, *result.interval),
            "chosen": params_text(result.params) + (" (end of grid)" if result.at_edge else ""),
            "train": str(result.n_train),
            "test": str(result.n_test),
        }
        for result in report.results
    ]
    rows += [{"features": f"{name} (floor)", number: "unavailable"} for name, *_ in report.unavailable]
    print_table(columns, [[row.get(column, "") for column in columns] for row in rows])
    click.echo(f"\nreported on: {report.results[0].reported_on}")
    chosen_on = {result.protocol: result.selected_on for result in reversed(report.results)}
    for protocol in protocols:
        click.echo(f"chosen on:   {f'{protocol}: ' if by_protocol else ''}{chosen_on[protocol]}")
    for name, reason, _ in report.unavailable:
        note(f"no floor {name}: {reason}")
    for text in report.notes:
        note(text)
    say_failures(report.skipped)


def _metric(result: Any) -> str:
    return _METRICS.get(str(result.metric), str(result.metric))


def _value(metric: str, value: float) -> str:
    return f"{value:.3f}" if metric in _RAW else percent(value)


def _interval(metric: str, low: float, high: float) -> str:
    return f"{low:.3f} - {high:.3f}" if metric in _RAW else f"{100 * low:.1f} - {percent(high)}"
