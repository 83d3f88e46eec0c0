"""embedkit report."""

from __future__ import annotations

import click

from embedkit_cli.help import Command
from embedkit_cli.options import store_option
from embedkit_cli.output import check_outputs, note


@click.command("report", cls=Command)
@click.argument("results", nargs=-1, required=True, type=click.Path(), metavar="RESULT.json...")
@click.option("-o", "--output", type=click.Path(), required=True, metavar="PAGE.html", help="The page to write.")
@click.option("--no-pictures", is_flag=True, help="Numbers and charts only.")
@click.option("--force", is_flag=True, help="Replace an existing page.")
@store_option
def command(results: tuple[str, ...], output: str, no_pictures: bool, force: bool, store: str | None) -> int:
    """Write saved results as one HTML page that needs nothing else; nothing is computed again.

    \b
    embedkit probe photos.h5 -o photos.json
    embedkit report photos.json -o photos.html
    """
    from embedkit import write_page

    check_outputs(output, force=force)
    write_page(results, output, pictures=not no_pictures, force=force, store=store)
    note(f"page: {output}")
    return 0
