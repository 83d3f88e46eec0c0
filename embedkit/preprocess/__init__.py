"""RGB pixels become what the network eats: resized and cropped as timm's own transform does it, still uint8.

Normalisation is left to the device that runs the network (`embedkit.backbones`).

Layer: beside images, backbones and store, which it does not know. Imports numpy and Pillow; torch inside `fast` only.
"""

from __future__ import annotations

from embedkit.preprocess.geometry import shown_box
from embedkit.preprocess.preprocessor import Preprocessor

__all__ = ["Preprocessor", "shown_box"]
