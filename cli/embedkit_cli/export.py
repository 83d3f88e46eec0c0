"""embedkit export."""

from __future__ import annotations

from typing import Any

import click

from embedkit_cli.output import note


@click.command("export")
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option("-o", "--output", required=True, type=click.Path(), metavar="OUT", help="The file to write.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["npz", "parquet", "csv", "h5", "virtual"]),
    help="By default what the ending of OUT says.",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
def command(files: tuple[str, ...], output: str, file_format: Any, force: bool) -> int:
    """Write feature FILES in a format that other tools read; several are joined.

    \b
    embedkit export photos.h5 -o photos.parquet
    embedkit export first.h5 second.h5 -o both.h5
    """
    from embedkit import export

    export(files, output, file_format, force=force)
    note(f"wrote {output}")
    return 0
