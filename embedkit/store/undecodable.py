"""Digests remembered as undecodable: small immutable JSON files beside the parts.

    {"format": 1, "fingerprint": "<64 hex>", "undecodable": {"<64 hex>": "<reason>", ...}}

Committed like a part, under a name that carries its length and SHA-256. Several may name the same digest; the first by
name counts.

Layer: above layout and checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedkit.errors import DamagedPartError, UnreadableFileError
from embedkit.files import DISK, Disk, Folder, commit_bytes, read_json
from embedkit.specs import FORMAT_VERSION, canonical_json
from embedkit.store.checked import damaged
from embedkit.store.digests import keys_of
from embedkit.store.layout import committed_name


def write_undecodable(folder: Folder, fingerprint: str, reasons: Mapping[bytes, str], disk: Disk = DISK) -> str:
    """Commit digests with the reasons why they cannot be decoded; return the name of the file.

    Raises
    ------
    StoreWriteError
        It could not be written; nothing is left of it.
    """
    record = {
        "format": FORMAT_VERSION,
        "fingerprint": fingerprint,
        "undecodable": {digest.hex(): reason for digest, reason in reasons.items()},
    }
    text = canonical_json(record).encode("ascii")
    return commit_bytes(
        folder,
        lambda length, sha256: committed_name("undecodable", length, sha256),
        [text],
        sealed=False,
        disk=disk,
    ).name


def read_undecodable(path: Path, fingerprint: str) -> dict[bytes, str]:
    """Read a file that was checked against its name.

    Raises
    ------
    FileNotFoundError
        It is gone.
    DamagedPartError
        It is no such file, or one of another fingerprint.
    """
    try:
        record = read_json(path, follow=False)
        if record["fingerprint"] != fingerprint:
            raise damaged(path, f"it is about the features {record['fingerprint']}")
        return {_digest(name): str(reason) for name, reason in record["undecodable"].items()}
    except (FileNotFoundError, DamagedPartError):
        raise
    except UnreadableFileError as error:
        raise damaged(path, str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path, f"it cannot be understood ({error})") from error


def merge_reasons(files: Iterable[Mapping[bytes, str]]) -> dict[bytes, str]:
    """Join several files, in the order of their names."""
    merged: dict[bytes, str] = {}
    for reasons in files:
        for digest, reason in reasons.items():
            merged.setdefault(digest, reason)
    return merged


def select_reasons(reasons: Mapping[bytes, str], digests: npt.NDArray[np.uint8]) -> dict[bytes, str]:
    """Return those of the remembered digests that are among some digests (m, 32)."""
    if not reasons:
        return {}
    # Few digests are remembered and many are asked for: compare the first bytes of all at once.
    remembered = np.frombuffer(b"".join(reasons), np.uint8).reshape(-1, 32)
    possible = digests[np.isin(_prefixes(digests), _prefixes(remembered))]
    asked = keys_of(possible)
    return {digest: reasons[digest] for digest in asked if digest in reasons}


def _digest(name: str) -> bytes:
    digest = bytes.fromhex(name)
    if len(digest) != 32:
        raise ValueError(f"{name!r} is no digest")
    return digest


def _prefixes(digests: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(digests[:, :8]).view(np.uint64)[:, 0]
