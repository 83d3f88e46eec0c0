"""embedkit audit."""

from __future__ import annotations

from typing import Any

import click

from embedkit_cli.help import WITH_EXIT_CODES, Command
from embedkit_cli.options import backbone_options, read_options, requests_beside, result_options, target_from
from embedkit_cli.output import check_outputs, finish
from embedkit_cli.progress import ProgressBar


@click.command(
    "audit",
    cls=Command,
    epilog=WITH_EXIT_CODES,
    first=("--model", "--self-check", "--report", "--output", "--store"),
)
@click.argument("targets", type=click.Path(), nargs=-1, required=True, metavar="TARGET...")
@click.option("--model", "models", multiple=True, metavar="NAME", help="For a source of images.")
@backbone_options
@click.option("--self-check", is_flag=True, help="Plant faults in a copy of the table, and say how many are found.")
@click.option(
    "--suspects-by",
    "ranking",
    type=click.Choice(["probes", "wann", "robust", "all"]),
    default="probes",
    show_default=True,
    help="Who doubts labels: cheap probes, weighted adaptive neighbours, robust logistic regression, or all.",
)
@click.option(
    "-o", "--output", type=click.Path(), metavar="F.csv|R.json", help="Save the findings, or the whole result."
)
@result_options
@read_options
def command(
    targets: tuple[str, ...],
    models: tuple[str, ...],
    self_check: bool,
    ranking: Any,
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
    """Look for what is wrong with the images and labels of TARGET; nothing is changed.

    Copies (also re-encoded, resized or cropped ones), one image under two labels, labels that look wrong, outliers,
    blank, dark, tiny, odd-shaped and truncated images, properties of files that give the label away, weak groups, rare
    classes; and what the accuracy would be without copies and suspects.

    \b
    embedkit audit photos.h5
    embedkit audit photos.h5 --report audit.html -o findings.csv
    embedkit audit photos.h5 --self-check
    """
    from embedkit import audit

    check_outputs(output, page, force=force)
    target, label_column = target_from(
        targets, label_column=label_column, layout=layout, target_type=target_type, image_column=image_column
    )
    result = audit(
        target,
        model=requests_beside(models, backbone),
        label_column=label_column,
        self_check=self_check,
        ranking=ranking,
        output=output,
        force=force,
        store=store,
        progress=ProgressBar(),
    )
    return finish(result, as_json, page=page, force=force, store=store)
