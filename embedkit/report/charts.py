"""Charts as SVG, drawn by hand: each has its numbers in words for those who do not see it.

Colours come from the style sheet (``--series-1``, ...), so that light, dark and paper each have their own.

Layer: report; above markup and outcomes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedkit.report.markup import tag, text
from embedkit.report.outcomes import reliability_bins

_SERIES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A value with its interval, on a line of its own.

    Attributes
    ----------
    name : str
    value : float
    interval : (float, float) or None
    muted : bool
        Drawn grey: a floor.
    said : str
        Value and interval, as a reader shall see them.
    """

    name: str
    value: float
    interval: tuple[float, float] | None
    muted: bool
    said: str


def intervals(marks: Sequence[Mark], *, title: str, share: bool) -> str:
    """Draw values with their intervals, one line each, from 0 to 1 where they are shares."""
    lows = [mark.interval[0] if mark.interval else mark.value for mark in marks]
    highs = [mark.interval[1] if mark.interval else mark.value for mark in marks]
    low, high = (0.0, 1.0) if share else _padded(min(lows), max(highs))
    names, width, row = 250, 760, 26
    height = row * len(marks) + 34

    def x(value: float) -> float:
        return names + (width - names - 90) * (value - low) / (high - low)

    drawn = [_grid_x(x, low, high, 8, height - 26, share)]
    for place, mark in enumerate(marks):
        y = 20.0 + row * place
        class_ = "mark muted" if mark.muted else "mark"
        bar = ""
        if mark.interval is not None:
            bar = tag("line", x1=x(mark.interval[0]), x2=x(mark.interval[1]), y1=y, y2=y, class_=class_)
        drawn.append(
            tag("text", text(mark.name, 34), x=float(names - 10), y=y + 4, class_="name")
            + bar
            + tag(
                "circle", tag("title", text(f"{mark.name}: {mark.said}")), cx=x(mark.value), cy=y, r=5.0, class_=class_
            )
            + tag("text", text(mark.said), x=x(max(mark.value, highs[place])) + 9, y=y + 4, class_="value")
        )
    return _figure(title, width + 60, height, drawn)


def curves(
    series: Sequence[tuple[str, Sequence[float], Sequence[float], Sequence[tuple[float, float] | None], bool]],
    *,
    title: str,
    across: str,
    share: bool,
    logarithmic: bool = True,
) -> str:
    """Draw values over sizes, with a band for each interval.

    Parameters
    ----------
    series : sequence of (name, sizes, values, intervals, muted)
    across : str
        What the sizes are.
    """
    sizes = [one for _, found, _, _, _ in series for one in found]
    ends = [end for _, _, values, found, _ in series for end in (*values, *(e for pair in found if pair for e in pair))]
    low, high = (0.0, 1.0) if share else _padded(min(ends), max(ends))
    width, height, left, right = 760, 340, 60, 190
    start, stop = (math.log(min(sizes)), math.log(max(sizes))) if logarithmic else (min(sizes), max(sizes))

    def x(size: float) -> float:
        place = math.log(size) if logarithmic else size
        return left + (width - left - right) * ((place - start) / (stop - start) if stop > start else 0.5)

    def y(value: float) -> float:
        return 14 + (height - 58) * (1 - (value - low) / (high - low))

    drawn = [_grid_y(y, low, high, left, width - right, share)]
    for size in _readable(sorted(set(sizes)), x):
        drawn.append(
            tag(
                "text",
                f"{size:g}" if size >= 1 else f"{size:.3g}",
                x=x(size),
                y=float(height - 26),
                class_="tick middle",
            )
        )
    drawn.append(tag("text", text(across), x=(left + width - right) / 2, y=float(height - 6), class_="tick middle"))
    heights = _apart([y(values[-1]) + 4 for _, _, values, _, _ in series])
    for place, (name, found, values, ranges, muted) in enumerate(series):
        class_ = "muted" if muted else f"series-{place % _SERIES + 1}"
        banded = [(size, pair) for size, pair in zip(found, ranges, strict=True) if pair is not None]
        if len(banded) > 1:
            above = [f"{x(size):.1f},{y(pair[1]):.1f}" for size, pair in banded]
            below = [f"{x(size):.1f},{y(pair[0]):.1f}" for size, pair in reversed(banded)]
            drawn.append(tag("polygon", points=" ".join(above + below), class_=f"band {class_}"))
        points = " ".join(f"{x(size):.1f},{y(value):.1f}" for size, value in zip(found, values, strict=True))
        drawn.append(tag("polyline", points=points, class_=f"line {class_}"))
        for size, value in zip(found, values, strict=True):
            said = f"{name}, {size:g}: {_said(value, share)}"
            drawn.append(
                tag("circle", tag("title", text(said)), cx=x(size), cy=y(value), r=3.5, class_=f"dot {class_}")
            )
        # Names stand in the margin: beside a series that ends early, one would lie on the lines of the others.
        margin = width - right + 9
        if x(found[-1]) + 9 < margin:
            ends = f"{x(found[-1]) + 5:.1f},{y(values[-1]):.1f} {margin - 3:.1f},{heights[place] - 4:.1f}"
            drawn.append(tag("polyline", points=ends, class_="leader"))
        drawn.append(tag("text", text(name, 26), x=float(margin), y=heights[place], class_=f"label {class_}"))
    return _figure(title, width, height, drawn)


def reliability(confidence: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], *, title: str) -> str:
    """Draw how often predictions are right, by how sure they were: ten bins of equally many images."""
    side, pad = 320, 46

    def at(value: float) -> float:
        return pad + (side - pad - 12) * value

    def up(value: float) -> float:
        return side - at(value)

    drawn = [tag("line", x1=at(0), y1=up(0), x2=at(1), y2=up(1), class_="diagonal")]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        drawn.append(tag("text", f"{100 * tick:.0f} %", x=at(tick), y=up(0) + 16, class_="tick middle"))
        drawn.append(tag("text", f"{100 * tick:.0f} %", x=at(0) - 6, y=up(tick) + 4, class_="tick end"))
    for one in reliability_bins(confidence, right):
        sure, share = one.sure, one.right
        said = f"{one.images} images, on average {100 * sure:.0f} % sure: {100 * share:.0f} % right"
        radius = 3.0 + 9.0 * math.sqrt(one.images / len(confidence))
        drawn.append(tag("line", x1=at(sure), x2=at(sure), y1=up(sure), y2=up(share), class_="gap"))
        drawn.append(tag("circle", tag("title", text(said)), cx=at(sure), cy=up(share), r=radius, class_="mark"))
    drawn.append(tag("text", "how sure", x=at(0.5), y=float(side - 2), class_="tick middle"))
    return _figure(title, side + 10, side, drawn, class_="narrow")


def scatter(
    points: Sequence[tuple[str, float, float, bool]], *, title: str, across: str, up: str, share: bool = True
) -> str:
    """Draw names at two values, the first on a logarithmic axis: (name, across, up, muted)."""
    width, height, left = 760, 320, 60
    starts = [math.log10(one) for _, one, _, _ in points]
    low, high = min(starts), max(starts)

    def x(value: float) -> float:
        return left + 20 + (width - left - 230) * ((math.log10(value) - low) / (high - low) if high > low else 0.5)

    def y(value: float) -> float:
        return 14 + (height - 58) * (1 - value)

    drawn = [_grid_y(y, 0.0, 1.0, left, width - 40, share)]
    for tick in sorted({min(points, key=lambda one: one[1])[1], max(points, key=lambda one: one[1])[1]}):
        drawn.append(tag("text", f"{tick:,.4g}", x=x(tick), y=float(height - 26), class_="tick middle"))
    drawn.append(tag("text", text(f"{across} (logarithmic)"), x=width / 2, y=float(height - 6), class_="tick middle"))
    drawn.append(tag("text", text(up), x=8.0, y=10.0, class_="tick"))
    for name, one, other, muted in points:
        said = f"{name}: {one:,.4g} {across}, {_said(other, share)}"
        class_ = "mark muted" if muted else "mark"
        drawn.append(tag("circle", tag("title", text(said)), cx=x(one), cy=y(other), r=5.0, class_=class_))
        drawn.append(tag("text", text(name, 30), x=x(one) + 9, y=y(other) + 4, class_="label"))
    return _figure(title, width, height, drawn)


def heat(counts: npt.NDArray[np.int64], names: Sequence[str], links: dict[tuple[int, int], str], *, title: str) -> str:
    """Draw a confusion matrix: rows are true classes, columns predicted ones; a cell with photos is a link to them."""
    n = len(names)
    cell = 30.0 if n <= 20 else max(6.0, 620.0 / n)
    left, top = (150.0, 110.0) if n <= 40 else (30.0, 30.0)
    rows = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, rows, out=np.zeros(counts.shape), where=rows > 0)
    drawn: list[str] = []
    if n <= 40:
        for place, name in enumerate(names):
            y, x = top + cell * (place + 0.5), left + cell * (place + 0.5)
            drawn.append(tag("text", text(name, 20), x=left - 6, y=y + 4, class_="tick end"))
            turned = f"translate({x:.1f} {top - 6:.1f}) rotate(-60)"
            drawn.append(tag("text", text(name, 20), transform=turned, class_="tick"))
    drawn.append(tag("rect", x=left, y=top, width=cell * n, height=cell * n, class_="frame"))
    for i, j in zip(*np.nonzero(counts), strict=True):
        said = f"{names[i]} taken for {names[j]}: {counts[i, j]} of {rows[i, 0]}"
        said = said if i != j else f"{names[i]} named right: {counts[i, j]} of {rows[i, 0]}"
        box = tag(
            "rect",
            tag("title", text(said)),
            x=left + cell * int(j) + 0.5,
            y=top + cell * int(i) + 0.5,
            width=cell - 1,
            height=cell - 1,
            class_="right" if i == j else "wrong",
            fill_opacity=0.15 + 0.85 * float(shares[i, j]),
        )
        if cell >= 18:
            strong = " strong" if shares[i, j] > 0.5 else ""
            x, y = left + cell * (int(j) + 0.5), top + cell * (int(i) + 0.5) + 4
            box += tag("text", str(int(counts[i, j])), x=x, y=y, class_=f"count{strong}")
        where = links.get((int(i), int(j)))
        drawn.append(box if where is None else tag("a", box, href=f"#{where}", aria_label=said))
    # The last names lean out over the right edge.
    beyond = 70 if n <= 40 else 10
    return _figure(title, int(left + cell * n + beyond), int(top + cell * n + 10), drawn, role="group")


def _readable(sizes: Sequence[float], x: Callable[[float], float], least: float = 52.0) -> list[float]:
    """Return the sizes whose numbers find room beside each other: the last one, and from it down what lies apart."""
    shown: list[float] = []
    for size in reversed(sizes):
        if not shown or x(shown[-1]) - x(size) >= least:
            shown.append(size)
    return shown


def _apart(heights: Sequence[float], least: float = 14.0) -> list[float]:
    """Move labels down until none lies on another."""
    moved = list(heights)
    order = sorted(range(len(moved)), key=lambda place: moved[place])
    for above, below in itertools.pairwise(order):
        moved[below] = max(moved[below], moved[above] + least)
    return moved


def _figure(title: str, width: int, height: int, drawn: Sequence[str], *, role: str = "img", class_: str = "") -> str:
    svg = tag(
        "svg",
        tag("title", text(title, 300)),
        *drawn,
        viewBox=f"0 0 {width} {height}",
        role=role,
        aria_label=title,
        style=f"max-width:{width}px",
    )
    return tag("figure", svg, tag("figcaption", text(title, 300)), class_=class_ or None)


def _grid_x(x: Callable[[float], float], low: float, high: float, top: float, bottom: float, share: bool) -> str:
    drawn = ""
    for tick in _ticks(low, high):
        drawn += tag("line", x1=x(tick), x2=x(tick), y1=top, y2=bottom, class_="grid")
        drawn += tag("text", _said(tick, share, digits=0), x=x(tick), y=bottom + 16, class_="tick middle")
    return drawn


def _grid_y(y: Callable[[float], float], low: float, high: float, left: float, right: float, share: bool) -> str:
    drawn = ""
    for tick in _ticks(low, high):
        drawn += tag("line", x1=float(left), x2=float(right), y1=y(tick), y2=y(tick), class_="grid")
        drawn += tag("text", _said(tick, share, digits=0), x=left - 6.0, y=y(tick) + 4, class_="tick end")
    return drawn


def _ticks(low: float, high: float) -> list[float]:
    step = 10.0 ** math.floor(math.log10((high - low) / 2))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 6)
    return [float(tick) for tick in np.arange(math.ceil(low / step) * step, high + step / 1e6, step)]


def _padded(low: float, high: float) -> tuple[float, float]:
    room = 0.05 * (high - low) or 0.5
    return low - room, high + room


def _said(value: float, share: bool, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f} %" if share else f"{value:.3g}"
