"""embedkit finetune."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import click

from embedkit_cli.help import Command
from embedkit_cli.options import drop_option, read_options, requests_beside, result_options, target_from
from embedkit_cli.output import check_outputs, finish
from embedkit_cli.progress import ProgressBar

_Number = TypeVar("_Number", int, float)


def _several(
    kind: type[_Number],
) -> Callable[[click.Context, click.Parameter, str | None], tuple[_Number, ...] | None]:
    def parse(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[_Number, ...] | None:
        if value is None:
            return None
        try:
            return tuple(kind(part) for part in value.split(","))
        except ValueError:
            raise click.BadParameter(f"{value!r} is not a list of numbers separated by commas") from None

    return parse


_RUNGS = ["frozen", "head", "cached", "lora", "bias", "gradual", "full"]

_PLAIN: dict[str, Any] = {
    "model_args": {},
    "layers": (),
    "pool": "auto",
    "precision": "auto",
    "engine": "auto",
    "device": "auto",
    "resize": "fast",
    **dict.fromkeys(("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")),
}


@click.command("finetune", cls=Command, first=("--model", "--until", "--views", "--depths", "--weights-output"))
@click.argument("targets", type=click.Path(), nargs=-1, required=True, metavar="TARGET...")
@click.option("--model", "models", multiple=True, metavar="NAME", help="For a source of images.")
@click.option(
    "--weights",
    default="pretrained",
    show_default=True,
    metavar="pretrained|random|bundled|FILE",
    help="Where the weights come from.",
)
@click.option(
    "--until",
    type=click.Choice(_RUNGS),
    default="cached",
    show_default=True,
    metavar="RUNG",
    help=f"The highest rung: {', '.join(_RUNGS[:-1])} or {_RUNGS[-1]}.",
)
@click.option("--skip", default="", metavar="RUNG,...", help="Rungs below it to leave out.")
@click.option("--views", type=int, default=4, show_default=True, help="Random views beside each training image.")
@click.option(
    "--depths",
    default=None,
    metavar="N,M",
    callback=_several(int),
    help="Last blocks to try.  [default: 2 and half of them]",
)
@click.option(
    "--rates", default="3e-4,1e-3", show_default=True, metavar="R,S", callback=_several(float), help="Rates to try."
)
@click.option("--rank", type=int, default=8, show_default=True, help="Of lora.")
@click.option(
    "--weight-decays",
    default="0.05,0.3",
    show_default=True,
    metavar="D,E",
    callback=_several(float),
    help="Weight decays to try, the first with each rate, the others at the best.",
)
@click.option("--epochs", type=int, default=15, show_default=True, help="Of the tuning that is kept.")
@click.option("--trial-epochs", type=int, default=5, show_default=True, help="Of each trial.")
@click.option(
    "--patience", type=int, default=5, show_default=True, help="Epochs without gain that stop a trial; 0: none do."
)
@click.option(
    "--batch-norm",
    type=click.Choice(["eval", "train"]),
    default="eval",
    show_default=True,
    help="Whether batch norms of the tuned blocks keep their statistics.",
)
@click.option("--mixup", type=float, default=0.0, metavar="ALPHA", help="Mix two images: 0.2.  [default: none]")
@click.option(
    "--ema-decay",
    type=float,
    default=0.0,
    metavar="D",
    help="Keep the mean of the weights over the steps: 0.99.  [default: the last]",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", show_default=True)
@click.option(
    "--weights-output", type=click.Path(), metavar="F.safetensors", help="Write the tuned network, for `--weights`."
)
@click.option("-o", "--output", type=click.Path(), metavar="R.json", help="Save the result, with each row's outcome.")
@result_options
@drop_option
@read_options
def command(
    targets: tuple[str, ...],
    models: tuple[str, ...],
    weights: str,
    until: Any,
    skip: str,
    views: int,
    depths: tuple[int, ...] | None,
    rates: tuple[float, ...],
    rank: int,
    weight_decays: tuple[float, ...],
    epochs: int,
    trial_epochs: int,
    patience: int,
    batch_norm: Any,
    mixup: float,
    ema_decay: float,
    seed: int,
    precision: Any,
    weights_output: str | None,
    output: str | None,
    page: str | None,
    force: bool,
    label_column: str | None,
    drop_unlabelled: bool,
    layout: str | None,
    target_type: str | None,
    image_column: str | None,
    store: str | None,
    as_json: bool,
) -> int:
    """Say whether tuning the network pays on TARGET, rung after rung, each tested against the one below.

    Rungs are frozen (a classifier on the features), head (the same, trained on by AdamW), cached (the last blocks on
    maps of the blocks before, which the store keeps: one pass an image and view, ever), lora (of these blocks a product
    of low rank), bias (their biases), gradual (one block after the other) and full (the whole network from pixels).
    What is tried is chosen on validation rows; the accuracies come from test rows, which choose nothing.

    \b
    embedkit finetune photos/ --model vit_tiny_patch16_224
    embedkit finetune photos/ --model vit_small_patch16_224 --weights-output tuned.safetensors
    embedkit extract photos/ --model vit_small_patch16_224 --weights tuned.safetensors -o tuned.h5
    """
    from embedkit import TuningSettings, finetune

    check_outputs(weights_output, output, page, force=force)
    if len(models) > 1:
        raise click.UsageError(f"{len(models)} models are named; a ladder is of one")
    target, label_column = target_from(
        targets, label_column=label_column, layout=layout, target_type=target_type, image_column=image_column
    )
    requests = requests_beside(models, {**_PLAIN, "weights": weights})
    settings = TuningSettings(
        depths=depths,
        skip=cast(Any, tuple(one for one in skip.split(",") if one)),
        rates=rates,
        rank=rank,
        weight_decays=weight_decays,
        epochs=epochs,
        trial_epochs=trial_epochs,
        patience=patience,
        batch_norm=batch_norm,
        mixup=mixup,
        ema_decay=ema_decay,
        views=views,
        precision=precision,
        random_state=seed,
    )
    report = finetune(
        target,
        requests[0] if requests else None,
        until=until,
        settings=settings,
        output=weights_output,
        label_column=label_column,
        drop_unlabelled=drop_unlabelled,
        store=store,
        force=force,
        progress=ProgressBar(),
    )
    return finish(report, as_json, output=output, page=page, force=force, store=store)
