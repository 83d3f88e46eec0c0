"""embedkit select."""

from __future__ import annotations

from typing import Any

import click

from embedkit_cli.help import Command
from embedkit_cli.options import (
    backbone_options,
    duration_option,
    read_options,
    requests_from,
    result_options,
    target_from,
)
from embedkit_cli.output import check_outputs, finish, note, say_candidates
from embedkit_cli.progress import ProgressBar


@click.command("select", cls=Command, first=("--model", "--layer", "--budget", "--tolerance", "--advise", "--output"))
@click.argument("targets", type=click.Path(), nargs=-1, required=True, metavar="TARGET...")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="A candidate; repeat. auto: those at hand, and those worth fetching for this machine.",
)
@backbone_options
@click.option(
    "--budget", callback=duration_option, metavar="TIME", help="All that it may take: 90s, 10m, 2h.  [default: no end]"
)
@click.option(
    "--tolerance",
    type=float,
    default=1.0,
    show_default=True,
    metavar="POINTS",
    help="Points of accuracy that the choice may be behind the best.",
)
@click.option(
    "--probe",
    type=click.Choice(["ridge", "knn", "logistic"]),
    default="ridge",
    show_default=True,
    help="What judges the candidates: take the classifier that you will use.",
)
@click.option("--thorough", is_flag=True, help="Go on until tests have dropped all others, or all images are used.")
@click.option("--advise", "advice", is_flag=True, help="Say what to do next, with the number behind each advice.")
@click.option(
    "--source",
    type=click.Path(),
    metavar="SOURCE",
    help="With --advise: images or a feature file of another domain with the same classes; does it serve here?",
)
@click.option("-o", "--output", type=click.Path(), metavar="FILE.json", help="Save the whole result.")
@result_options
@read_options
def command(
    targets: tuple[str, ...],
    models: tuple[str, ...],
    budget: float | None,
    tolerance: float,
    probe: Any,
    thorough: bool,
    advice: bool,
    source: str | None,
    output: str | None,
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
    """Choose the backbone, and the layer of it, for the images of TARGET at a part of the cost of running all.

    All candidates are probed on few training images; those that a test drops pass no more of them, the others twice as
    many. Each --layer is a candidate beside the model's own output, from the same passes. The tested images choose
    nothing. Features go into the store: extract and probe go on from there. Weights of several models: --model
    NAME=FILE.

    \b
    embedkit select photos/ --model auto --budget 10m
    embedkit select photos/ --model resnet50.a1_in1k --model vit_small_patch16_224.augreg_in21k_ft_in1k --layer -2
    embedkit select photos/ --model auto --tolerance 0.5 --advise -o selection.json
    embedkit select sketches/ --model auto --advise --source photos/
    """
    from embedkit import select

    if source is not None and not advice:
        raise click.UsageError("--source is a domain to advise on; say --advise, too")
    check_outputs(output, page, force=force)
    target, label_column = target_from(
        targets, label_column=label_column, layout=layout, target_type=target_type, image_column=image_column
    )
    layers = backbone.pop("layers")
    selection = select(
        target,
        requests_from(models, {**backbone, "layers": ()}),
        layers=layers,
        budget=budget,
        tolerance=tolerance,
        probe=probe,
        thorough=thorough,
        advice=advice,
        source=source,
        label_column=label_column,
        store=store,
        progress=ProgressBar(),
        chosen=say_candidates,
        finished=lambda number, images, left: note(f"round {number}, {images} images: {', '.join(left)} left"),
    )
    return finish(selection, as_json, output=output, page=page, force=force, store=store)
