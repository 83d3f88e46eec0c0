"""What `embedkit extract` prints about a plan and its units.

Layer: cli; public names of embedkit only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from embedkit_cli.output import print_facts, print_json, print_table

if TYPE_CHECKING:
    from embedkit import PlanResult, PlanStatus

# Units that are listed one by one; of more than that, those that are not complete.
_SHOWN = 40

# Units that are named in a sentence.
_NAMED = 5


def parse_unit(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Read ``k/n``."""
    if value is None:
        return None
    number, slash, count = value.partition("/")
    if not slash or not number.isdecimal() or not count.isdecimal() or not 1 <= int(number) <= int(count):
        raise click.BadParameter(f"{value!r} is no unit; write 1/8 for the first of eight, up to 8/8")
    return int(number), int(count)


def refuse_others(ctx: click.Context, allowed: set[str], what: str) -> None:
    """Refuse options that mean nothing here, because the plan has settled what they say."""
    for parameter in ctx.command.params:
        name = parameter.name or ""
        given = ctx.get_parameter_source(name)
        if name not in allowed and given == click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[0]} means nothing with {what}: the plan has settled it", ctx)


def print_plan(result: PlanResult, as_json: bool) -> None:
    """Print what a plan asks for."""
    if as_json:
        print_json(result.to_dict(rows=False))
        return
    facts: list[tuple[str, Any]] = [
        ("images", f"{result.images} ({result.bytes / 1e6:.1f} MB)"),
        ("units", f"{result.units} proposed; any other number will do"),
        ("model", f"{result.model}, {result.width} features an image"),
        ("computed by", result.choice),
        ("worst cosine", None if result.drift is None else f"{result.drift:.5f} to fp32 torch"),
        ("fingerprint", result.fingerprint[:16]),
        ("store", result.store),
        ("plan", result.plan),
    ]
    print_facts(facts)


def print_status(status: PlanStatus, as_json: bool) -> None:
    """Print where a plan stands."""
    if as_json:
        print_json(status.to_dict(rows=False))
        return
    shown = status.units if len(status.units) <= _SHOWN else [unit for unit in status.units if not unit.complete]
    if shown:
        print_table(
            ("unit", "done", "failed", "rows", "at work"),
            [
                (
                    f"{unit.number}/{unit.count}",
                    str(unit.done),
                    str(unit.failed),
                    str(unit.rows),
                    f"{unit.worker}, at image {unit.settled}" if unit.worker else "",
                )
                for unit in shown
            ],
        )
        click.echo()
    print_facts(
        [
            ("images", f"{status.images} ({status.done} rows, {status.failed} failed, {status.missing} to go)"),
            ("state", _state(status)),
            ("store", status.store),
        ]
    )


def _state(status: PlanStatus) -> str:
    if not status.complete:
        return f"{status.missing} images to go"
    if not status.unread:
        return "complete"
    units = [f"{unit.number}/{unit.count}" for unit in status.units if unit.unread]
    named = ", ".join(units[:_NAMED]) + (", ..." if len(units) > _NAMED else "")
    images = f"{status.unread} image{'s' if status.unread != 1 else ''}"
    return f"complete without {images} that could not be read; to try again, run unit {named}"
