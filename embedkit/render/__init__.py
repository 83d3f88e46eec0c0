"""How results look to a reader: numbers, intervals, titles, tables of text.

Layer: above results, below workflows; never opens a table or fits.
"""

from embedkit.render.leaderboards import as_csv, as_markdown, as_text
from embedkit.render.sentences import sentence

__all__ = ["as_csv", "as_markdown", "as_text", "sentence"]
