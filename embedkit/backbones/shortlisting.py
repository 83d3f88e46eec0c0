"""A shortlist of backbones: what is at hand, and those of timm's that pay by its published accuracy per cost.

The list stands in ``shortlist.csv`` beside this module, whose first line says where its numbers come from and when they
were read (`benchmarks/shortlist.py` refreshes it).

Layer: backbones. Imports timm, and torch through it.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, cast

import timm
from huggingface_hub import constants

from embedkit.backbones.models import measure, resolve_model
from embedkit.backbones.pretrained import pretrained_file_at_hand
from embedkit.backbones.request import BUNDLED_MODELS
from embedkit.errors import UnknownModelError

_timm: Any = timm

_CACHED = "models--timm--"
"""How the hub's cache calls the folders of timm's models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """A backbone worth trying.

    Attributes
    ----------
    name : str
        ``arch.tag``.
    weights_at_hand : bool
        Whether its pretrained weights are on this machine.
    top1 : float or None
        Published top-1 accuracy on ImageNet as a fraction; None for a model that is here without being on timm's list.
    cost : float or None
        Published time of a forward pass on a CPU, as a multiple of the bundled backbone's.
    parameters, width : int
        Numbers of parameters without the classifier, and of features of an image.
    input_size : (int, int)
        Height and width in pixels.
    licence : str
        Of the weights, as timm states it; may be empty.
    """

    name: str
    weights_at_hand: bool
    top1: float | None
    cost: float | None
    parameters: int
    width: int
    input_size: tuple[int, int]
    licence: str

    @property
    def download_bytes(self) -> int:
        """About how much has to be fetched: the parameters in fp32 with a classifier of 1,000 classes; 0 at hand."""
        return 0 if self.weights_at_hand else 4 * (self.parameters + 1001 * self.width)


def shortlist() -> list[ListedModel]:
    """List the backbones that are at hand, then those of timm's that pay, by increasing cost.

    Asks no network.

    Returns
    -------
    list of ListedModel
        Those at hand first (the bundled ones, then others by name), then the others.
    """
    rows = list(csv.DictReader(_lines()[1:]))
    published = [_listed(row, float(rows[0]["milliseconds"])) for row in rows]
    names = {model.name for model in published}
    others = [_measured(name) for name in sorted(_cached() - names)]
    at_hand = [*(model for model in published if model.weights_at_hand), *others]
    return [*at_hand, *(model for model in published if not model.weights_at_hand and not _is_bundled(model))]


def shortlist_source() -> str:
    """Return where the published numbers come from, and when they were read."""
    return _lines()[0].removeprefix("# ")


def _is_bundled(model: ListedModel) -> bool:
    """Say whether it is one whose package was left out: its own hub weights are on no list of what pays."""
    return model.name.split(".")[0] in BUNDLED_MODELS


def _listed(row: dict[str, str], unit: float) -> ListedModel:
    height, width = row["input_size"].split("x")
    return ListedModel(
        name=row["model"],
        weights_at_hand=_at_hand(row["model"]),
        top1=float(row["top1"]) / 100,
        cost=float(row["milliseconds"]) / unit,
        parameters=int(row["parameters"]),
        width=int(row["width"]),
        input_size=(int(height), int(width)),
        licence=row["licence"],
    )


def _measured(name: str) -> ListedModel:
    known = resolve_model(name)
    parameters, width = measure(known.architecture)
    size = known.config["input_size"]
    return ListedModel(
        name=name,
        weights_at_hand=True,
        top1=None,
        cost=None,
        parameters=parameters,
        width=width,
        input_size=(int(size[1]), int(size[2])),
        licence=str(known.config.get("license") or ""),
    )


def _at_hand(name: str) -> bool:
    try:
        return pretrained_file_at_hand(resolve_model(name)) is not None
    except UnknownModelError:  # the installed timm is older than the list, or newer
        return False


def _cached() -> set[str]:
    """Return the names of timm's models whose weights are in the hub's cache."""
    folder = Path(constants.HF_HUB_CACHE)
    names = {path.name.removeprefix(_CACHED) for path in folder.glob(f"{_CACHED}*")} if folder.is_dir() else set[str]()
    trained = set(cast(list[str], _timm.list_models(pretrained=True)))
    return {name for name in names & trained if _at_hand(name)}


def _lines() -> list[str]:
    return (resources.files("embedkit.backbones") / "shortlist.csv").read_text("utf-8").splitlines()
