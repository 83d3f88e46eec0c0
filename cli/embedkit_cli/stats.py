"""embedkit stats."""

from __future__ import annotations

from typing import Any

import click

from embedkit_cli.help import Command
from embedkit_cli.options import backbone_options, one_model_option, read_options, requests_beside, target_from
from embedkit_cli.output import check_outputs, finish
from embedkit_cli.progress import ProgressBar


@click.command("stats", cls=Command, first=("--output", "--model", "--fourier", "--gamma", "--force"))
@click.argument("targets", type=click.Path(), nargs=-1, required=True, metavar="TARGET...")
@click.option("-o", "--output", type=click.Path(), required=True, metavar="SITE.stats", help="The file to write.")
@one_model_option("For a source of images.")
@click.option(
    "--fourier", type=click.IntRange(min=1), metavar="N", help="Go through N random Fourier features: a kernel."
)
@click.option("--gamma", type=float, default=2.0, show_default=True, help="Of that kernel, on rows of length one.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the random features.")
@click.option("--force", is_flag=True, help="Replace an existing output.")
@backbone_options
@read_options
def command(
    targets: tuple[str, ...],
    output: str,
    model: str | None,
    fourier: int | None,
    gamma: float,
    seed: int,
    force: bool,
    label_column: str | None,
    layout: str | None,
    target_type: str | None,
    image_column: str | None,
    store: str | None,
    as_json: bool,
    **backbone: Any,
) -> int:
    """Write the sums over TARGET's labelled rows that `embedkit fit` needs: no image and no row is in them.

    Statistics of several sites add up to the model that all their rows together would give, if the features are alike:
    name --engine and --precision on every site. Rows of a test split are left out.

    \b
    embedkit stats photos.h5 -o here.stats
    embedkit fit here.stats there.stats -o model.skops
    """
    from embedkit import stats

    check_outputs(output, force=force)
    requests = requests_beside((model,) if model else (), backbone, blocks=True)
    target, label_column = target_from(
        targets, label_column=label_column, layout=layout, target_type=target_type, image_column=image_column
    )
    result = stats(
        target,
        requests[0] if requests else None,
        output=output,
        fourier=fourier,
        gamma=gamma,
        seed=seed,
        label_column=label_column,
        force=force,
        store=store,
        progress=ProgressBar(),
    )
    return finish(result, as_json)
