"""embedkit export."""

from __future__ import annotations

import os
from typing import Any

import click

from embedkit_cli.help import Command
from embedkit_cli.options import trust_pickle_option
from embedkit_cli.output import note


@click.command("export", cls=Command, first=("--output", "--format", "--shard-rows", "--images", "--force"))
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option("-o", "--output", required=True, type=click.Path(), metavar="OUT", help="The file to write.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["npz", "parquet", "arrow", "csv", "h5", "faiss", "virtual"]),
    help="Of features; by default what the ending of OUT says.",
)
@click.option("--shard-rows", type=int, metavar="N", help="Parquet files of N rows each, into the folder OUT.")
@click.option("--images", type=click.Path(), metavar="SOURCE", help="Compare the model and its export on these images.")
@click.option("--weights", metavar="FILE", help="Where the model's weights are now; they must be the same weights.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@trust_pickle_option
def command(
    files: tuple[str, ...],
    output: str,
    file_format: Any,
    shard_rows: int | None,
    images: str | None,
    weights: str | None,
    force: bool,
    trust_pickle: bool,
) -> int:
    """Write feature FILES, or the model file of `embedkit fit`, in a format that other tools read.

    Several feature files are joined. A model becomes one network from pixels to classes, ONNX or a program of
    torch.export, which gives the same classes as the model on every image that both were tried on.

    \b
    embedkit export photos.h5 -o photos.parquet
    embedkit export photos.h5 -o photos/ --shard-rows 100000
    embedkit export photos.h5 -o photos.faiss
    embedkit export first.h5 second.h5 -o both.h5
    embedkit export model.skops -o model.onnx --images photos/
    embedkit export model.skops -o model.pt2
    """
    if os.path.splitext(output)[1].lower() in (".onnx", ".pt2"):
        return _export_model(files, output, images=images, weights=weights, force=force, trust_pickle=trust_pickle)
    if images or weights or trust_pickle:
        raise click.UsageError("--images, --weights and --trust-pickle are for models, whose OUT ends in .onnx or .pt2")
    from embedkit import export

    export(files, output, file_format, shard_rows=shard_rows, force=force)
    note(f"wrote {output}")
    return 0


def _export_model(files: tuple[str, ...], output: str, **options: Any) -> int:
    if len(files) != 1:
        raise click.UsageError(f"{len(files)} files were named, and one model makes one file: name one model file")
    from embedkit import export_model

    result = export_model(files[0], output, **options)
    for text in result.notes:
        note(text)
    note(
        f"wrote {output}, {result.bytes / 1e6:.1f} MB: {result.images} images get the same classes as from the model, "
        f"logits differ by at most {result.largest_difference:.1g}"
    )
    return 0
