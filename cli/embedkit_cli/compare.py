"""embedkit compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from embedkit.files import commit_to
from embedkit.render import as_csv, as_markdown
from embedkit_cli.grids import ESTIMATORS, param_option
from embedkit_cli.help import Command
from embedkit_cli.options import (
    backbone_options,
    drop_option,
    evaluation_options,
    pairs_option,
    protocol_options,
    requests_beside,
    result_options,
    split_names,
    target_options,
)
from embedkit_cli.output import SKIPPED, check_outputs, finish, note, say_candidates, say_skipped, write_pairs
from embedkit_cli.progress import ProgressBar


@click.command("compare", cls=Command, first=("--model", "--protocol", "--seeds", "--output", "--report"))
@click.argument("targets", nargs=-1, required=True, type=click.Path())
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="For sources of images; repeat for several. auto: those at hand, and those worth fetching for this machine.",
)
@backbone_options
@protocol_options
@click.option("--estimator", metavar="E", help=f"For the protocol quick: {ESTIMATORS}.  [default: logistic]")
@param_option
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Repeat: mean and interval.")
@evaluation_options
@pairs_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "markdown"]),
    help="By default a table, and in a file what its ending names.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    metavar="FILE",
    help="Write the results to .json, .csv or .md, and print nothing but what --json asks for.",
)
@result_options
@drop_option
@target_options
def command(
    targets: tuple[str, ...],
    models: tuple[str, ...],
    protocols: str,
    estimator: str | None,
    params: dict[str, list[Any]],
    as_published: bool,
    seeds: int,
    folds: int,
    no_floors: bool,
    form: str | None,
    output: str | None,
    page: str | None,
    pairs: str | None,
    force: bool,
    label_column: str | None,
    drop_unlabelled: bool,
    store: str | None,
    as_json: bool,
    **backbone: Any,
) -> int:
    """Compare backbones on the images of TARGETS, and rank what can be told apart.

    A TARGET is a source of images, whose features come through the store, or a feature file. Weights of several models:
    --model NAME=FILE. Results that are finished are remembered in the store: the same command goes on where it was.
    Here auto means fp32 on torch, so that a second run gives the same bits on an empty store, too.

    \b
    embedkit compare photos/ --model auto
    embedkit compare photos/ --model resnet50.a1_in1k --model vit_small_patch16_224.augreg_in21k_ft_in1k
    embedkit compare a.csv b.csv c.csv --model mobilenetv2_100=mobilenetv2.safetensors --model lcnet_075=lcnet.pth
    embedkit compare resnet.h5 vit.h5 --protocol quick,dinov2-knn --seeds 5 -o results.md
    embedkit compare resnet.h5 vit.h5 --estimator sklearn.svm.SVC --param C=1,10,100
    """
    from embedkit import compare

    written, printed = _forms(form, output, as_json)
    if output is not None and Path(output).resolve() in [Path(target).resolve() for target in targets]:
        raise click.UsageError(f"{output} is one of the targets; name another file")
    check_outputs(output, page, pairs, force=force)
    comparison = compare(
        targets,
        requests_beside(models, backbone),
        protocols=split_names(protocols),
        estimator=estimator,
        params=params,
        as_published=as_published,
        seeds=seeds,
        folds=folds,
        floors=not no_floors,
        pairs=pairs is not None,
        label_column=label_column,
        drop_unlabelled=drop_unlabelled,
        store=store,
        progress=ProgressBar(),
        chosen=say_candidates,
        finished=lambda data, result: note(f"{data}: {result.model} by {result.protocol}: {result.value:.4g}"),
    )
    if output is not None and written == "json":
        comparison.save(output, force=force)
    elif output is not None and written is not None:
        commit_to(Path(output), [_text(comparison, written).encode("utf-8")], sealed=False)
    if output is not None:
        note(f"written to {output}")
    if pairs is not None:
        write_pairs(comparison, pairs)
    if printed == "table" or page is not None:
        code = finish(comparison, printed == "json", page=page, force=force, store=store)
    else:
        if printed is not None:
            click.echo(_text(comparison, printed), nl=False)
        say_skipped(comparison.skipped)
        code = SKIPPED if comparison.skipped else 0
    if not comparison.ranked:
        note("some numbers are not ranked, because they are not comparable")
        return 1
    return code


def _text(comparison: Any, form: str) -> str:
    if form == "json":
        return json.dumps(comparison.to_dict(rows=False), indent=2, allow_nan=False) + "\n"
    return as_csv(comparison) if form == "csv" else as_markdown(comparison)


def _forms(form: str | None, output: str | None, as_json: bool) -> tuple[str | None, str | None]:
    """Say in which form results are written and in which printed (None: not at all): as named, or by an ending."""
    if output is None:
        if as_json and form not in (None, "json"):
            raise click.UsageError(f"--json and --format {form} ask for two forms at once; leave one out")
        return None, "json" if as_json else form or "table"
    folder = Path(output).absolute().parent
    if not folder.is_dir():
        raise click.UsageError(f"the folder {folder} does not exist; create it first")
    by_ending = {".json": "json", ".csv": "csv", ".md": "markdown"}.get(Path(output).suffix.lower())
    if form is None and by_ending is None:
        raise click.UsageError(f"{output} names no format: let it end in .json, .csv or .md, or give --format")
    if form == "table":
        raise click.UsageError("--format table is for a terminal; write json, csv or markdown to a file")
    return form or by_ending, "json" if as_json else None
