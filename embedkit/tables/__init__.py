"""The feature file, complete by itself, and the table that scikit-learn works on.

Layer: above hdf5, beside the store, which it does not know. No torch, timm, scikit-learn or Pillow.
"""

from embedkit.tables.export import export
from embedkit.tables.feature_file import FeatureFileInfo, info
from embedkit.tables.feature_output import check_output, write_feature_file
from embedkit.tables.head import Failure, TableHead
from embedkit.tables.table import FeatureTable
from embedkit.tables.virtual import open_virtual

__all__ = [
    "Failure",
    "FeatureFileInfo",
    "FeatureTable",
    "TableHead",
    "check_output",
    "export",
    "info",
    "open_virtual",
    "write_feature_file",
]
