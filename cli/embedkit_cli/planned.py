"""What the options of `embedkit extract` about plans and units mean.

Layer: cli; public names of embedkit only.
"""

from __future__ import annotations

import click


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
