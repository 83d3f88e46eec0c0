"""embedkit extract."""

from __future__ import annotations

from typing import Any

import click

from embedkit_cli.options import backbone_options, gather_overrides, json_option, label_option, store_option
from embedkit_cli.output import note, print_facts, print_json, say_failures
from embedkit_cli.progress import ProgressBar


@click.command("extract")
@click.argument("source", type=click.Path())
@click.option("--model", metavar="NAME", help="A timm model name; see `embedkit models`.")
@backbone_options
@click.option("--dtype", type=click.Choice(["float32", "float16"]), default="float32", show_default=True)
@click.option("-o", "--output", type=click.Path(), metavar="FILE.h5", help="The feature file to write.")
@click.option("--force", is_flag=True, help="Replace an output that holds other features or other images.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Images in one forward pass.")
@click.option("--rehash", is_flag=True, help="Read every file, whatever is remembered of its stamps.")
@store_option
@label_option
@json_option
def command(
    source: str,
    model: str | None,
    dtype: Any,
    output: str | None,
    force: bool,
    batch_size: int | None,
    rehash: bool,
    store: str | None,
    label_column: str | None,
    as_json: bool,
    **backbone: Any,
) -> int:
    """Compute the features of the images in SOURCE.

    SOURCE is a folder (its sub-folders are classes) or a manifest, a CSV or Parquet file with the columns path, label,
    split. An image that the store knows is not put through the network again.

    \b
    embedkit extract photos/ --model resnet50.a1_in1k -o photos.h5
    embedkit extract split.csv --model mobilenetv2_100 --weights mobilenetv2_100.safetensors -o photos.h5
    """
    from embedkit import extract

    result = extract(
        source,
        model,
        **gather_overrides(backbone),
        dtype=dtype,
        store=store,
        output=output,
        force=force,
        label_column=label_column,
        batch_size=batch_size,
        rehash=rehash,
        progress=ProgressBar(),
    )
    if as_json:
        print_json(result.to_dict())
    else:
        rows = result.images - len(result.failures)
        rate = f" ({result.images / result.seconds:.0f} images/s)" if result.forward_passes else ""
        print_facts(
            [
                ("images", f"{result.images} ({rows} rows, {len(result.failures)} failed)"),
                (
                    "forward passes",
                    f"{result.forward_passes}{rate}"
                    + (": every feature was in the store" if result.cache_hits == rows > 0 else ""),
                ),
                ("found in store", result.cache_hits),
                ("model", f"{result.model}, {result.width} features an image"),
                ("computed by", result.choice),
                ("worst cosine", None if result.drift is None else f"{result.drift:.5f} to fp32 torch"),
                ("fingerprint", result.fingerprint[:16]),
                ("store", result.store),
                ("output", result.output),
            ]
        )
    for text in result.notes:
        note(text)
    say_failures([(failure.key, failure.reason) for failure in result.failures])
    return 3 if result.failures else 0
