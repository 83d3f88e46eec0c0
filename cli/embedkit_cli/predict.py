"""embedkit predict."""

from __future__ import annotations

import os
from typing import Any, cast

import click

from embedkit_cli.help import Command
from embedkit_cli.options import json_option, result_options, source_options, store_option, trust_pickle_option
from embedkit_cli.output import check_outputs, finish
from embedkit_cli.progress import ProgressBar


@click.command("predict", cls=Command, first=("--output", "--top", "--weights", "--report", "--json"))
@click.argument("model", type=click.Path())
@click.argument("source", type=click.Path())
@click.option(
    "--weights",
    metavar="FILE",
    multiple=True,
    help="Where the backbone's weights are now; they must be the same weights. Of several backbones: NAME=FILE.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:0.")
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    metavar="FILE.csv",
    help="Write the table as CSV, or the whole result as .json, too.",
)
@click.option(
    "--top", metavar="K", type=click.IntRange(min=1), default=None, help="List the K likeliest classes of each image."
)
@click.option(
    "--sets",
    metavar="SHARE",
    type=float,
    help="List the classes that each image may be of: the right one is among them so often (0.9). See fit --conformal.",
)
@click.option(
    "--unknown",
    metavar="SHARE",
    type=float,
    help="How many of images like those fitted on may be marked as unknown (0.05). See fit --conformal.",
)
@result_options
@source_options
@trust_pickle_option
@store_option
@json_option
def command(
    model: str,
    source: str,
    weights: tuple[str, ...],
    device: str,
    output: str | None,
    top: int | None,
    sets: float | None,
    unknown: float | None,
    page: str | None,
    force: bool,
    label_column: str | None,
    layout: str | None,
    target_type: str | None,
    image_column: str | None,
    trust_pickle: bool,
    store: str | None,
    as_json: bool,
) -> int:
    """Classify the images of SOURCE with a MODEL file of `embedkit fit` or embedkit.save_model.

    A model that was fitted on photos beside other columns takes a .csv, .tsv or .parquet file with these columns.

    \b
    embedkit predict model.skops new_photos/
    embedkit predict model.skops new_photos/ -o predictions.csv
    embedkit predict model.skops new_photos/ --sets 0.9
    embedkit predict model.skops new.csv
    embedkit predict model.skops labelled.csv --target-type multilabel
    """
    from embedkit import open_source, predict

    check_outputs(output, page, force=force)
    reading: dict[str, Any] = {
        "label_column": label_column,
        "layout": layout,
        "target_type": target_type,
        "image_column": image_column,
    }
    as_told = any(value is not None for value in reading.values())
    result = predict(
        model,
        open_source(source, **reading) if as_told else source,
        weights=_weights(weights),
        device=device,
        store=store,
        output=output,
        force=force,
        top=top or 0,
        sets=sets,
        unknown=unknown,
        trust_pickle=trust_pickle,
        progress=ProgressBar(),
    )
    return finish(result, as_json, page=page, force=force, store=store)


def _weights(values: tuple[str, ...]) -> str | dict[str, str] | None:
    """Return one file, or files by the names of the model's embedders."""
    if not values:
        return None
    if len(values) == 1 and ("=" not in values[0] or os.path.exists(values[0])):
        return values[0]
    if not all("=" in value for value in values):
        raise click.UsageError(f"--weights {' '.join(values)}: with several, each is NAME=FILE")
    return dict(cast("tuple[str, str]", tuple(value.split("=", 1))) for value in values)
