"""Results as one HTML page that needs nothing else: no network, no plotting library, no script to be read.

Layer: above results and render, below workflows. Reads results and thumbnails only; never a table, an image or a model.
"""

from embedkit.report.document import page

__all__ = ["page"]
