"""Results as one HTML page that needs nothing else: no network, no plotting library, no script to be read.

What it counts of the outcomes of rows is drawn by `embedkit.plot`, too.

Layer: above results and render, below workflows. Reads results and thumbnails only; never a table, an image or a model.
"""

from embedkit.report.document import page
from embedkit.report.outcomes import mistakes, reliability_bins, sureness

__all__ = ["mistakes", "page", "reliability_bins", "sureness"]
