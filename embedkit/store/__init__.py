"""The store of immutable parts, the feature file and its table.

Layer: above errors and specs, beside images, preprocess, backbones and estimators, which it does not know. No torch,
timm, scikit-learn or Pillow.
"""
