"""The curves of ``embedkit probe``: options, and how they are printed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from embedkit_cli.output import note, percent, print_table, say_failures

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


def print_curves(report: Any) -> None:
    """Print a `CurveReport` for a person: one line a backbone, one column a point."""
    first = report.curves[0]
    unit = "a class" if first.kind == "shots" else "of train"
    print_table(
        ("features", *(f"{point.size:g} {unit}" for point in first.points)),
        [
            (
                curve.model + (" (floor)" if curve.floor else ""),
                *(_point(curve.metric, point) for point in curve.points),
            )
            for curve in report.curves
        ]
        + [(f"{name} (floor)", "unavailable", *[""] * (len(first.points) - 1)) for name, *_ in report.unavailable],
    )
    interval = " with its 95 % interval" if first.seeds > 1 else ""
    draws = f"{first.seeds} draw{'s' if first.seeds > 1 else ''}"
    click.echo(f"\n{first.metric} of {first.estimator}, mean over {draws}{interval}\nreported on: {first.reported_on}")
    for name, reason, _ in report.unavailable:
        note(f"no floor {name}: {reason}")
    for text in report.notes:
        note(text)
    say_failures(report.skipped)


def _point(metric: str, point: Any) -> str:
    share = metric not in ("r2", "pearson")
    text = percent(point.mean) if share else f"{point.mean:.3f}"
    if point.interval is not None:
        low, high = point.interval
        text += f" ({100 * low:.1f} - {100 * high:.1f})" if share else f" ({low:.3f} - {high:.3f})"
    return text + ("" if point.converged else " (not converged)")
