"""Thumbnails in a page: each is in it once, as an SVG symbol, and shown wherever its key is named.

A page has room for so many bytes of them; who asks first is served first.

Layer: report; above markup.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping

from embedkit.report.markup import tag, text

SIDE = 72
"""Pixels of the longer side at which thumbnails are shown."""


class Thumbnails:
    """The thumbnails of one page.

    Parameters
    ----------
    files : mapping of str to bytes
        Key -> JPEG.
    budget : int
        Most bytes that all of them may take in the page.
    """

    def __init__(self, files: Mapping[str, bytes], budget: int) -> None:
        self._files = files
        self._left = budget
        self._places: dict[str, int] = {}
        self._symbols: list[str] = []

    @property
    def shown(self) -> int:
        """How many are in the page."""
        return len(self._symbols)

    @property
    def available(self) -> int:
        """How many there are."""
        return len(self._files)

    def has(self, key: str) -> bool:
        """Say whether a key can be shown, and take the room for it."""
        if key in self._places:
            return True
        data = self._files.get(key)
        if data is None:
            return False
        encoded = base64.b64encode(data).decode("ascii")
        if len(encoded) + 120 > self._left:
            return False
        self._left -= len(encoded) + 120
        self._places[key] = len(self._symbols)
        self._symbols.append(
            f'<symbol id="t{len(self._symbols)}" viewBox="0 0 {SIDE} {SIDE}">'
            f'<image width="{SIDE}" height="{SIDE}" href="data:image/jpeg;base64,{encoded}"/></symbol>'
        )
        return True

    def place(self, key: str) -> int | None:
        """Give the number of a key's symbol, for scripts; None where it is not in the page."""
        return self._places.get(key)

    def picture(self, key: str, caption: str = "") -> str:
        """Show a key: its thumbnail where there is one, and its name."""
        said = text(caption or key)
        if not self.has(key):
            return tag(
                "span", tag("span", text(key), class_="key"), f"<br>{said}" if caption else "", class_="photo bare"
            )
        use = f'<svg class="thumb" role="img" aria-label="{text(key)}"><use href="#t{self._places[key]}"/></svg>'
        return f'<span class="photo" title="{text(key, 400)}">{use}<span class="caption">{said}</span></span>'

    def use(self, key: str) -> str:
        """Show a key's thumbnail inside another SVG; nothing where there is none."""
        return f'<use href="#t{self._places[key]}"/>' if self.has(key) else ""

    def symbols(self) -> str:
        """Return the definitions, to stand once in the page."""
        return f'<svg width="0" height="0" aria-hidden="true" class="symbols">{"".join(self._symbols)}</svg>'
