"""What one site knows of its images, in sums: enough for ridge and discriminant analysis, and no image's features.

Layer: labelling; above fourier, evaluation and the estimators.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import LabelsError, SpecMismatchError, UsageError
from embedkit.estimators import SufficientStatistics
from embedkit.evaluation import FeatureRows, is_test
from embedkit.labelling.fourier import FourierFeatures
from embedkit.specs import FeatureSpec, describe_differences, differences
from embedkit.tables import FeatureTable

_HERE = ("pretrained", "random", "bundled")


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStatistics:
    """Sums over the labelled rows of a site, and what the features are.

    Attributes
    ----------
    spec : FeatureSpec
    request : dict
        What the features were asked for by; without the path of weights (``"weights": ""``) and the device.
    fourier : FourierFeatures or None
        The map that the features went through.
    statistics : SufficientStatistics
        Of target "classes".
    """

    spec: FeatureSpec
    request: dict[str, Any]
    fourier: FourierFeatures | None
    statistics: SufficientStatistics

    @property
    def width(self) -> int:
        """The number of features that the sums are of."""
        return self.fourier.components if self.fourier is not None else self.spec.backbone.width


def collect(table: FeatureTable, fourier: FourierFeatures | None = None) -> tuple[SiteStatistics, dict[str, int]]:
    """Collect the statistics of a table's labelled rows, test rows left out; block by block where it is large.

    Returns
    -------
    SiteStatistics
    left_out : dict of str to int
        Rows that are in no sum, by the reason.

    Raises
    ------
    LabelsError
        The labels are no classes, or no row has one.
    UsageError
        The table does not record what was asked for.
    """
    if table.target_type != "class":
        raise LabelsError(
            f"statistics are of classes, and the labels are of type {table.target_type!r}; name a column of classes by "
            "label_column"
        )
    request = table.provenance.get("request")
    if not isinstance(request, dict):
        raise UsageError("the feature file does not record the request it answers; extract again")
    labels = cast("npt.NDArray[np.str_]", table.y)
    tested = np.zeros(len(table), np.bool_) if table.split is None else is_test(table.split.tolist())
    rows = np.flatnonzero(table.labelled & ~tested)
    if not len(rows):
        raise LabelsError("no row has a label and is outside the test split, so there is nothing to add up")
    steps = [] if fourier is None else fourier.steps(table.spec.backbone.width)
    statistics = SufficientStatistics("classes")
    for span, X in FeatureRows(table).batches(rows):
        features: Any = X
        for _, step in steps:
            features = step.transform(features)
        statistics.update(features, labels[rows[span]])
    left_out = {"test split": int(tested.sum()), "no label": int((~table.labelled & ~tested).sum())}
    site = SiteStatistics(spec=table.spec, request=_without_places(request), fourier=fourier, statistics=statistics)
    return site, {reason: count for reason, count in left_out.items() if count}


def merged(sites: Sequence[tuple[str, SiteStatistics]]) -> SiteStatistics:
    """Add up the statistics of sites, given with their names; the order does not matter beyond rounding.

    Raises
    ------
    SpecMismatchError
        They are of features with other fingerprints, or behind other Fourier features.
    """
    (first, one), *others = sites
    total = one.statistics.copy()
    for name, other in others:
        found = differences(other.spec, one.spec)
        if found:
            raise SpecMismatchError(
                f"{name} holds statistics of other features than {first}: {describe_differences(found)}; extract with "
                "the same settings on every site (--engine, --precision, --resize, --dtype)",
                found,
            )
        if other.fourier != one.fourier:
            raise SpecMismatchError(
                f"{name} holds statistics of {_said(other.fourier)}, {first} of {_said(one.fourier)}; collect with the "
                "same --fourier and --gamma on every site",
                [("fourier", _said(other.fourier), _said(one.fourier))],
            )
        total.merge(other.statistics)
    return SiteStatistics(spec=one.spec, request=one.request, fourier=one.fourier, statistics=total)


def _without_places(request: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in request.items() if name not in ("device", "weights")}
    weights = request.get("weights", "pretrained")
    return {**kept, "weights": weights if weights in _HERE else ""}


def _said(fourier: FourierFeatures | None) -> str:
    if fourier is None:
        return "the features themselves"
    return f"{fourier.components} Fourier features with gamma {fourier.gamma:g} and seed {fourier.seed}"
