"""embedkit models."""

from __future__ import annotations

import dataclasses

import click

from embedkit_cli.help import Command
from embedkit_cli.options import json_option
from embedkit_cli.output import note, print_json, print_table


@click.command("models", cls=Command)
@click.argument("pattern", required=False)
@json_option
def command(pattern: str | None, as_json: bool) -> int:
    """List timm's models whose name fits PATTERN, with what they cost and whether their weights are at hand.

    Without a PATTERN a shortlist: those at hand, and those of timm's that pay by its published accuracy per cost.

    \b
    embedkit models
    embedkit models resnet50
    embedkit models 'vit_small_*dinov2*'
    """
    return _print_shortlist(as_json) if pattern is None else _print_fitting(pattern, as_json)


def _print_shortlist(as_json: bool) -> int:
    from embedkit import shortlist, shortlist_source

    models = shortlist()
    if as_json:
        print_json({"models": [dataclasses.asdict(model) for model in models], "source": shortlist_source()})
        return 0
    header = ("model", "ImageNet top-1", "cost", "parameters", "input", "features", "weights", "licence")
    print_table(
        header,
        [
            (
                model.name,
                "-" if model.top1 is None else f"{100 * model.top1:.1f} %",
                "-" if model.cost is None else f"{model.cost:.1f}",
                f"{model.parameters / 1e6:.1f} M",
                "x".join(map(str, model.input_size)),
                str(model.width),
                "at hand" if model.weights_at_hand else f"{model.download_bytes / 1e6:.0f} MB",
                model.licence or "-",
            )
            for model in models
        ],
    )
    note(f"accuracy and cost (a multiple of the bundled backbone's) are published ones: {shortlist_source()}")
    note("`embedkit models PATTERN` lists all that timm knows of a name")
    return 0


def _print_fitting(pattern: str, as_json: bool) -> int:
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
