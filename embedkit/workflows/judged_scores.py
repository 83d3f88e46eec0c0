"""What transferability scores would have chosen, each judged by the probes of a selection.

Layer: workflows; for select.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import numpy.typing as npt

from embedkit.results import ScoreVerdict
from embedkit.selection import Halving, agreement_with, score_all
from embedkit.workflows.choosing_rows import ChoosingRows
from embedkit.workflows.contestants import Contestants


def judged_scores(
    contestants: Contestants, outcome: Halving, rows: ChoosingRows
) -> tuple[dict[str, ScoreVerdict], int]:
    """Judge every score by the probes, on the images that all candidates have seen."""
    first = outcome.rows[: outcome.first]
    features = contestants.features(contestants.networks, rows.choosing[first])
    there = np.logical_and.reduce([np.isfinite(X).all(axis=1) for X in features.values()])
    truth = {one.name: one.estimates[0].value for one in outcome.standings}
    features = {name: X[there] for name, X in features.items()}
    found = score_all(features, rows.classes[first][there], _own_classes(contestants, features))
    found |= {name: (values, 0.0) for name, values in _static(contestants).items() if len(values) > 1}
    verdicts: dict[str, ScoreVerdict] = {}
    for name, (values, seconds) in found.items():
        if values:
            judged = agreement_with(values, truth)
            verdicts[name] = ScoreVerdict(
                tau=judged.tau, regret=judged.regret, top3=judged.top3, values=values, seconds=seconds
            )
    return verdicts, int(there.sum())


def _own_classes(
    contestants: Contestants, features: Mapping[str, npt.NDArray[np.float32]]
) -> dict[str, npt.NDArray[np.float64]]:
    """Return what the networks that have a classifier of their own say of the images in its classes."""
    from embedkit.backbones import own_classifier  # it imports torch

    found = {name: own_classifier(request) for name, request in contestants.requests.items()}
    return {name: one.probabilities(features[name]) for name, one in found.items() if one is not None}


def _static(contestants: Contestants) -> dict[str, dict[str, float]]:
    """Return what is known of the candidates without any image: timm's published accuracy, and their size."""
    from embedkit.backbones import shortlist  # it imports timm

    published = {one.name: one.top1 for one in shortlist() if one.top1 is not None}
    published |= {name.partition(".")[0]: top1 for name, top1 in published.items()}
    accuracy: dict[str, float] = {}
    parameters: dict[str, float] = {}
    for name, request in contestants.requests.items():
        if request.layer is not None:
            continue  # what is published is of the whole network
        known = published.get(cast(str, request.model))
        if known is not None and request.weights in ("pretrained", "bundled"):
            accuracy[name] = known
        count = contestants.looked[contestants.network_of[name]].parameters
        if count is not None:
            parameters[name] = float(count)
    return {"published_accuracy": accuracy, "parameters": parameters}
