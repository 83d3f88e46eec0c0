"""embedkit extract."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from embedkit_cli.options import (
    backbone_options,
    json_option,
    label_option,
    requests_from,
    store_option,
)
from embedkit_cli.output import note, print_facts, print_json, say_failures
from embedkit_cli.planned import parse_unit, print_plan, print_status, refuse_others
from embedkit_cli.progress import ProgressBar

if TYPE_CHECKING:
    from embedkit import ExtractResult

_PLACES = {"plan", "store", "root", "as_json"}


@click.command("extract")
@click.argument("source", type=click.Path(allow_dash=True), required=False)
@click.option("--model", "models", multiple=True, metavar="NAME", help="A timm model name; repeat for several.")
@backbone_options
@click.option("--dtype", type=click.Choice(["float32", "float16"]), default="float32", show_default=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    metavar="FILE.h5",
    help="The feature file to write, several layers side by side; a folder for a file of each kind.",
)
@click.option("--force", is_flag=True, help="Replace an output that holds other features or other images.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Images in one forward pass, at most 256 on a CPU.")
@click.option("--rehash", is_flag=True, help="Read every file, whatever is remembered of its stamps.")
@click.option(
    "--cluster",
    type=click.Choice(["ray", "dask"]),
    help="Let the workers of a cluster do it: that of RAY_ADDRESS or DASK_SCHEDULER_ADDRESS, or one on this machine.",
)
@click.option(
    "--plan", type=click.Path(), metavar="P.json", help="With SOURCE: write this plan. Without: carry it out."
)
@click.option("--units", type=click.IntRange(min=1), help="Into how many units the plan proposes to divide the images.")
@click.option("--unit", callback=parse_unit, metavar="K/N", help="Do unit K of N of the plan, counted from 1.")
@click.option(
    "--status", is_flag=False, flag_value="", metavar="P.json", help="Say how much of a plan is done, and by whom."
)
@click.option("--root", metavar="DIR", help="Where this machine sees the images of the plan.")
@store_option
@label_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    source: str | None,
    models: tuple[str, ...],
    dtype: Any,
    output: str | None,
    force: bool,
    batch_size: int | None,
    rehash: bool,
    cluster: Any,
    plan: str | None,
    units: int | None,
    unit: tuple[int, int] | None,
    status: str | None,
    root: str | None,
    store: str | None,
    label_column: str | None,
    as_json: bool,
    **backbone: Any,
) -> int:
    """Compute the features of the images in SOURCE.

    SOURCE is a folder (its sub-folders are classes), a manifest (a CSV or Parquet file with the columns path, label,
    split), a tar or zip, many of them ('train-{000..099}.tar', '*.tar'), a URL of any of these that fsspec reads
    (s3://...), or - for paths on standard input. An image that the store knows is not put through the network again.

    \b
    embedkit extract photos/ --model resnet50.a1_in1k -o photos.h5
    embedkit extract split.csv --model mobilenetv2_100 --weights mobilenetv2_100.safetensors -o photos.h5
    embedkit extract photos/ --model resnet50.a1_in1k --layer 2 --layer 3 -o layers/
    embedkit extract photos/ --model resnet50.a1_in1k --layer 2 --layer 3 -o both.h5
    ls *.jpg | embedkit extract - --model resnet50.a1_in1k -o photos.h5

    \b
    On several machines that share a store (docs/cluster.md):
    embedkit extract photos/ --model resnet50.a1_in1k --store /shared/store --plan P.json
    embedkit extract --plan P.json --unit 3/8
    embedkit extract --status P.json
    embedkit extract --plan P.json -o photos.h5
    """
    import embedkit

    if status is not None:
        if not (status or plan):
            raise click.UsageError("--status needs a plan: --status P.json", ctx)
        refuse_others(ctx, _PLACES | {"status"}, "--status")
        print_status(embedkit.extraction_status(status or str(plan), store=store, root=root), as_json)
        return 0
    if source is not None:
        for name, value in (("--unit", unit), ("--root", root)):
            if value is not None:
                raise click.UsageError(f"{name} belongs to a plan: leave SOURCE out and name the plan by --plan", ctx)
        in_one_file = output is not None and output.lower().endswith((".h5", ".hdf5"))
        requests = requests_from(models, {**backbone, "dtype": dtype}, blocks=in_one_file)
        if len(requests) > 1:
            for name, value in (("--plan", plan), ("--cluster", cluster), ("--units", units)):
                if value is not None:
                    raise click.UsageError(f"{name} is for one kind of features; name one --model and --layer", ctx)
            several = embedkit.extract_several(
                _images(source),
                requests,
                store=store,
                output=output,
                force=force,
                label_column=label_column,
                batch_size=batch_size,
                rehash=rehash,
                progress=ProgressBar(),
            )
            return _print_several(several, as_json)
        asked: dict[str, Any] = {"store": store, "force": force, "label_column": label_column}
        if plan is not None:
            if output is not None or cluster is not None:
                raise click.UsageError("with SOURCE, --plan writes the plan only; then `--plan P.json -o FILE.h5`", ctx)
            print_plan(embedkit.plan_extraction(_images(source), requests[0], plan, units=units, **asked), as_json)
            return 0
        if units is not None:
            raise click.UsageError("--units belongs to --plan", ctx)
        result = embedkit.extract(
            _images(source),
            requests[0],
            **asked,
            cluster=cluster,
            output=output,
            batch_size=batch_size,
            rehash=rehash,
            progress=ProgressBar(),
        )
        return _print(result, as_json)
    if plan is None:
        raise click.UsageError("name a SOURCE of images, or a plan by --plan", ctx)
    places: dict[str, Any] = {"store": store, "root": root, "batch_size": batch_size, "progress": ProgressBar()}
    for name in ("device", "weights"):
        given = ctx.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE
        places[name] = backbone[name] if given else None
    if unit is not None:
        refuse_others(ctx, _PLACES | {"unit", "device", "weights", "batch_size"}, "--unit")
        return _print(embedkit.extract_unit(plan, *unit, **places), as_json)
    if output is None and cluster is None and places["device"] is None:
        raise click.UsageError(
            "say what to do with the plan: --unit K/N, --status, --cluster, --device or -o FILE.h5", ctx
        )
    refuse_others(
        ctx, _PLACES | {"device", "weights", "batch_size", "cluster", "output", "force"}, "--plan without SOURCE"
    )
    return _print(embedkit.extract_planned(plan, output=output, cluster=cluster, force=force, **places), as_json)


def _images(source: str) -> str | list[str]:
    """Return the source; for ``-`` the paths on standard input, one a line, or separated by NUL."""
    if source != "-":
        return source
    if sys.stdin is None or sys.stdin.isatty():  # pyright: ignore[reportUnnecessaryComparison]
        raise click.UsageError("SOURCE is -, but nothing is piped in; `ls *.jpg | embedkit extract - ...`")
    text = sys.stdin.buffer.read()
    if b"\0" in text:
        return [os.fsdecode(path) for path in text.split(b"\0") if path]
    return [os.fsdecode(line) for line in text.splitlines() if line.strip()]


def _print_several(results: list[ExtractResult], as_json: bool) -> int:
    if as_json:
        print_json({"results": [result.to_dict(rows=False) for result in results]})
        return max(3 if result.skipped else 0 for result in results)
    code = 0
    for place, result in enumerate(results):
        if place:
            click.echo()
        code = max(code, _print(result, as_json))
    return code


def _print(result: ExtractResult, as_json: bool) -> int:
    if as_json:
        print_json(result.to_dict(rows=False))
    else:
        rows = result.images - len(result.skipped)
        rate = f" ({result.images / result.seconds:.0f} images/s)" if result.forward_passes else ""
        print_facts(
            [
                ("images", f"{result.images} ({rows} rows, {len(result.skipped)} failed)"),
                (
                    "forward passes",
                    f"{result.forward_passes}{rate}"
                    + (": every feature was in the store" if result.cache_hits == rows > 0 else ""),
                ),
                ("found in store", result.cache_hits),
                ("copies", f"{result.copies} (the same bytes as another image)" if result.copies else None),
                ("model", f"{result.model}, {result.width} features an image"),
                ("computed by", result.choice),
                ("held up by", None if result.stages is None else result.stages.bottleneck),
                ("worst cosine", None if result.drift is None else f"{result.drift:.5f} to fp32 torch"),
                ("fingerprint", result.fingerprint[:16]),
                ("store", result.store),
                ("output", result.output),
            ]
        )
    for text in result.notes:
        note(text)
    say_failures(result.skipped)
    return 3 if result.skipped else 0
