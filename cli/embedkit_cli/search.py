"""embedkit search."""

from __future__ import annotations

from typing import Any

import click

from embedkit_cli.help import WITH_EXIT_CODES, Command
from embedkit_cli.options import backbone_options, requests_beside, result_options, target_options
from embedkit_cli.output import check_outputs, finish
from embedkit_cli.progress import ProgressBar


@click.command(
    "search", cls=Command, epilog=WITH_EXIT_CODES, first=("-k", "--model", "--report", "--output", "--store")
)
@click.argument("target", type=click.Path(), metavar="TARGET")
@click.argument("queries", nargs=-1, required=True, metavar="QUERY...")
@click.option("-k", type=int, default=10, show_default=True, help="How many images to find for each query.")
@click.option(
    "--method",
    type=click.Choice(["exact", "faiss"]),
    default="exact",
    show_default=True,
    help="faiss (extra search) may miss some, and pays where many queries meet millions of rows.",
)
@click.option("--model", "models", multiple=True, metavar="NAME", help="For a source of images.")
@backbone_options
@click.option("-o", "--output", type=click.Path(), metavar="R.json", help="Save the result.")
@result_options
@target_options
def command(
    target: str,
    queries: tuple[str, ...],
    k: int,
    method: Any,
    models: tuple[str, ...],
    output: str | None,
    page: str | None,
    force: bool,
    label_column: str | None,
    store: str | None,
    as_json: bool,
    **backbone: Any,
) -> int:
    """Find the images of TARGET that are nearest to each QUERY, by the cosine of their features.

    A QUERY is a key of TARGET or the path of an image. New images go through the very network of TARGET, once; what the
    store holds goes through none.

    \b
    embedkit search photos.h5 new.jpg
    embedkit search photos.h5 cats/007.jpg -k 20 --report near.html
    """
    from embedkit import search

    check_outputs(output, page, force=force)
    device = backbone["device"]
    # Beside a feature file the device is where new images are computed, and no other model.
    requests = requests_beside(models, {**backbone, "device": "auto"})
    found = search(
        target,
        queries,
        k=k,
        model=requests,
        method=method,
        label_column=label_column,
        device=device,
        store=store,
        progress=ProgressBar(),
    )
    return finish(found, as_json, output=output, page=page, force=force, store=store)
