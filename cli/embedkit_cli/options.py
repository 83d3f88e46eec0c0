"""Options that several commands share, and the bar that shows progress.

Layer: cli; public names of embedkit only.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from embedkit import BackboneRequest

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _pairs(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """Read ``K=V`` pairs; a value is JSON where it can be, else text."""
    pairs: dict[str, Any] = {}
    for value in values:
        name, found, text = value.partition("=")
        if not found or not name:
            raise click.BadParameter(f"{value!r} is not of the form NAME=VALUE")
        try:
            pairs[name] = json.loads(text)
        except ValueError:
            pairs[name] = text
    return pairs


def _numbers(count: int) -> Callable[[click.Context, click.Parameter, str | None], tuple[float, ...] | None]:
    def parse(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[float, ...] | None:
        if value is None:
            return None
        try:
            numbers = tuple(float(part) for part in value.split(","))
        except ValueError:
            raise click.BadParameter(f"{value!r} is not a list of numbers separated by commas") from None
        if len(numbers) != count:
            raise click.BadParameter(f"{value!r} holds {len(numbers)} numbers, expected {count} separated by commas")
        return numbers

    return parse


def _size(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    parts = value.lower().split("x")
    if not 1 <= len(parts) <= 2 or not all(part.isdecimal() for part in parts):
        raise click.BadParameter(f"{value!r} is no size; write 224 or 224x320 (height x width)")
    return int(parts[0]), int(parts[-1])


_BACKBONE_OPTIONS = [
    click.option(
        "--weights",
        default="pretrained",
        show_default=True,
        metavar="pretrained|random|bundled|FILE",
        help="Where the weights come from; FILE is .safetensors or .pth. Of several models: --model NAME=FILE.",
    ),
    click.option(
        "--model-arg", "model_args", multiple=True, callback=_pairs, metavar="K=V", help="Passed to timm; repeat."
    ),
    click.option(
        "--layer",
        "layers",
        type=int,
        multiple=True,
        help="Index of an intermediate layer, negative from the end; repeat.",
    ),
    click.option(
        "--pool",
        type=click.Choice(["auto", "avg", "cls", "cls+avg", "max", "gem"]),
        default="auto",
        show_default=True,
        help="How a layer becomes one vector.",
    ),
    click.option("--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default="auto", show_default=True),
    click.option("--engine", type=click.Choice(["auto", "torch", "openvino"]), default="auto", show_default=True),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        help="auto, cpu, cuda or cuda:0; `extract` takes several: cuda:0,cuda:1.",
    ),
    click.option(
        "--resize",
        type=click.Choice(["fast", "exact"]),
        default="fast",
        show_default=True,
        help="exact: decode and resize with Pillow, equal to timm's own transform.",
    ),
    click.option("--input-size", callback=_size, metavar="N|HxW", help="In place of the model's own, in pixels."),
    click.option("--mean", callback=_numbers(3), metavar="R,G,B", help="Normalisation, pixels in [0, 1]."),
    click.option("--std", callback=_numbers(3), metavar="R,G,B"),
    click.option("--interpolation", help="As timm names them: bicubic, bilinear, ..."),
    click.option("--crop-pct", type=float),
    click.option("--crop-mode", type=click.Choice(["center", "squash", "border"])),
]


def backbone_options(command: _Command) -> _Command:
    """Add the options of a `BackboneRequest` to a command, which receives them as ``**backbone``."""
    for option in reversed(_BACKBONE_OPTIONS):
        command = option(command)
    return command


def gather_overrides(options: dict[str, Any]) -> dict[str, Any]:
    """Put the options that override the model's own preprocessing together, as `extract` takes them."""
    from embedkit import PreprocessOverrides

    parts = ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")
    overrides = PreprocessOverrides(**{name: options[name] for name in parts})
    rest = {name: value for name, value in options.items() if name not in (*parts, "layers")}
    if len(options["layers"]) > 1:
        raise click.UsageError("one --layer can be had here, and several are named")
    return {**rest, "layer": options["layers"][0] if options["layers"] else None, "preprocess": overrides}


def backbones_from(models: tuple[str, ...], options: dict[str, Any]) -> list[BackboneRequest]:
    """Return one request for each ``NAME`` or ``NAME=FILE`` and layer, with the other options given.

    Without any of all that none: of a feature file nothing need be asked.
    """
    from embedkit import BackboneRequest

    layers: list[tuple[int, ...]] = [(layer,) for layer in options["layers"]] or [()]
    requests = [
        BackboneRequest(model, **gather_overrides({**options, "weights": weights, "layers": layer}))
        for model, weights in (weights_of(name, options["weights"]) for name in models or (None,))
        for layer in layers
    ]
    return requests if models or requests != [BackboneRequest()] else []


def weights_of(model: str | None, weights: str) -> tuple[str | None, str]:
    """Return the name of a model and its weights: those in ``NAME=FILE``, else those given."""
    name, found, own = (model or "").partition("=")
    if found and weights != "pretrained":
        raise click.UsageError(
            f"--model {model} names its weights, and --weights {weights} others: leave --weights out, "
            "and give each model its own as NAME=FILE, NAME=pretrained or NAME=random"
        )
    return (name, own) if found else (model, weights)


store_option = click.option(
    "--store", type=click.Path(), metavar="DIR", help="The feature store; by default the user's, or EMBEDKIT_STORE."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
label_option = click.option("--label-column", metavar="C", help="The column that holds the labels.")
trust_pickle_option = click.option(
    "--trust-pickle",
    is_flag=True,
    help="Load a model that joblib or pickle wrote. It can run any code: only if you know its whole way here.",
)
