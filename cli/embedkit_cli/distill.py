"""embedkit distill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from embedkit_cli.help import Command
from embedkit_cli.options import json_option, label_option, size_of, store_option, weights_of
from embedkit_cli.output import check_outputs, finish
from embedkit_cli.progress import ProgressBar

if TYPE_CHECKING:
    from embedkit import FeatureRequest


@click.command("distill", cls=Command, first=("--teacher", "--student", "--images", "--evaluate", "--weights-output"))
@click.argument("sources", type=click.Path(), nargs=-1, metavar="[DIR...]")
@click.option("--teacher", metavar="NAME[=FILE]", help="The model whose features are taught; FILE: its weights.")
@click.option("--student", required=True, metavar="NAME[=FILE]", help="The small model; FILE: where it starts from.")
@click.option(
    "--images", multiple=True, type=click.Path(), metavar="DIR...", help="Images to teach with, labelled or not."
)
@click.option("--evaluate", multiple=True, type=click.Path(), metavar="DATA", help="Labelled data to judge on; repeat.")
@click.option(
    "--weights-output",
    required=True,
    type=click.Path(),
    metavar="F.safetensors",
    help="Write the student, for `extract --weights`.",
)
@click.option("--labels", is_flag=True, help="Teach the labels of the images, too.")
@click.option(
    "--student-task", type=click.Path(), metavar="M.skops", help="Teach a fitted classifier: its backbone and classes."
)
@click.option("--model-output", type=click.Path(), metavar="F.skops", help="Of --student-task: the student's own.")
@click.option(
    "--wider", metavar="NAME[=FILE]", help="Start as a part of a wider trained model of the student's family."
)
@click.option("--input-size", callback=size_of, metavar="N|HxW", help="Of the student, in place of its own, in pixels.")
@click.option("--views", type=int, default=4, show_default=True, help="Random views beside each image.")
@click.option("--epochs", type=int, default=60, show_default=True)
@click.option("--rate", type=float, help="Peak learning rate; default: 2e-3, from trained weights 4e-4.")
@click.option("--weight-decay", type=float, default=0.05, show_default=True)
@click.option("--batch-size", type=int, default=64, show_default=True, help="Halved where memory does not suffice.")
@click.option(
    "--relational", type=float, default=10.0, show_default=True, help="Weight of how alike the images of a batch are."
)
@click.option(
    "--coarse",
    type=float,
    default=0.3,
    show_default=True,
    metavar="SHARE",
    help="Of images shown to the student at a lower resolution.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("-o", "--output", type=click.Path(), metavar="R.json", help="Save the card.")
@click.option("--force", is_flag=True, help="Replace existing outputs.")
@label_option
@store_option
@json_option
def command(
    sources: tuple[str, ...],
    teacher: str | None,
    student: str,
    images: tuple[str, ...],
    evaluate: tuple[str, ...],
    weights_output: str,
    labels: bool,
    student_task: str | None,
    model_output: str | None,
    wider: str | None,
    input_size: tuple[int, int] | None,
    views: int,
    epochs: int,
    rate: float | None,
    weight_decay: float,
    batch_size: int,
    relational: float,
    coarse: float,
    seed: int,
    output: str | None,
    force: bool,
    label_column: str | None,
    store: str | None,
    as_json: bool,
) -> int:
    """Teach a small model what a large one says of images; no label is needed.

    The teacher's features are kept in the store, also of random views of each image: a second student of the same
    teacher makes no pass through it. Rows of a test split are not trained on. What was interrupted goes on when the
    command is given again. The card says what was taught, what that cost, and how much of the teacher's gain over raw
    pixels the student keeps on DATA.

    \b
    embedkit distill --teacher resnet50.a1_in1k --student lcnet_050 --images photos/ more/ \\
        --evaluate labelled/ --weights-output small.safetensors
    embedkit extract photos/ --model lcnet_050 --weights small.safetensors -o small.h5
    embedkit distill --student-task model.skops --student lcnet_050 --images photos/ \\
        --weights-output small.safetensors --model-output small.skops
    embedkit export small.skops -o small.onnx
    """
    from embedkit import DistillSettings, distill

    check_outputs(weights_output, model_output, output, force=force)
    asked = [*images, *sources]
    if not asked:
        raise click.UsageError("no images are named: give folders or manifests, --images DIR DIR")
    result = distill(
        asked,
        _request(student, "random", input_size),
        None if teacher is None else _request(teacher, "pretrained"),
        output=weights_output,
        labels=labels,
        student_task=student_task,
        model_output=model_output,
        wider=None if wider is None else _request(wider, "pretrained"),
        evaluate=list(evaluate),
        settings=DistillSettings(
            epochs=epochs,
            views=views,
            rate=rate,
            weight_decay=weight_decay,
            batch_size=batch_size,
            relational=relational,
            coarse=coarse,
            random_state=seed,
        ),
        label_column=label_column,
        store=store,
        force=force,
        progress=ProgressBar(),
    )
    return finish(result, as_json, output=output, force=force, store=store)


def _request(named: str, weights: str, input_size: tuple[int, int] | None = None) -> FeatureRequest:
    from embedkit import FeatureRequest

    name, own = weights_of(named, "pretrained")
    preprocess: Any = None if input_size is None else {"input_size": input_size}
    return FeatureRequest(name, own if "=" in named else weights, preprocess=preprocess)
