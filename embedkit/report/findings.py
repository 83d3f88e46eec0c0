"""The sections of a page that show images beside each other: what is near a query, and what an audit has found.

Layer: report; above markup and pictures.
"""

from __future__ import annotations

from embedkit.render import label_text, p_number, percent
from embedkit.report.markup import section, table, tag, text
from embedkit.report.pictures import Thumbnails
from embedkit.results import AuditResult, SearchResult

_MOST_QUERIES, _MOST_OF_A_KIND = 200, 300

TITLES = {
    "duplicate": "Duplicates",
    "near-duplicate": "Near-duplicates",
    "contradiction": "Contradictions",
    "label": "Suspected labels",
    "outlier": "Outliers",
    "blank": "Blank images",
    "dark": "Dark images",
    "tiny": "Tiny images",
    "aspect": "Odd shapes",
    "truncated": "Truncated images",
    "shortcut": "Shortcuts",
    "weak-group": "Weak groups",
    "imbalance": "Rare classes",
}
_OF_THE_DATA = ("shortcut", "weak-group", "imbalance")


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


def found_of_a_kind(record: AuditResult, kind: str, thumbnails: Thumbnails) -> str:
    """Show the findings of one kind, each image beside the one that it is like."""
    found = [one for one in record.findings if one.kind == kind]
    rows = [
        [
            text(one.key) if kind in _OF_THE_DATA else thumbnails.picture(one.key),
            thumbnails.picture(one.other_key) if one.other_key else "",
            f"{one.score:.3f}",
            text(one.evidence, 600),
        ]
        for one in found[:_MOST_OF_A_KIND]
    ]
    more = len(found) - len(rows)
    caption = f"{len(found)} found, worst first" + (f"; {more} more are in the record" if more > 0 else "")
    header = ["which" if kind in _OF_THE_DATA else "image", "other image", "score", "evidence"]
    return section(TITLES[kind], table(header, rows, caption=caption, numeric=(2,)), id_=f"found-{kind}")


def effects(record: AuditResult) -> str:
    """Show what the accuracy would be without some images."""
    rows = [
        [
            text(one.without, 300),
            str(one.removed),
            str(one.tested),
            percent(one.before),
            percent(one.after),
            "" if one.p_value is None else text(p_number(one.p_value)),
        ]
        for one in record.effects
    ]
    if not rows:
        return ""
    header = ["without", "images", "tested", "before", "after", "p (McNemar)"]
    return section(
        "What it would change",
        table(header, rows, caption="Accuracy of the probes", numeric=range(1, 6)),
        id_="effects",
    )


def self_check(record: AuditResult) -> str:
    """Show how many planted faults were found."""
    rows = [
        [text(kind), str(one.planted), str(one.found), percent(one.precision), percent(one.recall)]
        for kind, one in record.self_check.items()
    ]
    if not rows:
        return ""
    header = ["kind", "planted", "found", "precision", "recall"]
    return section("Self-check", table(header, rows, caption="Planted faults", numeric=range(1, 5)), id_="self-check")
