"""embedkit demo."""

from __future__ import annotations

import click

from embedkit_cli.help import Command
from embedkit_cli.options import json_option
from embedkit_cli.output import finish
from embedkit_cli.progress import ProgressBar


@click.command("demo", cls=Command)
@click.argument("folder", type=click.Path(), default="embedkit-demo")
@json_option
def command(folder: str, as_json: bool) -> int:
    """Show what features are for, and the whole way: images, features, estimators, honest numbers, a page.

    Downloads nothing. The pictures are drawn (patterns) or scikit-learn's (digits). A second call finds every feature.

    \b
    embedkit demo
    embedkit demo /tmp/demo
    """
    from embedkit import demo

    return finish(demo(folder, progress=ProgressBar()), as_json)
