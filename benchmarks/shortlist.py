"""Refresh the shortlist of `embedkit models`: timm's models that pay, by the accuracy and the pace that timm publishes.

    python -m benchmarks.shortlist [--commit COMMIT]            # needs a network
    python -m benchmarks.shortlist --results results-imagenet.csv --pace benchmark-infer-fp32-....csv

A model is on the list where it is more accurate on ImageNet by at least `GAIN` than every model that takes less time
on timm's CPU (fp32, one image), at the size of image that timm takes by default, and no less than the bundled backbone.
The bundled backbones are on it in any case. What timm itself knows of a model (parameters, features, licence) is asked
of the installed timm.
"""

from __future__ import annotations

import argparse
import csv
import io
import urllib.request
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

from embedkit.backbones.models import measure, resolve_model
from embedkit.backbones.request import BUNDLED_MODELS
from embedkit.errors import UnknownModelError

COMMIT = "7479d451a6dfd8af27f941b8e82a7402461fae80"
URL = "https://raw.githubusercontent.com/huggingface/pytorch-image-models/{commit}/results/{file}"
RESULTS = "results-imagenet.csv"
PACE = "benchmark-infer-fp32-nchw-pt240-cpu-i7_12700h-dynamo.csv"
GAIN = 0.2
FIELDS = ("model", "top1", "milliseconds", "parameters", "width", "input_size", "licence")


def published(results: Iterable[str], pace: Iterable[str]) -> list[tuple[float, float, str]]:
    """Return (milliseconds, top-1 in percent, ``arch.tag``) of models that both tables have at their default size."""
    taken = {(row["model"], int(row["infer_img_size"])): float(row["infer_step_time"]) for row in csv.DictReader(pace)}
    found: list[tuple[float, float, str]] = []
    for row in csv.DictReader(results):
        size = int(row["img_size"])
        milliseconds = taken.get((row["model"].split(".")[0], size))
        if milliseconds is None:
            continue
        try:
            config = resolve_model(row["model"]).config
        except UnknownModelError:  # renamed or withdrawn since
            continue
        if tuple(config["input_size"][1:]) == (size, size):
            found.append((milliseconds, float(row["top1"]), row["model"]))
    return sorted(found, key=lambda one: (one[0], -one[1]))


def paying(models: list[tuple[float, float, str]], least: float) -> list[tuple[float, float, str]]:
    """Return the models that are more accurate than all faster ones by `GAIN` and have at least so much top-1."""
    chosen: list[tuple[float, float, str]] = []
    best = least - GAIN
    for one in models:
        if one[1] >= best + GAIN:
            chosen.append(one)
            best = one[1]
    return chosen


def rows(results: str, pace: str) -> list[dict[str, object]]:
    """Return the shortlist, the bundled models first."""
    models = published(io.StringIO(results), io.StringIO(pace))
    bundled = [one for one in models if one[2].split(".")[0] in BUNDLED_MODELS]
    listed = [*bundled, *(one for one in paying(models, bundled[0][1]) if one not in bundled)]
    table: list[dict[str, object]] = []
    for milliseconds, top1, name in listed:
        known = resolve_model(name)
        parameters, width = measure(known.architecture)
        size = known.config["input_size"]
        licence = known.config.get("license") or ""
        values = (name, top1, milliseconds, parameters, width, f"{size[1]}x{size[2]}", licence)
        table.append(dict(zip(FIELDS, values, strict=True)))
    return table


def read(place: str) -> str:
    if "://" not in place:
        return Path(place).read_text("utf-8")
    with urllib.request.urlopen(place, timeout=30) as answer:
        return answer.read().decode("utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commit", default=COMMIT)
    parser.add_argument("--results")
    parser.add_argument("--pace")
    parser.add_argument("--output", default=str(resources.files("embedkit.backbones") / "shortlist.csv"))
    options = parser.parse_args()
    table = rows(
        read(options.results or URL.format(commit=options.commit, file=RESULTS)),
        read(options.pace or URL.format(commit=options.commit, file=PACE)),
    )
    with Path(options.output).open("w", newline="", encoding="utf-8") as file:
        file.write(
            f"# timm's results/{RESULTS} and results/{PACE} at commit {options.commit}, "
            f"read {datetime.now(UTC):%Y-%m-%d}; made by benchmarks/shortlist.py\n"
        )
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


if __name__ == "__main__":
    main()
