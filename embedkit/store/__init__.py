"""The store of immutable parts, the feature file and its table.

Layer: above errors and specs, beside images, preprocess, backbones and estimators, which it does not know. No torch,
timm, scikit-learn or Pillow.
"""

from embedkit.store.commit import commit_to
from embedkit.store.export import export
from embedkit.store.feature_file import FeatureFileInfo, info
from embedkit.store.feature_output import check_output, write_feature_file
from embedkit.store.feature_set import FeatureSet, Writer
from embedkit.store.feature_store import FeatureStore
from embedkit.store.head import Failure, TableHead
from embedkit.store.leases import Leases
from embedkit.store.memory import MemoryFeatureStore
from embedkit.store.table import FeatureTable

__all__ = [
    "Failure",
    "FeatureFileInfo",
    "FeatureSet",
    "FeatureStore",
    "FeatureTable",
    "Leases",
    "MemoryFeatureStore",
    "TableHead",
    "Writer",
    "check_output",
    "commit_to",
    "export",
    "info",
    "write_feature_file",
]
