"""Sources of images, their identity, and their way to RGB pixels.

Layer: above errors and specs, beside preprocess, backbones, store and estimators, which it does not know. No torch,
timm, h5py or scikit-learn.
"""

from embedkit.images.access import check_url, is_named, is_url, name_root
from embedkit.images.alteration import ALTERATIONS, altered
from embedkit.images.decoding import decode, to_rgb
from embedkit.images.identity import digest_bytes, digest_pixels
from embedkit.images.jpeg import scale_factor
from embedkit.images.labels import TargetOption
from embedkit.images.layout import LAYOUTS, Layout
from embedkit.images.limits import Limits
from embedkit.images.looks import Looks, looks_of
from embedkit.images.manifest import DELIMITERS
from embedkit.images.memo import StatMemo
from embedkit.images.memory import digests_of, rows_of
from embedkit.images.parquet import read_frame
from embedkit.images.reading import (
    ArchiveMember,
    EncodedRef,
    ImageRef,
    PixelRef,
    is_encoded,
    read_bytes,
    read_with_status,
)
from embedkit.images.remote import locate
from embedkit.images.source import Column, ImageSource, Labels
from embedkit.images.sources import open_source
from embedkit.images.summary import Contradiction, SourceSummary, contradictions, describe
from embedkit.images.thumbnails import SIDE, thumbnails_of

__all__ = [
    "ALTERATIONS",
    "altered",
    "SIDE",
    "ArchiveMember",
    "Column",
    "Contradiction",
    "DELIMITERS",
    "EncodedRef",
    "ImageRef",
    "ImageSource",
    "Labels",
    "Limits",
    "PixelRef",
    "LAYOUTS",
    "Layout",
    "Looks",
    "looks_of",
    "SourceSummary",
    "StatMemo",
    "check_url",
    "TargetOption",
    "contradictions",
    "decode",
    "describe",
    "digest_bytes",
    "digest_pixels",
    "digests_of",
    "is_encoded",
    "is_named",
    "is_url",
    "locate",
    "name_root",
    "open_source",
    "read_bytes",
    "read_frame",
    "read_with_status",
    "rows_of",
    "scale_factor",
    "thumbnails_of",
    "to_rgb",
]
