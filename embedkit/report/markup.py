"""HTML written by hand: every text that comes from outside is escaped, made visible and held to a length here.

Layer: report; its bottom. Standard library only.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Sequence

MOST_CHARACTERS = 120
"""Of a name; a longer one is shown by its beginning and end."""


def text(value: object, most: int = MOST_CHARACTERS) -> str:
    """Escape a text for an element or an attribute in double quotes.

    Control characters and marks that turn the direction of writing are shown as code points: a file name must not be
    able to dress up as another one.
    """
    written = str(value)
    if len(written) > most:
        half = (most - 1) // 2
        written = f"{written[:half]}…{written[-half:]}"
    shown = "".join(one if unicodedata.category(one) not in _INVISIBLE else f"\\u{ord(one):04x}" for one in written)
    return html.escape(shown, quote=True)


def tag(name: str, *inside: str, **attributes: str | float | None) -> str:
    """Write an element around markup; attributes are escaped, those that are None left out.

    A trailing underscore is dropped (``class_``), other underscores become hyphens (``aria_label``).
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(key, value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{''.join(inside)}</{name}>"


def section(title: str, *inside: str, id_: str | None = None) -> str:
    """Write a section with its heading; nothing where there is nothing inside."""
    body = "".join(inside)
    return tag("section", tag("h2", text(title)), body, id=id_) if body else ""


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str, numeric: Sequence[int] = (), class_: str = ""
) -> str:
    """Write a table whose columns can be sorted where scripts run. Cells are markup, already escaped."""
    head = "".join(
        tag("th", text(name), scope="col", class_="number" if place in numeric else None)
        for place, name in enumerate(header)
    )
    body = "".join(
        tag(
            "tr",
            *(
                tag("th", cell, scope="row")
                if place == 0
                else tag("td", cell, class_="number" if place in numeric else None)
                for place, cell in enumerate(row)
            ),
        )
        for row in rows
    )
    return tag(
        "div",
        tag(
            "table",
            tag("caption", text(caption, 400)),
            tag("thead", tag("tr", head)),
            tag("tbody", body),
            class_=class_,
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=caption,
    )


def lines(items: Iterable[str]) -> str:
    """Write texts as a list; nothing where there are none."""
    written = "".join(tag("li", text(item, 600)) for item in items)
    return tag("ul", written) if written else ""


def details(summary: str, *inside: str) -> str:
    """Write what is folded away at first."""
    return tag("details", tag("summary", text(summary)), *inside)


def _attribute(name: str, value: str | float) -> str:
    if isinstance(value, float):
        return _number(value)
    return text(value, 300) if name in ("aria_label", "title") else html.escape(str(value), quote=True)


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


# Control, format (direction marks, zero widths), surrogates, private use, unassigned, line and paragraph separators.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
