"""embedkit explain."""

from __future__ import annotations

import click

from embedkit_cli.options import json_option, result_options, store_option, trust_pickle_option
from embedkit_cli.output import check_outputs, finish
from embedkit_cli.progress import ProgressBar


@click.command("explain")
@click.argument("model", type=click.Path(), metavar="MODEL.skops")
@click.argument("sources", nargs=-1, required=True, type=click.Path(), metavar="IMAGE...")
@click.option("--class", "class_", metavar="NAME", help="The class to explain; by default the predicted one.")
@click.option(
    "--training", type=click.Path(), metavar="TARGET", help="What the model was fitted on: names the photos behind it."
)
@click.option("--no-checks", is_flag=True, help="Leave out the deletion curve and the map of random weights.")
@click.option("--weights", metavar="FILE", help="Where the model's weights are now; they must be the same weights.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:0.")
@click.option("-o", "--output", type=click.Path(), metavar="R.json", help="Save the result.")
@result_options
@store_option
@trust_pickle_option
@json_option
def command(
    model: str,
    sources: tuple[str, ...],
    class_: str | None,
    training: str | None,
    no_checks: bool,
    weights: str | None,
    device: str,
    output: str | None,
    page: str | None,
    force: bool,
    store: str | None,
    trust_pickle: bool,
    as_json: bool,
) -> int:
    """Say where the prediction of a model for IMAGEs comes from: which places, and which training photos.

    \b
    embedkit explain model.skops new.jpg --training photos.h5 --report why.html
    """
    from embedkit import explain

    check_outputs(output, page, force=force)
    result = explain(
        model,
        sources[0] if len(sources) == 1 else list(sources),
        class_=class_,
        training=training,
        checks=not no_checks,
        weights=weights,
        device=device,
        store=store,
        trust_pickle=trust_pickle,
        progress=ProgressBar(),
    )
    return finish(result, as_json, output=output, page=page, force=force, store=store)
