"""embedkit gap."""

from __future__ import annotations

from typing import Any

import click

from embedkit_cli.help import Command
from embedkit_cli.options import (
    backbone_options,
    drop_option,
    one_model_option,
    read_options,
    requests_beside,
    result_options,
    target_from,
)
from embedkit_cli.output import check_outputs, finish
from embedkit_cli.progress import ProgressBar


@click.command("gap", cls=Command, first=("--domain-column", "--model", "--adapter", "--output"))
@click.argument("source", type=click.Path())
@click.argument("target", type=click.Path(), required=False)
@click.option(
    "--domain-column", metavar="C", help="The column of SOURCE that holds its domains: all pairs, without TARGET."
)
@one_model_option("For images; by default that of the feature file beside them.")
@backbone_options
@click.option(
    "--adapter",
    "adapters",
    multiple=True,
    metavar="NAME|PATH",
    help="An alignment to try: coral, subspace-alignment, linear-transport, or the dotted path of another with "
    "sample_domain, such as skada.CORALAdapter; repeat. By default the first three.",
)
@click.option("--no-floors", is_flag=True, help="Leave out raw pixels, colour histograms, random weights.")
@click.option("--folds", type=int, default=5, show_default=True, help="For a domain without splits.")
@click.option("-o", "--output", type=click.Path(), metavar="R.json", help="Save the result.")
@result_options
@drop_option
@read_options
def command(
    source: str,
    target: str | None,
    domain_column: str | None,
    model: str | None,
    adapters: tuple[str, ...],
    no_floors: bool,
    folds: int,
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
    """Say how far TARGET lies from SOURCE, and whether what is learnt there holds here.

    Distances of the features, each with its null; what a probe of SOURCE is worth in TARGET, beside one of TARGET's own
    images, one of both, aligned ones and floors; each class; and a verdict with its evidence. Both are feature files or
    images, with the same classes.

    \b
    embedkit gap photos.h5 sketches.h5
    embedkit gap all.h5 --domain-column domain
    """
    from embedkit import gap

    check_outputs(output, page, force=force)
    options = {"layout": layout, "target_type": target_type, "image_column": image_column}
    requests = requests_beside((model,) if model else (), backbone)
    if len(requests) > 1:
        raise click.UsageError(f"{len(requests)} layers are named; a gap uses features of one")
    opened = [
        target_from((one,), label_column=label_column, **options)[0] for one in (source, target) if one is not None
    ]
    listed = any(options.values())
    result = gap(
        *opened,
        domain_column=domain_column,
        model=requests[0] if requests else None,
        adapters=adapters or None,
        label_column=None if listed else label_column,
        drop_unlabelled=drop_unlabelled,
        floors=not no_floors,
        folds=folds,
        store=store,
        progress=ProgressBar(),
    )
    return finish(result, as_json, output=output, page=page, force=force, store=store)
