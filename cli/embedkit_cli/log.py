"""What is said on stderr: lines for people, or JSON lines for machines (``--log-format json``).

Layer: cli; the standard library and click only.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import sys
from typing import Any

import click

from embedkit.text import printable

FORMAT_VARIABLE = "EMBEDKIT_LOG_FORMAT"


def is_json() -> bool:
    """Whether lines on stderr are JSON objects."""
    return os.environ.get(FORMAT_VARIABLE) == "json"


def say(level: str, message: str, **facts: Any) -> None:
    """Say something on stderr; `facts` are for machines, the message for people."""
    if is_json():
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        click.echo(json.dumps({"time": now, "level": level, "message": message, **facts}), err=True)
        return
    click.echo(f"embedkit: {'error: ' if level == 'error' else ''}{printable(message)}", err=True)


def log_through(level: int = logging.WARNING) -> None:
    """Let what libraries log come out as `say` says it."""
    logging.basicConfig(level=level, handlers=[_Handler(sys.stderr)])


class _Handler(logging.StreamHandler[Any]):
    def emit(self, record: logging.LogRecord) -> None:
        lines = record.getMessage().split("\n")
        if record.exc_info:
            lines += logging.Formatter().formatException(record.exc_info).split("\n")
        if is_json():
            say(record.levelname.lower(), "\n".join(lines), logger=record.name)
        else:
            say(record.levelname.lower(), "\n".join(map(printable, lines)))


def _set_format(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        os.environ[FORMAT_VARIABLE] = value


def add_log_format(command: click.Command) -> None:
    """Give a command, and those below it, the option ``--log-format``."""
    if any(parameter.name == "log_format" for parameter in command.params):
        return
    command.params.append(
        click.Option(
            ["--log-format"],
            type=click.Choice(["text", "json"]),
            expose_value=False,
            callback=_set_format,
            help="How notes, progress and errors on stderr are written: for people, or a JSON object a line.",
        )
    )
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        add_log_format(below)
