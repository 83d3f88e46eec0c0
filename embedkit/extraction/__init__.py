"""Extraction: what is missing in the store is loaded, run through the network and committed.

Layer: above images, preprocess, backbones and store, which do not know each other; below the embedder. Never imports
scikit-learn or click, never prints.
"""

from embedkit.extraction.defaults import default_store
from embedkit.extraction.kept import KeptBackbone
from embedkit.extraction.recall import image_digests, recall
from embedkit.extraction.report import Extraction, Progress, Tick
from embedkit.extraction.resolution import RequestMemo, Resolution, resolve, resolve_together
from embedkit.extraction.runner import run, run_many
from embedkit.results import Stages

__all__ = [
    "Extraction",
    "KeptBackbone",
    "Progress",
    "RequestMemo",
    "Resolution",
    "Stages",
    "Tick",
    "default_store",
    "image_digests",
    "recall",
    "resolve",
    "resolve_together",
    "run",
    "run_many",
]
