"""Plots of results with matplotlib, for notebooks and papers; a page draws its own.

Each function takes what `probe`, `compare`, `curve` or `fit` left behind, draws on Axes and returns them. Nothing is
fitted or computed again. Needs the extra ``plot``.

Layer: above report, whose counts it draws; imports matplotlib inside functions.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from embedkit.errors import MissingExtraError, UsageError
from embedkit.images import open_source, thumbnails_of
from embedkit.render import is_share, metric_title, percent
from embedkit.report import mistakes, reliability_bins, sureness
from embedkit.results import CurveReport, EmbeddingMap, FitResult, ProbeReport, ProbeResult, Rows
from embedkit.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["confusion", "contact_sheet", "curve", "embedding_map", "reliability"]

_MOST_NAMED = 40
"""Classes that have their names at an axis; more would lie on each other."""

_MOST_CHARACTERS = 28


def confusion(result: object, *, shares: bool = False, ax: Axes | None = None) -> Axes:
    """Draw a confusion matrix: a row for each true class, a column for each predicted one.

    Parameters
    ----------
    result : ProbeResult, FitResult or ProbeReport
        Of a report its recommended result, else its first.
    shares : bool
        Write the share of the true class instead of counts.
    ax : matplotlib.axes.Axes, optional
        By default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    UsageError
        The result keeps no rows, or they are not of one class each.
    MissingExtraError
        matplotlib is not installed.

    Examples
    --------
    >>> report = embedkit.probe("photos.h5")  # doctest: +SKIP
    >>> embedkit.plot.confusion(report).figure.savefig("confusion.png")  # doctest: +SKIP
    """
    one = _result_of(result)
    rows = _rows_of(one)
    counts = rows.confusion()
    totals = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(12.0, 2.5 + 0.35 * len(rows.classes))
    axes: Any = _axes(ax, (side + 0.8, side))
    axes.imshow(counts / totals, cmap="Blues", vmin=0, vmax=1)
    named = len(rows.classes) <= _MOST_NAMED
    ticks = [*range(len(rows.classes))] if named else []
    labels = [_literal(name) for name in rows.classes] if named else []
    axes.set_xticks(ticks, labels, rotation=90)
    axes.set_yticks(ticks, labels)
    if named:
        for true, predicted in zip(*np.nonzero(counts), strict=True):
            share = counts[true, predicted] / totals[true, 0]
            said = f"{100 * share:.0f}" if shares else str(counts[true, predicted])
            axes.text(
                predicted, true, said, ha="center", va="center", color="white" if share > 0.5 else "black", size=8
            )
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"{_literal(one.model)}, {one.estimator}: {int(np.trace(counts))} of {len(rows)} right")
    return axes


def curve(report: object, *, ax: Axes | None = None) -> Axes:
    """Draw how a metric grows with labels, with bands for the 95 % intervals; floors are grey.

    Parameters
    ----------
    report : CurveReport
        Of `curve`.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    UsageError
        The report holds no curve, or curves of two kinds of size.
    MissingExtraError
        matplotlib is not installed.
    """
    if not isinstance(report, CurveReport):
        raise UsageError(f"a {type(report).__name__} was given; expected what curve returned")
    kinds = {one.kind for one in report.curves}
    if len(kinds) != 1:
        raise UsageError(f"a plot takes curves over one kind of size, and the report has {', '.join(kinds) or 'none'}")
    axes: Any = _axes(ax, (6.4, 4.2))
    for one in report.curves:
        sizes = [point.size for point in one.points]
        label = f"{_literal(one.model)}, {one.estimator}"
        [line] = axes.plot(
            sizes, [point.mean for point in one.points], marker="o", label=label, color="0.6" if one.floor else None
        )
        banded = [(point.size, *point.interval) for point in one.points if point.interval is not None]
        if banded:
            at, low, high = zip(*banded, strict=True)
            axes.fill_between(at, low, high, alpha=0.15, color=line.get_color(), linewidth=0)
    axes.set_xscale("log")
    ticks = sorted({point.size for one in report.curves for point in one.points})
    axes.set_xticks(ticks, [f"{size:g}" for size in ticks])
    axes.minorticks_off()
    axes.set_xlabel("training images a class" if kinds == {"shots"} else "fraction of the training images")
    _metric_axis(axes, report.curves[0].metric)
    axes.legend(frameon=False)
    return axes


def embedding_map(
    result: ProbeReport | EmbeddingMap, *, model: str | None = None, most_labels: int = 10, ax: Axes | None = None
) -> Axes:
    """Draw features in two dimensions, coloured by label.

    Parameters
    ----------
    result : ProbeReport or EmbeddingMap
        A report has maps where a page was asked for (``--report``).
    model : str, optional
        Whose map, where a report has several.
    most_labels : int
        So many of the commonest labels have a colour of their own; the others are grey.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    UsageError
        There is no such map.
    MissingExtraError
        matplotlib is not installed.
    """
    maps = [result] if isinstance(result, EmbeddingMap) else result.maps
    found = [one for one in maps if model in (None, one.model)]
    if not found:
        raise UsageError(
            f"the report has no map{'' if model is None else f' of {model}'}; maps are made with a page (--report), "
            f"and there are {', '.join(one.model for one in maps) or 'none'}"
        )
    chosen = found[0]
    axes: Any = _axes(ax, (6.4, 5.2))
    labels = np.array(chosen.labels or [""] * len(chosen.keys))
    names, counts = np.unique(labels, return_counts=True)
    shown = [str(names[place]) for place in np.argsort(-counts, kind="stable")[:most_labels]]
    rest = ~np.isin(labels, shown)
    if rest.any():
        axes.scatter(*chosen.xy[rest].T, s=9, color="0.8", label=f"{len(names) - len(shown)} others")
    for name in shown:
        axes.scatter(*chosen.xy[labels == name].T, s=9, label=_literal(name))
    if chosen.labels:
        axes.legend(frameon=False, markerscale=2, bbox_to_anchor=(1, 1), loc="upper left")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(f"{_literal(chosen.model)}: {len(chosen.keys)} images by {chosen.method}")
    return axes


def reliability(result: object, *, ax: Axes | None = None) -> Axes:
    """Draw how often predictions are right against how sure they were, in bins of equally many images.

    Parameters
    ----------
    result : ProbeResult, FitResult or ProbeReport
        With probabilities.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    UsageError
        The result keeps no rows, or its scores are no probabilities.
    MissingExtraError
        matplotlib is not installed.
    """
    one = _result_of(result)
    rows = _rows_of(one)
    sure = sureness(rows) if rows.probabilities else None
    if sure is None:
        raise UsageError(f"the scores of {one.estimator} are no probabilities, so that nothing says how sure it is")
    bins = reliability_bins(sure, np.asarray(rows.y_true == rows.y_pred))
    axes: Any = _axes(ax, (4.6, 4.6))
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, linestyle="--")
    axes.scatter(
        [one.sure for one in bins], [one.right for one in bins], s=[8 + 400 * one.images / len(rows) for one in bins]
    )
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("how sure")
    axes.set_ylabel("how often right")
    axes.set_title(f"{_literal(one.model)}, {one.estimator}: {len(rows)} images")
    return axes


def contact_sheet(
    source: Any,
    keys: Sequence[str] | Rows,
    *,
    captions: Mapping[str, str] | None = None,
    columns: int = 6,
    most: int = 24,
    ax: Axes | None = None,
) -> Axes:
    """Show images side by side, with what is said of them.

    Parameters
    ----------
    source : path, or what `open_source` takes or returns
        Where the images are.
    keys : sequence of str, or Rows
        Of the images; of rows (``report.results[0].rows``) those that were named wrong, the surest first.
    captions : mapping of str to str, optional
        Key -> caption; by default the key, and of rows what each is and was named.
    columns, most : int
        Images in a line, and altogether.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    UsageError
        None of the keys is in the source.
    SourceError
        The source cannot be read.
    MissingExtraError
        matplotlib is not installed.
    """
    from PIL import Image

    if columns < 1 or most < 1:
        raise UsageError(f"columns={columns} and most={most}, expected at least 1 of each")
    if isinstance(keys, Rows):
        wrong = mistakes(keys)
        captions = {one.key: f"is {one.true}, named {one.predicted}" for one in wrong} | dict(captions or {})
        keys = [one.key for one in wrong]
    images = open_source(source)
    row_of = {key: row for row, key in enumerate(images.keys)}
    shown = [key for key in keys if key in row_of][:most]
    if not shown:
        raise UsageError(f"none of {len(keys)} keys is in {images.name}; its first is {images.keys[0]!r}")
    pictures = thumbnails_of((key, images.images[row_of[key]]) for key in shown)
    lines = math.ceil(len(shown) / columns)
    axes: Any = _axes(ax, (1.7 * columns, 2.0 * lines))
    for place, key in enumerate(shown):
        left, top = place % columns, lines - place // columns
        if key in pictures:
            picture = np.asarray(Image.open(io.BytesIO(pictures[key])).convert("RGB"))
            height, width = (side / max(picture.shape[:2]) * 0.8 for side in picture.shape[:2])
            axes.imshow(picture, extent=(left + 0.45 - width / 2, left + 0.45 + width / 2, top - height, top))
        said = _literal((captions or {}).get(key, key))
        axes.text(left + 0.45, top - 0.83, said, ha="center", va="top", size=6)
    axes.set_xlim(-0.05, columns)
    axes.set_ylim(-0.05, lines + 0.05)
    axes.set_aspect("equal")
    axes.set_axis_off()
    return axes


def _result_of(result: object) -> ProbeResult:
    if isinstance(result, FitResult):
        return result.result
    if not isinstance(result, ProbeReport | ProbeResult):
        raise UsageError(
            f"a {type(result).__name__} was given; expected what probe or fit returned, or one of its results"
        )
    if isinstance(result, ProbeReport):
        if not result.results:
            raise UsageError("the report holds no result")
        return result.results[result.recommended or 0]
    return result


def _rows_of(result: ProbeResult) -> Rows:
    if result.rows is None:
        raise UsageError("the result keeps no rows: save it whole (-o R.json), or take what probe returned")
    if result.rows.y_true.dtype.kind != "U":
        raise UsageError("the plot is of one class an image, and these labels are values or several an image")
    return result.rows


def _metric_axis(axes: Any, metric: str) -> None:
    axes.set_ylabel(metric_title(metric))
    if is_share(metric):
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(_percent_tick)


def _percent_tick(value: float, place: int | None) -> str:
    return percent(value).replace(".0 ", " ")


def _literal(said: str) -> str:
    """Shorten a name, in one line, and keep matplotlib from reading a dollar in it as the begin of a formula."""
    short = said if len(said) <= _MOST_CHARACTERS else f"{said[: _MOST_CHARACTERS - 1]}…"
    return printable(short).replace("$", r"\$")


def _axes(ax: Axes | None, size: tuple[float, float]) -> Any:
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise MissingExtraError("plots need matplotlib; pip install 'embedkit[plot]'") from error
    return cast(Any, plt).subplots(figsize=size, layout="constrained")[1]
