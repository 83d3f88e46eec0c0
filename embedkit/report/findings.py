"""The sections of a page that show images beside each other: what is near a query.

Layer: report; above markup and pictures.
"""

from __future__ import annotations

from embedkit.render import label_text
from embedkit.report.markup import section, tag, text
from embedkit.report.pictures import Thumbnails
from embedkit.results import SearchResult

_MOST_QUERIES = 200


def neighbours(found: SearchResult, thumbnails: Thumbnails) -> str:
    """Show each query, and the images that were found for it."""
    blocks: list[str] = []
    for one in found.results[:_MOST_QUERIES]:
        pictures = "".join(
            thumbnails.picture(hit.key, ", ".join(filter(None, (label_text(hit.label), f"{hit.cosine:.3f}"))))
            for hit in one.hits
        )
        blocks += [
            tag("h3", text(one.query)),
            tag("div", thumbnails.picture(one.query, "the query"), pictures, class_="photos"),
        ]
    more = len(found.results) - _MOST_QUERIES
    if more > 0:
        blocks.append(tag("p", f"{more} more queries are in the record.", class_="soft"))
    said = tag("p", f"Label and cosine of the features of {text(found.model)}.", class_="soft")
    return section("Nearest images", said, *blocks, id_="neighbours") if blocks else ""
