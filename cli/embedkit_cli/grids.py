"""The option --param: a grid of an estimator's parameters."""

from __future__ import annotations

import json
from typing import Any

import click


def _read(context: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> dict[str, list[Any]]:
    grid: dict[str, list[Any]] = {}
    for text in texts:
        name, _, values = text.partition("=")
        if not name or not values:
            raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE or NAME=VALUE,VALUE,...")
        if name in grid:
            raise click.BadParameter(f"{name!r} is given twice; separate its values by commas")
        grid[name] = [_scalar(value) for value in values.split(",")]
    return grid


def _scalar(text: str) -> Any:
    """Read a number, true, false or null as JSON; everything else is text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, list | dict) else value


param_option = click.option(
    "--param",
    "params",
    multiple=True,
    callback=_read,
    metavar="NAME=VALUE,...",
    help="Values to choose from, for an estimator named by its dotted path; repeat for several parameters.",
)

ESTIMATORS = "logistic, pca+logistic, svm, knn, ridge, lda, or a dotted path such as sklearn.svm.SVC"
