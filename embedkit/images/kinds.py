"""What a file is, by its first bytes and by its name.

Layer: the bottom of images. Standard library only.
"""

from __future__ import annotations

import re

HEAD_BYTES = 132
"""As many bytes of a file as `format_of` and `foreign_format` look at."""

IMAGE_EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
    *(".heic", ".heif", ".avif", ".jxl", ".jp2"),  # not decoded: each is a failure with its reason, never passed over
)
"""What a folder or an archive takes for an image by its name, in any case; a manifest may name any file."""

_DOCUMENTS = (
    ".txt .md .rst .csv .tsv .json .jsonl .xml .yaml .yml .html .htm .pdf .doc .docx .odt .xls .xlsx .log .ini .cfg "
    ".toml .py .ipynb .sh .js .css .lock .xmp .aae .lst .cls .label .labels"
)
_ARRAYS = (
    ".npy .npz .h5 .hdf5 .parquet .pq .feather .arrow .pkl .pt .pth .safetensors .onnx .mat .db .sqlite .lmdb .mdb"
)
_CONTAINERS = ".tar .zip .gz .tgz .bz2 .xz .zst .7z .rar .mp4 .avi .mov .mkv .webm .mp3 .wav .flac .m4a"
_UNFINISHED = ".part .partial .crdownload .download .filepart .tmp .bak .swp .orig"
# Images that are not read; those of cameras begin like TIFF.
_OTHER_IMAGES = (
    ".dng .nef .nrw .cr2 .cr3 .crw .arw .srf .sr2 .orf .rw2 .raf .pef .srw .3fr .iiq .dcm .tga .psd .exr .hdr .svg "
    ".ico .icns .xcf .eps .ai"
)
_NO_IMAGES = frozenset(" ".join((_DOCUMENTS, _ARRAYS, _CONTAINERS, _UNFINISHED, _OTHER_IMAGES)).split())
_SUFFIX = re.compile(r"\.[A-Za-z0-9_]{1,12}$")

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"BM", "BMP"),
    *((b"P%d" % kind, "PPM") for kind in range(1, 7)),
)
_FOREIGN = (
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"8BPS", "Photoshop"),
    (b"v/1\x01", "OpenEXR"),
    (b"IIRO", "a camera raw file"),
    (b"IIU\x00", "a camera raw file"),
    (b"FUJIFILMCCD-RAW", "a camera raw file"),
    (b"\x00\x00\x01\x00", "an icon"),
)
_DIB_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})


def format_of(head: bytes) -> str | None:
    """Return the format, as Pillow names it, that the first bytes of a file announce; None for none that is read."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    return next((kind for signature, kind in _SIGNATURES if head.startswith(signature)), None)


def foreign_format(head: bytes) -> str | None:
    """Return the name of a format of images that is known and not read; None for anything else."""
    if head[4:8] == b"ftyp":
        return "AVIF, HEIC or video"
    if head[128:132] == b"DICM":
        return "DICOM"
    return next((name for signature, name in _FOREIGN if head.startswith(signature)), None)


def begins_like_image(head: bytes) -> bool:
    """Say whether a file of unknown name is an image; two letters at its start (BMP, PNM) are not enough."""
    kind = format_of(head)
    if kind == "BMP":
        return int.from_bytes(head[14:18], "little") in _DIB_HEADERS
    if kind == "PPM":
        return head[2:3].isspace() and all(byte in b"0123456789 \t\r\n#" for byte in head[3:8])
    return kind is not None


def is_image_name(name: str) -> bool:
    """Say whether a file name is one that a folder or an archive takes for an image."""
    return not name.startswith(".") and name.lower().endswith(IMAGE_EXTENSIONS)


def suffix_of(name: str) -> str:
    """Return the ending of a file name, in lower case, for counting; ``no suffix`` or ``other`` where it is none."""
    match = _SUFFIX.search(name)
    if match:
        return match.group().lower()
    return "other" if "." in name else "no suffix"


def is_known_name(name: str) -> bool:
    """Say whether a file's name tells that it is no image, without a look into it."""
    return suffix_of(name) in _NO_IMAGES or name.endswith("~")
