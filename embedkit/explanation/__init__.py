"""Where a prediction comes from: which places of the image, and which training images.

Layer: above deployment's reading of fitted steps and the backbones; below workflows. No click, no printing.
"""

from embedkit.explanation.deletion import deletion_curve
from embedkit.explanation.heads import Head, head_of
from embedkit.explanation.occlusion import occlusion_map
from embedkit.explanation.training import training_contributions

__all__ = ["Head", "deletion_curve", "head_of", "occlusion_map", "training_contributions"]
