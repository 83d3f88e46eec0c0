"""Options that several commands share, and the bar that shows progress.

Layer: cli; public names of embedkit only.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from embedkit import FeatureRequest

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


def size_of(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Read ``N`` or ``HxW``."""
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
        type=click.Choice(["auto", "avg", "cls", "cls+avg", "max", "gem", "map"]),
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
        help="auto, cpu, cuda, cuda:0, mps or xpu; `extract` takes several: cuda:0,cuda:1.",
    ),
    click.option(
        "--resize",
        type=click.Choice(["fast", "exact"]),
        default="fast",
        show_default=True,
        help="exact: decode and resize with Pillow, equal to timm's own transform.",
    ),
    click.option("--input-size", callback=size_of, metavar="N|HxW", help="In place of the model's own, in pixels."),
    click.option("--mean", callback=_numbers(3), metavar="R,G,B", help="Normalisation, pixels in [0, 1]."),
    click.option("--std", callback=_numbers(3), metavar="R,G,B"),
    click.option("--interpolation", help="As timm names them: bicubic, bilinear, ..."),
    click.option("--crop-pct", type=float),
    click.option("--crop-mode", type=click.Choice(["center", "squash", "border"])),
]


def backbone_of(options: dict[str, Any]) -> dict[str, Any]:
    """Return those of a command's options that a `FeatureRequest` is made of."""
    mine = ("weights", "model_args", "layers", "pool", "precision", "engine", "device", "resize", "dtype", *_OVERRIDES)
    return {name: options[name] for name in mine if name in options}


def backbone_options(command: _Command) -> _Command:
    """Add the options of a `FeatureRequest` to a command, which receives them as ``**backbone``."""
    for option in reversed(_BACKBONE_OPTIONS):
        command = option(command)
    return command


def requests_from(models: tuple[str, ...], options: dict[str, Any], *, blocks: bool = False) -> list[FeatureRequest]:
    """Return a request for each ``NAME`` or ``NAME=FILE`` and each layer; with `blocks` one for all layers of a model.

    Without a name it is the bundled backbone.
    """
    from embedkit import FeatureRequest, PreprocessOverrides

    overrides = PreprocessOverrides(**{name: options[name] for name in _OVERRIDES})
    rest = {name: value for name, value in options.items() if name not in (*_OVERRIDES, "layers", "weights")}
    layers: tuple[Any, ...] = options["layers"] or (None,)
    return [
        FeatureRequest(name, weights, layer=layer, preprocess=overrides, **rest)
        for name, weights in (weights_of(model, options["weights"]) for model in models or (None,))
        for layer in ([layers] if blocks else layers)
    ]


def requests_beside(models: tuple[str, ...], options: dict[str, Any], *, blocks: bool = False) -> list[FeatureRequest]:
    """Return what `requests_from` does beside a TARGET; none where nothing is said of a backbone."""
    from embedkit import FeatureRequest

    asked = requests_from(models, options, blocks=blocks)
    return [] if not models and asked == [FeatureRequest()] else asked


_OVERRIDES = ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")


def weights_of(model: str | None, weights: str) -> tuple[str | None, str]:
    """Return the name of a model and its weights: those in ``NAME=FILE``, else those given."""
    name, found, own = (model or "").partition("=")
    if found and weights != "pretrained":
        raise click.UsageError(
            f"--model {model} names its weights, and --weights {weights} others: leave --weights out, "
            "and give each model its own as NAME=FILE, NAME=pretrained or NAME=random"
        )
    return (name, own) if found else (model, weights)


def _only_one(ctx: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> str | None:
    """Refuse a second one, which click would let stand for the first without a word."""
    if len(given) > 1:
        raise click.BadParameter(
            f"{', '.join(given)} are {len(given)} models, and {ctx.command.name} takes one; run it for each"
        )
    return given[0] if given else None


def one_model_option(said: str) -> Callable[[_Command], _Command]:
    """Return the --model of a command that takes one."""
    return click.option("--model", multiple=True, callback=_only_one, metavar="NAME", help=said)


store_option = click.option(
    "--store", type=click.Path(), metavar="DIR", help="The feature store; by default the user's, or EMBEDKIT_STORE."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
label_option = click.option("--label-column", metavar="C", help="The column that holds the labels.")
_LAYOUTS = ("class", "split/class", "class/split", "flat")
_SOURCE_OPTIONS = (
    label_option,
    click.option(
        "--layout",
        type=click.Choice(_LAYOUTS),
        help="What folders are, from the first one down; by default their names say it.",
    ),
    click.option(
        "--target-type",
        type=click.Choice(["class", "value", "multilabel"]),
        help="What labels are; by default numbers with a fractional part are values.",
    ),
    click.option(
        "--image-column", metavar="C", help="The column of images or paths; in archives the ending, such as seg.png."
    ),
)
trust_pickle_option = click.option(
    "--trust-pickle",
    is_flag=True,
    help="Load a model that joblib or pickle wrote. It can run any code: only if you know its whole way here.",
)


def _grouped(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    def add(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


result_options = _grouped(
    click.option(
        "--report", "page", type=click.Path(), metavar="PAGE.html", help="Write a page with charts and pictures, too."
    ),
    click.option("--force", is_flag=True, help="Replace existing outputs."),
)
source_options = _grouped(*_SOURCE_OPTIONS)
target_options = _grouped(label_option, store_option, json_option)
read_options = _grouped(*_SOURCE_OPTIONS, store_option, json_option)
evaluation_options = _grouped(
    click.option("--folds", type=int, default=5, show_default=True, help="For a target without splits."),
    click.option("--no-floors", is_flag=True, help="Leave out raw pixels, colour histograms, random weights."),
)
drop_option = click.option("--drop-unlabelled", is_flag=True, help="Leave out rows without a label, and say how many.")
pairs_option = click.option(
    "--pairs",
    "pairs",
    type=click.Path(),
    metavar="FILE.csv",
    help="List all pairs of equal and nearly equal images, with their splits and labels.",
)
protocol_options = _grouped(
    click.option(
        "--protocol", "protocols", default="quick", show_default=True, metavar="A,B", help="Several by commas."
    ),
    click.option("--as-published", is_flag=True, help="Solve each protocol by its original's solver and stop rule."),
)
estimator_device_option = click.option(
    "--estimator-device",
    default="auto",
    show_default=True,
    metavar="D",
    help="Where an estimator by path is fitted: auto, cpu, cuda or torch:cpu.",
)


def duration_option(ctx: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Read a time such as ``90s``, ``10m`` or ``2h`` as seconds; a number without a unit is seconds."""
    if value is None:
        return None
    unit = {"s": 1, "m": 60, "h": 3600}.get(value[-1:].lower())
    try:
        seconds = float(value if unit is None else value[:-1]) * (unit or 1)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise click.BadParameter(f"{value!r} is no time above 0; write 90s, 10m or 2h")
    return seconds


def split_names(names: str) -> list[str]:
    """Read names separated by commas."""
    return [name.strip() for name in names.split(",")]


def target_from(
    targets: tuple[str, ...],
    *,
    label_column: str | None,
    layout: str | None,
    target_type: str | None,
    image_column: str | None,
) -> tuple[Any, str | None]:
    """Return what TARGETs stand for, and the column of labels that is still to be chosen of it.

    One path without further options stays a path, which may be a feature file; the images of others are listed now.
    """
    target = list(targets) if len(targets) > 1 else "".join(targets)
    if len(targets) == 1 and layout is target_type is image_column is None:
        return target, label_column
    from embedkit import open_source

    options: dict[str, Any] = {"layout": layout, "target_type": target_type, "image_column": image_column}
    return open_source(target, label_column=label_column, **options), None
