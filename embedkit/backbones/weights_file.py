"""Whether a file of weights is there, known before torch is imported.

Layer: the bottom of backbones. Standard library only.
"""

from __future__ import annotations

from pathlib import Path

from embedkit.errors import WeightsNotFoundError

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


def check_weights_file(path: Path) -> None:
    """Raise WeightsNotFoundError unless there is a file at a path."""
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise WeightsNotFoundError(f"weights {path}: {what}, expected a {', '.join(SUFFIXES)} file")
