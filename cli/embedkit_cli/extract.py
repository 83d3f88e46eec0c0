"""embedkit extract."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from embedkit_cli.help import WITH_EXIT_CODES, Command
from embedkit_cli.options import (
    backbone_of,
    backbone_options,
    json_option,
    requests_from,
    source_options,
    store_option,
)
from embedkit_cli.output import LEFT, SKIPPED, finish, print_json
from embedkit_cli.planned import parse_unit, refuse_others
from embedkit_cli.progress import ProgressBar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embedkit import ExtractResult, Forecast
    from embedkit.results import UnitStatus

_WATCH_SECONDS = 5.0

_PLACES = {"plan", "store", "root", "as_json", "log_format"}


@click.command(
    "extract",
    cls=Command,
    epilog=WITH_EXIT_CODES,
    first=("--model", "--output", "--weights", "--dry-run", "--plan"),
)
@click.argument("sources", type=click.Path(allow_dash=True), nargs=-1, metavar="[SOURCE]...")
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
@click.option(
    "--update",
    is_flag=True,
    help="Bring an output of the same features to what SOURCE holds now; says what was added, removed and changed.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be read and done, and what it takes; write nothing.")
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
@click.option("--watch", is_flag=True, help="With --status: say it again whenever it changed, until all is done.")
@click.option("--root", metavar="DIR", help="Where this machine sees the images of the plan.")
@store_option
@source_options
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    sources: tuple[str, ...],
    plan: str | None,
    unit: tuple[int, int] | None,
    status: str | None,
    **_: Any,
) -> int:
    """Compute the features of the images in SOURCE.

    SOURCE is a folder (its sub-folders are classes), a manifest (a CSV or Parquet file with the columns path, label,
    split), a tar or zip, many of them ('train-{000..099}.tar', '*.tar'), a URL of any of these that fsspec reads
    (s3://...), or - for paths on standard input. An image that the store knows is not put through the network again.

    \b
    embedkit extract photos/ --model resnet50.a1_in1k -o photos.h5
    embedkit extract photos/ --dry-run
    embedkit extract january/ february/ -o photos.h5
    embedkit extract split.csv --model mobilenetv2_100 --weights mobilenetv2_100.safetensors -o photos.h5
    embedkit extract photos/ --model resnet50.a1_in1k --layer 2 --layer 3 -o layers/
    embedkit extract photos/ --model resnet50.a1_in1k --layer 2 --layer 3 -o both.h5
    ls *.jpg | embedkit extract - --model resnet50.a1_in1k -o photos.h5

    \b
    On several machines that share a store (docs/cluster.md):
    embedkit extract photos/ --model resnet50.a1_in1k --store /shared/store --plan P.json
    embedkit extract --plan P.json --unit 3/8
    embedkit extract --status P.json --watch
    embedkit extract --plan P.json -o photos.h5
    """
    options = {name: value for name, value in ctx.params.items() if name not in ("sources", "status", "unit", "watch")}
    if ctx.params["watch"] and status is None:
        raise click.UsageError("--watch belongs to --status P.json", ctx)
    if status is not None:
        return _say_status(ctx, status or plan, options)
    if not sources:
        return _carry_out(ctx, unit, options)
    return _from_source(ctx, sources, unit, options)


def _from_source(
    ctx: click.Context, sources: tuple[str, ...], unit: tuple[int, int] | None, options: dict[str, Any]
) -> int:
    """Extract the images of a source, one kind of features or several, or plan to."""
    import embedkit

    plan, output = options["plan"], options["output"]
    for name, value in (("--unit", unit), ("--root", options["root"])):
        if value is not None:
            raise click.UsageError(f"{name} belongs to a plan: leave SOURCE out and name the plan by --plan", ctx)
    in_one_file = output is not None and output.lower().endswith((".h5", ".hdf5"))
    one_table = in_one_file or plan is not None or options["cluster"] is not None
    requests = requests_from(options["models"], backbone_of(options), blocks=one_table)
    reading = {name: options[name] for name in ("store", "label_column", "layout", "target_type", "image_column")}
    images = _images(sources)
    if options["dry_run"]:
        return _finish_all(embedkit.forecast(images, requests, batch_size=options["batch_size"], **reading), options)
    asked: dict[str, Any] = {**reading, "force": options["force"]}
    running: dict[str, Any] = {name: options[name] for name in ("output", "batch_size", "rehash")}
    running |= {"progress": ProgressBar(), "update": options["update"]}
    if len(requests) > 1:
        for name in ("plan", "cluster", "units"):
            if options[name] is not None:
                raise click.UsageError(f"--{name} is for one kind of features; name one --model", ctx)
        return _finish_all(embedkit.extract_several(images, requests, **asked, **running), options)
    if plan is not None:
        if output is not None or options["cluster"] is not None:
            raise click.UsageError("with SOURCE, --plan writes the plan only; then `--plan P.json -o FILE.h5`", ctx)
        planned = embedkit.plan_extraction(images, requests[0], plan, units=options["units"], **asked)
        return finish(planned, options["as_json"])
    if options["units"] is not None:
        raise click.UsageError("--units belongs to --plan", ctx)
    result = embedkit.extract(images, requests[0], **asked, cluster=options["cluster"], **running)
    return finish(result, options["as_json"])


def _carry_out(ctx: click.Context, unit: tuple[int, int] | None, options: dict[str, Any]) -> int:
    """Do a unit of a plan, or all of it."""
    import embedkit

    plan, output, cluster = options["plan"], options["output"], options["cluster"]
    if plan is None:
        raise click.UsageError("name a SOURCE of images, or a plan by --plan", ctx)
    here: dict[str, Any] = {name: options[name] for name in ("store", "root", "batch_size")}
    here |= {"progress": ProgressBar()}
    for name in ("device", "weights"):
        given = ctx.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE
        here[name] = options[name] if given else None
    if unit is not None:
        refuse_others(ctx, _PLACES | {"unit", "device", "weights", "batch_size"}, "--unit")
        return finish(embedkit.extract_unit(plan, *unit, **here), options["as_json"])
    if output is None and cluster is None and here["device"] is None:
        raise click.UsageError(
            "say what to do with the plan: --unit K/N, --status, --cluster, --device or -o FILE.h5", ctx
        )
    refuse_others(
        ctx, _PLACES | {"device", "weights", "batch_size", "cluster", "output", "force"}, "--plan without SOURCE"
    )
    done = embedkit.extract_planned(plan, output=output, cluster=cluster, force=options["force"], **here)
    return finish(done, options["as_json"])


def _say_status(ctx: click.Context, plan: str | None, options: dict[str, Any]) -> int:
    import embedkit

    if plan is None:
        raise click.UsageError("--status needs a plan: --status P.json", ctx)
    refuse_others(ctx, _PLACES | {"status", "watch"}, "--status")
    where = {"store": options["store"], "root": options["root"]}
    status = embedkit.extraction_status(plan, **where)
    before: list[UnitStatus] = []
    while ctx.params["watch"] and not status.complete:
        if not options["as_json"]:
            # Of what was said before only what changed: in a log, thousands of units would drown it.
            changed = [unit for unit in status.units if unit not in before]
            click.echo(time.strftime("%Y-%m-%d %H:%M:%S"))
            finish(dataclasses.replace(status, units=changed), False)
            click.echo()
        before = status.units
        while status.units == before and not status.complete:
            time.sleep(_WATCH_SECONDS)
            status = embedkit.extraction_status(plan, **where)
    return finish(status, options["as_json"]) or (0 if status.complete else LEFT)


def _images(sources: tuple[str, ...]) -> str | list[str]:
    """Return the sources; for ``-`` the paths on standard input, one a line, or separated by NUL."""
    if "-" not in sources:
        return sources[0] if len(sources) == 1 else list(sources)
    if len(sources) > 1:
        raise click.UsageError("SOURCE is - and others are named too; name one of them")
    if sys.stdin is None or sys.stdin.isatty():  # pyright: ignore[reportUnnecessaryComparison]
        raise click.UsageError("SOURCE is -, but nothing is piped in; `ls *.jpg | embedkit extract - ...`")
    text = sys.stdin.buffer.read()
    if b"\0" in text:
        return [os.fsdecode(path) for path in text.split(b"\0") if path]
    return [os.fsdecode(line) for line in text.splitlines() if line.strip()]


def _finish_all(results: Sequence[ExtractResult | Forecast], options: dict[str, Any]) -> int:
    as_json = options["as_json"]
    if len(results) == 1:
        return finish(results[0], as_json)
    if as_json:
        print_json({"results": [result.to_dict(rows=False) for result in results]})
        return max(SKIPPED if result.skipped else 0 for result in results)
    code = 0
    for place, result in enumerate(results):
        if place:
            click.echo()
        code = max(code, finish(result, as_json))
    return code
