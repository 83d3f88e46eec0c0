"""stats: the sums over a target's rows that ridge and discriminant analysis need, as a file to share.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

from embedkit.backbones import FeatureRequest, as_requests
from embedkit.errors import OutputExistsError, UsageError
from embedkit.extraction import Progress
from embedkit.labelling import FourierFeatures, collect, write_statistics
from embedkit.results import Skipped, StatisticsResult
from embedkit.workflows.origins import data_name, origin_of
from embedkit.workflows.reading import summary_of
from embedkit.workflows.targets import open_store, open_target, tables_of


def stats(
    target: Any,
    model: str | FeatureRequest | None = None,
    *,
    output: str | os.PathLike[str],
    fourier: int | None = None,
    gamma: float = 2.0,
    seed: int = 0,
    label_column: str | None = None,
    force: bool = False,
    store: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> StatisticsResult:
    """Write the statistics of a target's labelled rows, which add up with those of other sites (`fit_statistics`).

    The file holds the number and the mean of each class, and one covariance: no image, no key, no row of features. Of a
    class of one image the mean is that image's features (docs/incremental.md).

    Parameters
    ----------
    target : path, or sequence of images
        A feature file, or a source of images. Its test split is left out.
    model : str or FeatureRequest, optional
        For a source of images, by default the bundled backbone; not allowed for a feature file.
    output : path
        The file to write (``.stats``).
    fourier : int, optional
        Go through so many random Fourier features of rows scaled to length one: a kernel. Every site gives the same
        three numbers.
    gamma : float
        Of the kernel ``exp(-gamma |x - z|^2)``.
    seed : int
        Of the random features.
    label_column, store, progress
        As in `probe`.
    force : bool
        Replace an existing file.

    Returns
    -------
    StatisticsResult

    Raises
    ------
    OutputExistsError
        The output is there, and `force` was not given.
    LabelsError
        The labels are no classes, or no row has one.
    """
    output = Path(output)
    if output.suffix.lower() != ".stats":
        raise UsageError(f"{output} is no name of a file of statistics; let it end in .stats")
    if os.path.lexists(output) and not force:
        raise OutputExistsError(f"{output} exists; name another file, or use --force (force=True) to replace it")
    map_of = None if fourier is None else FourierFeatures(components=fourier, gamma=gamma, seed=seed)
    opened = open_target(target, label_column=label_column)
    [named] = tables_of(opened, as_requests(model), open_store(store), progress=progress).named
    site, left_out = collect(named.table, map_of)
    write_statistics(site, output)
    known = site.statistics
    labels = dict(zip(known.classes.tolist(), cast(list[int], known.class_n.astype(int).tolist()), strict=True))
    single = sorted(name for name, count in labels.items() if count == 1)
    notes: list[str] = []
    if single:
        few = f"{len(single)} classes have one image each" if len(single) > 1 else "a class has one image"
        notes.append(f"{few}, such as {single[0]}: the mean in the file is the features of that image")
    return StatisticsResult(
        output=str(output),
        model=named.name,
        fingerprint=named.table.spec.fingerprint,
        width=site.width,
        rows=int(known.n),
        labels=labels,
        left_out=left_out,
        fourier=None if map_of is None else f"{map_of.components}, gamma {map_of.gamma:g}, seed {map_of.seed}",
        notes=notes,
        skipped=[Skipped(failure.key, failure.reason) for failure in named.table.failures],
        read=[summary_of(opened).line()],
        origin=origin_of(
            "stats",
            {
                "target": target,
                "model": model,
                "output": output,
                "fourier": fourier,
                "gamma": None if fourier is None else gamma,
                "seed": None if fourier is None else seed,
                "label_column": label_column,
            },
            {data_name(named): [named]},
        ),
    )
