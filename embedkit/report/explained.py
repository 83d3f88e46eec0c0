"""Explanations on a page: the map over the photo, its checks, and the training photos that speak for and against it.

Layer: report; above charts, markup and pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from embedkit.report import charts
from embedkit.report.markup import section, table, tag, text
from embedkit.report.pictures import SIDE, Thumbnails
from embedkit.results import Explanation, Influence

_LEAST = 0.08
"""Share of the largest contribution below which a place is left clear."""


def explained(explanations: Sequence[Explanation], thumbnails: Thumbnails) -> str:
    """Show each image with its map."""
    return "".join(_of_image(one, place, thumbnails) for place, one in enumerate(explanations, start=1))


def _of_image(one: Explanation, place: int, thumbnails: Thumbnails) -> str:
    said = f"{one.image}: {one.score} {one.logit:.4g}" + (f" for {one.class_}" if one.class_ else "")
    if one.class_ not in ("", one.predicted):
        said += f" (predicted: {one.predicted})"
    by = (
        f"The {one.score} is the sum over the places plus {one.bias:+.4g}, which is the same for all images."
        if one.bias is not None
        else f"Places are covered one after the other; what the {one.score} loses is shown."
    )
    blocks = [
        tag("p", text(said)),
        tag("p", text(f"{by} Red places speak for it, blue ones against it.", 400)),
        tag("div", _overlay(one, thumbnails), thumbnails.picture(one.image), class_="photos"),
    ]
    if one.deletion is not None:
        deletion = one.deletion
        none = [None] * len(deletion.fractions)
        series = [
            ("by this map", deletion.fractions, deletion.by_map, none, False),
            ("at random", deletion.fractions, deletion.at_random, none, True),
        ]
        title = f"{one.score} as more of the image is covered: a map that finds what matters falls faster"
        blocks.append(charts.curves(series, title=title, across="share covered", share=False, logarithmic=False))
    if one.random_weights is not None:
        likeness = (
            f"The map of the same network with random weights correlates by {one.random_weights:.2f} (Spearman) with "
            "this one; near 1 it would show the image and not what the network has learned."
        )
        blocks.append(tag("p", text(likeness, 400)))
    if one.nearest:
        shown = [thumbnails.picture(near.other_key, f"{near.label}, cosine {near.cosine:.2f}") for near in one.nearest]
        blocks += [tag("h3", "Nearest training photos of the class"), tag("div", *shown, class_="photos")]
    for title, found in (
        ("Training photos that say most for it", [of for of in one.influence if of.contribution > 0]),
        ("Training photos that say most against it", [of for of in reversed(one.influence) if of.contribution < 0]),
    ):
        if found:
            blocks += [tag("h3", title), _influences(found, thumbnails)]
    rows = [[str(row + 1), *(f"{value:.3g}" for value in values)] for row, values in enumerate(one.contributions)]
    header = ["row", *(str(column + 1) for column in range(one.contributions.shape[1]))]
    numbers = table(header, rows, caption="What each place adds", numeric=range(len(header)))
    blocks.append(tag("details", tag("summary", "The numbers of the map"), numbers))
    return section(f"Why {one.class_ or one.predicted}?", *blocks, id_=f"explained-{place}")


def _influences(found: Sequence[Influence], thumbnails: Thumbnails) -> str:
    shown = [thumbnails.picture(of.key, f"{of.label}, {of.contribution:+.3g}") for of in found]
    return tag("div", *shown, class_="photos")


def _overlay(one: Explanation, thumbnails: Thumbnails) -> str:
    """Lay coloured places over the photo, where the network's crop is on it."""
    height, width = one.size
    scale = SIDE / max(height, width)
    left, top = (SIDE - width * scale) / 2, (SIDE - height * scale) / 2
    rows, columns = one.contributions.shape
    x0, y0, x1, y1 = one.box
    across, down = (x1 - x0) * width * scale / columns, (y1 - y0) * height * scale / rows
    most = float(np.abs(one.contributions).max()) or 1.0
    places: list[str] = []
    for (row, column), value in np.ndenumerate(one.contributions):
        share = float(value) / most
        if abs(share) < _LEAST:
            continue
        places.append(
            tag(
                "rect",
                tag("title", text(f"row {row + 1}, column {column + 1}: {value:+.3g}")),
                x=left + x0 * width * scale + column * across,
                y=top + y0 * height * scale + row * down,
                width=across,
                height=down,
                class_="for" if share > 0 else "against",
                fill_opacity=f"{0.6 * abs(share):.2f}",
            )
        )
    photo = thumbnails.use(one.image)
    title = f"map of {one.image}: {len(places)} of {rows * columns} places speak clearly for it or against it"
    return tag(
        "svg", tag("title", text(title)), photo, *places, viewBox=f"0 0 {SIDE} {SIDE}", role="img", class_="overlay"
    )
