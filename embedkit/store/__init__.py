"""The store of immutable parts: digest -> feature, nothing else.

Layer: above hdf5, beside tables, images, preprocess, backbones and estimators, which it does not know. No torch, timm,
scikit-learn or Pillow.
"""

from embedkit.store.digests import Digests, Mask
from embedkit.store.feature_store import FeatureStore
from embedkit.store.leases import Leases
from embedkit.store.stored import FeatureSet
from embedkit.store.writer import Writer

__all__ = ["Digests", "FeatureSet", "FeatureStore", "Leases", "Mask", "Writer"]
