"""embedkit info."""

from __future__ import annotations

import click

from embedkit_cli.help import Command
from embedkit_cli.options import json_option
from embedkit_cli.output import print_facts, print_json


@click.command("info", cls=Command)
@click.argument("file", type=click.Path())
@json_option
def command(file: str, as_json: bool) -> int:
    """Say what is in a feature FILE.

    \b
    embedkit info photos.h5
    """
    from embedkit import info

    found = info(file)
    if as_json:
        print_json(found.to_dict())
        return 0
    backbone, preprocess = found.spec.backbone, found.spec.preprocess
    height, width = preprocess.input_size
    print_facts(
        [
            ("file", f"{found.path}, format {found.format}, {found.bytes / 1e6:.1f} MB"),
            ("features", f"{found.rows} rows x {found.width}, {found.dtype}"),
            ("model", f"{found.model} (weights {backbone.weights})"),
            ("layer", None if backbone.layer is None else f"{backbone.layer}, pool {backbone.pool}"),
            ("computed by", f"{backbone.engine} {backbone.precision}"),
            (
                "input",
                f"{height} x {width}, {preprocess.interpolation}, crop {preprocess.crop_mode} {preprocess.crop_pct}",
            ),
            ("labels", f"{found.target_type}, {found.classes} classes" if found.classes else found.target_type),
            ("splits", ", ".join(f"{name or '(none)'} {count}" for name, count in found.splits.items()) or None),
            ("columns", ", ".join(found.columns) or None),
            ("read", found.read),
            ("failures", found.failures),
            ("source", found.source),
            ("created", found.created),
            ("fingerprint", found.fingerprint),
        ]
    )
    return 0
