"""embedkit diff."""

from __future__ import annotations

import click

from embedkit_cli.help import Command
from embedkit_cli.options import json_option
from embedkit_cli.output import check_outputs, finish


@click.command("diff", cls=Command)
@click.argument("first", type=click.Path(), metavar="FIRST.h5")
@click.argument("second", type=click.Path(), metavar="SECOND.h5")
@click.option("-o", "--output", type=click.Path(), metavar="R.json", help="Save the result.")
@click.option("--force", is_flag=True, help="Replace an existing output.")
@json_option
def command(first: str, second: str, output: str | None, force: bool, as_json: bool) -> int:
    """Say how one feature file differs from another: rows added, removed and changed, settings, drift.

    \b
    embedkit diff monday.h5 friday.h5
    """
    from embedkit import diff

    check_outputs(output, force=force)
    return finish(diff(first, second), as_json, output=output, force=force)
