"""The options of the curves of ``embedkit probe``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _numbers(kind: type[Any]) -> Callable[[click.Context, click.Parameter, str | None], list[Any]]:
    """Read numbers separated by commas; none where the option is not given."""

    def parse(ctx: click.Context, parameter: click.Parameter, value: str | None) -> list[Any]:
        try:
            return [kind(part) for part in value.split(",")] if value is not None else []
        except ValueError:
            what = "whole numbers" if kind is int else "numbers"
            raise click.BadParameter(f"{value!r} is not a list of {what} separated by commas") from None

    return parse


_OPTIONS = [
    click.option("--shots", callback=_numbers(int), metavar="N,N", help="A curve over so many images a class."),
    click.option("--fractions", callback=_numbers(float), metavar="F,F", help="A curve over parts of the training."),
    click.option("--seeds", type=click.IntRange(min=1), help="Draws at each point of a curve.  [default: 5]"),
]


def curve_options(command: _Command) -> _Command:
    """Add ``--shots``, ``--fractions`` and ``--seeds`` to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
