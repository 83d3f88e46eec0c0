"""Few labels, new classes, unknown things: statistics that sites share, and what is to be labelled next.

Layer: above evaluation and estimators, beside probes. Never imports timm, Pillow or click.
"""

from embedkit.labelling.answers import read_answers
from embedkit.labelling.choosing import MOST_CANDIDATES, Choice, choose, in_few_directions
from embedkit.labelling.fourier import FourierFeatures
from embedkit.labelling.ridge_choice import chosen_alpha
from embedkit.labelling.site_statistics import SiteStatistics, collect, merged
from embedkit.labelling.statistics_file import read_statistics, write_statistics
from embedkit.labelling.stopping import Outlook, outlook

__all__ = [
    "Choice",
    "FourierFeatures",
    "MOST_CANDIDATES",
    "Outlook",
    "SiteStatistics",
    "choose",
    "chosen_alpha",
    "collect",
    "in_few_directions",
    "merged",
    "outlook",
    "read_answers",
    "read_statistics",
    "write_statistics",
]
