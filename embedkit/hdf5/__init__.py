"""What the store and the tables share: HDF5 files made in memory and read as if a stranger made them.

Layer: above specs and errors, below store and tables. h5py and numpy only.
"""

from embedkit.hdf5.building import ArrayType, Head, build_head, build_image, put_array, put_json, put_text, stored_type
from embedkit.hdf5.text import check_text
from embedkit.hdf5.untrusted import Extent, UntrustedFile, open_untrusted

__all__ = [
    "ArrayType",
    "Extent",
    "Head",
    "UntrustedFile",
    "build_head",
    "build_image",
    "check_text",
    "open_untrusted",
    "put_array",
    "put_json",
    "put_text",
    "stored_type",
]
