"""Few labels, new classes, unknown things: statistics that sites share, and what is to be labelled next.

Layer: above evaluation and estimators, beside probes. Never imports timm, Pillow or click.
"""

from embedkit.labelling.fourier import FourierFeatures
from embedkit.labelling.ridge_choice import chosen_alpha
from embedkit.labelling.site_statistics import SiteStatistics, collect, merged
from embedkit.labelling.statistics_file import read_statistics, write_statistics

__all__ = [
    "FourierFeatures",
    "SiteStatistics",
    "chosen_alpha",
    "collect",
    "merged",
    "read_statistics",
    "write_statistics",
]
