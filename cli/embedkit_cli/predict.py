"""embedkit predict."""

from __future__ import annotations

import click

from embedkit_cli.options import json_option, store_option, trust_pickle_option
from embedkit_cli.output import note, print_json, print_table, say_failures
from embedkit_cli.progress import ProgressBar


@click.command("predict")
@click.argument("model", type=click.Path())
@click.argument("source", type=click.Path())
@click.option("--weights", metavar="FILE", help="Where the backbone's weights are now; they must be the same weights.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:0.")
@click.option("-o", "--output", type=click.Path(), metavar="FILE.csv", help="Write the table as CSV, or .json, too.")
@click.option("--force", is_flag=True, help="Replace an existing output.")
@trust_pickle_option
@store_option
@json_option
def command(
    model: str,
    source: str,
    weights: str | None,
    device: str,
    output: str | None,
    force: bool,
    trust_pickle: bool,
    store: str | None,
    as_json: bool,
) -> int:
    """Classify the images of SOURCE with a MODEL file of `embedkit fit`.

    \b
    embedkit predict model.skops new_photos/
    embedkit predict model.skops new_photos/ -o predictions.csv
    """
    from embedkit import predict

    result = predict(
        model,
        source,
        weights=weights,
        device=device,
        store=store,
        output=output,
        force=force,
        trust_pickle=trust_pickle,
        progress=ProgressBar(),
    )
    if as_json:
        print_json(result.to_dict())
    else:
        print_table(
            ("path", "predicted", result.score_name),
            [(row.path, row.predicted, "" if row.score is None else f"{row.score:.4f}") for row in result.rows],
        )
    for text in result.notes:
        note(text)
    say_failures(result.skipped)
    return 3 if result.skipped else 0
