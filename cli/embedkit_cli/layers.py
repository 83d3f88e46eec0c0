"""embedkit layers."""

from __future__ import annotations

from typing import Any

import click

from embedkit_cli.help import Command
from embedkit_cli.options import (
    backbone_options,
    drop_option,
    one_model_option,
    read_options,
    requests_from,
    result_options,
    target_from,
)
from embedkit_cli.output import check_outputs, finish
from embedkit_cli.progress import ProgressBar


@click.command("layers", cls=Command, first=("--model", "--pool", "--output"))
@click.argument("targets", type=click.Path(), nargs=-1, required=True, metavar="TARGET...")
@one_model_option("By default the bundled backbone; NAME=FILE names its weights.")
@backbone_options
@click.option("--no-concatenation", is_flag=True, help="Do not judge the best layers side by side.")
@click.option("-o", "--output", type=click.Path(), metavar="FILE.json", help="Save the whole result.")
@result_options
@drop_option
@read_options
def command(
    targets: tuple[str, ...],
    model: str | None,
    no_concatenation: bool,
    output: str | None,
    page: str | None,
    force: bool,
    drop_unlabelled: bool,
    label_column: str | None,
    layout: str | None,
    target_type: str | None,
    image_column: str | None,
    store: str | None,
    as_json: bool,
    **backbone: Any,
) -> int:
    """Judge every layer of a backbone on the training images of TARGET; one pass an image serves all.

    Accuracy with its interval and the width by depth, the spectrum of the features and their effective rank, how far
    classes lie apart, how alike the layers are, and what the best of them are worth side by side. The model's own
    output is recommended unless a test says that a layer is better. --pool is how a layer becomes one vector.

    \b
    embedkit layers photos/
    embedkit layers photos/ --model vit_small_patch16_224.augreg_in21k_ft_in1k --pool cls -o layers.json
    """
    from embedkit import layers

    if backbone.pop("layers"):
        raise click.UsageError("layers looks at all of them; leave --layer out")
    check_outputs(output, page, force=force)
    target, label_column = target_from(
        targets, label_column=label_column, layout=layout, target_type=target_type, image_column=image_column
    )
    pool = backbone.pop("pool")
    [request] = requests_from((model,) if model else (), {**backbone, "layers": (), "pool": "auto"})
    found = layers(
        target,
        request,
        pools=(pool,),
        concatenate=not no_concatenation,
        label_column=label_column,
        drop_unlabelled=drop_unlabelled,
        store=store,
        progress=ProgressBar(),
    )
    return finish(found, as_json, output=output, page=page, force=force, store=store)
