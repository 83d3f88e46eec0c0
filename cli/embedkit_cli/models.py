"""embedkit models."""

from __future__ import annotations

import dataclasses

import click

from embedkit_cli.options import json_option
from embedkit_cli.output import note, print_json


@click.command("models")
@click.argument("pattern", default="*")
@json_option
def command(pattern: str, as_json: bool) -> int:
    """List timm's models whose name fits PATTERN, with what they cost and whether their weights are at hand.

    Without a PATTERN every architecture is measured, which takes minutes.

    \b
    embedkit models resnet50
    embedkit models 'vit_small_*dinov2*'
    """
    from embedkit import list_models

    models = list_models(pattern)
    if as_json:
        print_json({"models": [dataclasses.asdict(model) for model in models]})
        return 0
    # Printed one by one, since a broad pattern takes a while; hence fixed widths.
    count = 0
    for count, model in enumerate(models, start=1):
        if count == 1:
            click.echo(f"{'model':<60} {'parameters':>10} {'input':>9} {'features':>8}  weights")
        height, width = model.input_size
        click.echo(
            f"{model.name:<60} {model.parameters / 1e6:>8.1f} M {f'{height}x{width}':>9} {model.width:>8}  "
            + ("at hand" if model.weights_at_hand else "not at hand")
        )
    if not count:
        note(f"no model of timm fits {pattern!r}; `embedkit models '*part_of_a_name*'` finds those that contain it")
        return 1
    return 0
