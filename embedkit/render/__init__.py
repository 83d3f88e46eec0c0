"""How results look to a reader: numbers, intervals, titles, sentences, tables of text.

Layer: above results, below workflows; never opens a table or fits.
"""

from embedkit.render.layout import fact_lines, printable, table_lines
from embedkit.render.leaderboards import as_csv, as_markdown
from embedkit.render.numbers import interval_text, is_share, metric_title, number_text, p_text, params_text, percent
from embedkit.render.records import as_text, remarks
from embedkit.render.sentences import sentence

__all__ = [
    "as_csv",
    "as_markdown",
    "as_text",
    "fact_lines",
    "interval_text",
    "is_share",
    "metric_title",
    "number_text",
    "p_text",
    "params_text",
    "percent",
    "printable",
    "remarks",
    "sentence",
    "table_lines",
]
