"""embedkit info."""

from __future__ import annotations

import click

from embedkit_cli.output import print_facts, print_json


@click.command("info")
@click.argument("file", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(file: str, as_json: bool) -> int:
    """Say what is in a feature FILE.

    \b
    embedkit info photos.h5
    """
    from embedkit import info

    found = info(file)
    if as_json:
        print_json(found.to_dict())
    else:
        print_facts(
            (name.replace("_", " "), _shown(value))
            for name, value in found.to_dict().items()
            if value not in (None, {}, [])
        )
    return 0


def _shown(value: object) -> object:
    if isinstance(value, dict):
        return ", ".join(f"{name or '(none)'}: {count}" for name, count in value.items())
    if isinstance(value, list):
        return ", ".join(str(item) for item in value[:8]) + (f", ... ({len(value)} in all)" if len(value) > 8 else "")
    return value
