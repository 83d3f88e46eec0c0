"""fit, of the statistics of several sites: the model that all their rows together would give.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from embedkit.embedder import ImageEmbedder
from embedkit.errors import OutputExistsError, StatisticsFileError, UsageError
from embedkit.estimators import StreamingLDA, StreamingRidgeClassifier, SufficientStatistics, standardised
from embedkit.labelling import SiteStatistics, chosen_alpha, merged, read_statistics
from embedkit.persistence import save_model
from embedkit.results import Site, StatisticsFit
from embedkit.workflows.origins import origin_of

_SHRINKAGE = 0.1


def fit_statistics(
    files: Sequence[str | os.PathLike[str]],
    *,
    output: str | os.PathLike[str],
    estimator: Literal["ridge", "lda"] = "ridge",
    alpha: float | None = None,
    shrinkage: float | None = None,
    weights: str | os.PathLike[str] | None = None,
    force: bool = False,
) -> StatisticsFit:
    """Fit a model file on statistics of one site or several; no image or row is needed.

    The result is the one of a fit on all rows together, in whatever order the sites are named.

    Parameters
    ----------
    files : sequence of path
        What `stats` wrote, of one fingerprint.
    output : path
        The model file to write (``.skops``).
    estimator : {"ridge", "lda"}
        On standardised features.
    alpha : float, optional
        Penalty of ridge; by default chosen by generalised cross-validation, which needs the statistics alone.
    shrinkage : float, optional
        Of the covariance of lda, 0 to 1; by default 0.1.
    weights : path, optional
        Where the backbone's weights are here, if the sites took them from a file.
    force : bool
        Replace an existing model file.

    Returns
    -------
    StatisticsFit

    Raises
    ------
    StatisticsFileError
        A file cannot be read, or is named twice.
    SpecMismatchError
        The statistics are of different features.
    OutputExistsError
        The output is there, and `force` was not given.
    """
    output, paths = Path(output), [Path(file) for file in files]
    if estimator not in ("ridge", "lda"):
        raise UsageError(f"estimator {estimator!r} cannot be fitted on statistics; ridge and lda can")
    if estimator == "ridge" and shrinkage is not None or estimator == "lda" and alpha is not None:
        raise UsageError("alpha is a parameter of ridge, shrinkage one of lda")
    if alpha is not None and not 0 < alpha < float("inf"):
        raise UsageError(f"alpha={alpha}, expected a positive number")
    if output.suffix.lower() != ".skops":
        raise UsageError(f"{output} is no name of a model file; let it end in .skops")
    if os.path.lexists(output) and not force:
        raise OutputExistsError(f"{output} exists; name another file, or use --force (force=True) to replace it")
    if not paths:
        raise UsageError("no statistics are named; `embedkit stats TARGET -o site.stats` writes some")
    sites = [(str(path), read_statistics(path)) for path in paths]
    _require_different(sites)
    total = merged(sites)
    steps = [] if total.fourier is None else total.fourier.steps(total.spec.backbone.width)
    scaled, known = standardised(total.statistics)
    fitted, params, selected_on = _fitted(known, estimator, alpha, shrinkage)
    steps = [("embed", _embedder(total, weights)), *steps, *scaled, (estimator, fitted)]
    from sklearn.pipeline import Pipeline

    pipeline = Pipeline(steps)
    save_model(pipeline, output)
    return StatisticsFit(
        output=str(output),
        steps=[type(step).__name__ for _, step in steps],
        classes=known.classes.tolist(),
        rows=int(known.n),
        sites=[Site(name, int(one.statistics.n), len(one.statistics.classes)) for name, one in sites],
        fingerprint=total.spec.fingerprint,
        params=params,
        selected_on=selected_on,
        pipeline=pipeline,
        notes=[
            "all statistics are of one fingerprint and were added up; that no image is in two of them cannot be known "
            "from sums"
        ]
        if len(sites) > 1
        else [],
        origin=origin_of(
            "fit",
            {
                "statistics": [str(path) for path in paths],
                "estimator": estimator,
                "alpha": alpha,
                "shrinkage": shrinkage,
                "output": output,
            },
            fingerprints={"statistics": total.spec.fingerprint},
        ),
    )


def _fitted(
    known: SufficientStatistics, estimator: str, alpha: float | None, shrinkage: float | None
) -> tuple[Any, dict[str, float], str]:
    if estimator == "lda":
        share = _SHRINKAGE if shrinkage is None else shrinkage
        chosen_by = "nothing: it was given" if shrinkage is not None else "nothing: a fixed default"
        return StreamingLDA(shrinkage=share).fit_statistics(known), {"shrinkage": share}, chosen_by
    chosen = chosen_alpha(known)[0] if alpha is None else alpha
    chosen_by = "nothing: it was given" if alpha is not None else "the statistics, by generalised cross-validation"
    return StreamingRidgeClassifier(chosen).fit_statistics(known), {"alpha": chosen}, chosen_by


def _embedder(site: SiteStatistics, weights: str | os.PathLike[str] | None) -> ImageEmbedder:
    if weights is None and not site.request.get("weights") and site.spec.backbone.weights != "none":
        raise UsageError(
            "the sites took the backbone's weights from a file, and statistics name no places; name yours by --weights "
            "(weights=...)"
        )
    request = {**site.request, "weights": site.request.get("weights") or "pretrained"}
    return ImageEmbedder.from_spec(site.spec, request, weights=weights)


def _require_different(sites: Sequence[tuple[str, SiteStatistics]]) -> None:
    for place, (name, one) in enumerate(sites):
        for other_name, other in sites[:place]:
            known, theirs = one.statistics.to_arrays(), other.statistics.to_arrays()
            if all(known[part].tobytes() == theirs[part].tobytes() for part in ("class_n", "class_means", "scatter")):
                raise StatisticsFileError(
                    f"{name} holds the same statistics as {other_name}, and rows must count once; name each site once"
                )
