"""How results look to a reader: numbers, intervals, titles, sentences, tables of text.

Layer: above results, below workflows; never opens a table or fits.
"""

from embedkit.render.labelling import advice
from embedkit.render.layout import fact_lines, table_lines
from embedkit.render.leaderboards import as_csv, as_markdown, pairs_as_csv
from embedkit.render.numbers import (
    chosen_text,
    duration,
    features_text,
    interval_text,
    is_share,
    label_text,
    metric_title,
    number_text,
    p_number,
    p_text,
    params_text,
    percent,
    rank_text,
    value_text,
)
from embedkit.render.records import as_text, remarks
from embedkit.render.selections import SCORE_NAMES, scores_explained, top3_text
from embedkit.render.sentences import sentence
from embedkit.render.students import card_of
from embedkit.text import printable

__all__ = [
    "SCORE_NAMES",
    "advice",
    "as_csv",
    "as_markdown",
    "as_text",
    "card_of",
    "chosen_text",
    "duration",
    "fact_lines",
    "features_text",
    "interval_text",
    "is_share",
    "label_text",
    "metric_title",
    "number_text",
    "p_number",
    "p_text",
    "pairs_as_csv",
    "params_text",
    "percent",
    "printable",
    "rank_text",
    "remarks",
    "scores_explained",
    "sentence",
    "table_lines",
    "top3_text",
    "value_text",
]
