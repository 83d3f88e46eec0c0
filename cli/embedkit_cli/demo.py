"""embedkit demo."""

from __future__ import annotations

import click

from embedkit_cli.options import json_option
from embedkit_cli.output import note, print_facts, print_json
from embedkit_cli.probe import print_probe
from embedkit_cli.progress import ProgressBar


@click.command("demo")
@click.argument("folder", type=click.Path(), default="embedkit-demo")
@json_option
def command(folder: str, as_json: bool) -> int:
    """Show the whole way on scikit-learn's digits: images, features, estimators, honest numbers. Downloads nothing.

    \b
    embedkit demo
    embedkit demo /tmp/demo
    """
    from embedkit import demo

    result = demo(folder, progress=ProgressBar())
    if as_json:
        print_json(result.to_dict(rows=False))
        return 0
    extraction = result.extraction
    passes = f"{extraction.forward_passes} forward passes"
    click.echo(
        f"{extraction.images} images, {extraction.width} features each, by {extraction.model} "
        f"({extraction.engine} {extraction.precision}): {passes}"
        + ("" if extraction.forward_passes else ", every feature was found in the store")
    )
    for text in extraction.notes:
        note(text)
    click.echo()
    print_probe(result.report)
    click.echo()
    print_facts([("images", result.manifest), ("features", result.feature_file), ("store", result.store)])
    click.echo(f"\nNext: embedkit fit {result.feature_file} --estimator svm -o digits.skops")
    return 0
