"""What a training keeps after each epoch, so that a run that was killed goes on to the same bits.

Layer: adaptation; torch.
"""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import torch

from embedkit.files import write_small

_log = logging.getLogger("embedkit")


def keep(path: Path, key: str, held: dict[str, Any]) -> None:
    """Write tensors and numbers, whole or not at all, under the name of all that decides the outcome."""
    buffer = io.BytesIO()
    torch.save({**held, "key": key}, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_small(path, buffer.getbuffer())


def held_in(path: Path | None, key: str) -> dict[str, Any] | None:
    """Read what a run of the same kept; None where there is none, or it is of another run or damaged."""
    if path is None or not path.exists():
        return None
    try:
        held: dict[str, Any] = torch.load(path, weights_only=True)  # pyright: ignore[reportUnknownMemberType]
        return held if held["key"] == key else None
    except Exception as error:  # the unpickler raises anything over a damaged file
        _log.warning("%s cannot be understood (%s): training begins anew", path, type(error).__name__)
        return None
