"""embedkit label."""

from __future__ import annotations

from typing import Any

import click

from embedkit_cli.help import Command
from embedkit_cli.options import (
    backbone_options,
    one_model_option,
    read_options,
    requests_beside,
    result_options,
    target_from,
)
from embedkit_cli.output import check_outputs, finish
from embedkit_cli.progress import ProgressBar


@click.command("label", cls=Command, first=("--budget", "--output", "--answers", "--report", "--model"))
@click.argument("targets", type=click.Path(), nargs=-1, required=True, metavar="TARGET...")
@click.option("--budget", type=click.IntRange(min=1), default=50, show_default=True, help="How many images to choose.")
@click.option("-o", "--output", type=click.Path(), metavar="FILE.csv", help="Write a CSV with a column to fill in.")
@click.option(
    "--answers",
    multiple=True,
    type=click.Path(),
    metavar="FILE.csv",
    help="Labels that were filled in: columns path and label; repeat.",
)
@one_model_option("For a source of images.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of every random choice.")
@backbone_options
@result_options
@read_options
def command(
    targets: tuple[str, ...],
    budget: int,
    output: str | None,
    answers: tuple[str, ...],
    model: str | None,
    seed: int,
    page: str | None,
    force: bool,
    label_column: str | None,
    layout: str | None,
    target_type: str | None,
    image_column: str | None,
    store: str | None,
    as_json: bool,
    **backbone: Any,
) -> int:
    """Choose the images of TARGET whose labels tell most, and say what further labels are expected to bring.

    First a typical image of each cluster; once there are labels (in TARGET, or filled in), images that these leave in
    doubt. The page shows them with fields to fill in, and gives the CSV.

    \b
    embedkit label photos/ --layout flat --budget 50 -o first.csv --report first.html
    embedkit label photos/ --layout flat --answers first.csv -o second.csv
    """
    from embedkit import label

    check_outputs(output, page, force=force)
    requests = requests_beside((model,) if model else (), backbone, blocks=True)
    target, label_column = target_from(
        targets, label_column=label_column, layout=layout, target_type=target_type, image_column=image_column
    )
    result = label(
        target,
        requests[0] if requests else None,
        budget=budget,
        answers=answers,
        output=output,
        label_column=label_column,
        force=force,
        store=store,
        random_state=seed,
        progress=ProgressBar(),
    )
    return finish(result, as_json, page=page, force=force, store=store)
