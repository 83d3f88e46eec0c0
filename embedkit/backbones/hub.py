"""Files of the Hugging Face hub: in its cache, or fetched now.

A file that is in the cache is used as it is, without asking the hub: what was there yesterday works offline today.

Layer: backbones. Imports huggingface_hub, which timm brings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError
from huggingface_hub.utils import get_session

from embedkit.errors import WeightsNotFoundError

_hub: Any = huggingface_hub

TIMEOUT = 5.0
"""Seconds that the hub has to answer: a machine without a way out must fail at once, not after minutes of retries."""


def cached_hub_file(repository: str, filenames: Sequence[str]) -> Path | None:
    """Return the first of several files of a repository (``org/name``, ``org/name@revision``) that is in the cache."""
    name, revision = _split_revision(repository)
    for filename in filenames:
        found = try_to_load_from_cache(name, filename, revision=revision)
        if isinstance(found, str):
            return Path(found)
    return None


def hub_file(repository: str, filenames: Sequence[str]) -> Path:
    """Return the first of several files of a repository that there is, from the cache or fetched into it.

    Raises
    ------
    WeightsNotFoundError
        None is in the cache and none could be fetched.
    """
    cached = cached_hub_file(repository, filenames)
    if cached is not None:
        return cached
    name, revision = _split_revision(repository)
    try:
        _ask_hub()
    except Exception as error:  # of whichever HTTP library the installed huggingface_hub uses, or OfflineModeIsEnabled
        raise _not_found(name, filenames, error) from error
    failure: Exception | None = None
    for filename in filenames:
        try:
            return Path(_hub.hf_hub_download(name, filename, revision=revision, etag_timeout=TIMEOUT))
        except EntryNotFoundError as error:
            failure = error
        except (
            Exception
        ) as error:  # gated, private, moved, out of disk, cut off, ...: the next name would fare no better
            raise _not_found(name, filenames, error) from error
    assert failure is not None
    raise _not_found(name, filenames, failure) from failure


def hub_answers() -> bool:
    """Say whether there is a hub to fetch from; False where the user wants to be offline."""
    try:
        _ask_hub()
    except Exception:
        return False
    return not constants.HF_HUB_OFFLINE


def _ask_hub() -> None:
    """Ask once, without the retries that hf_hub_download makes, whether there is a hub at all."""
    get_session().head(constants.ENDPOINT, timeout=TIMEOUT)


def _not_found(name: str, filenames: Sequence[str], error: Exception) -> WeightsNotFoundError:
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    offline = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else first_line
    return WeightsNotFoundError(
        f"{name}/{filenames[0]} is neither in {constants.HF_HUB_CACHE} nor could it be fetched ({offline}): pass a "
        f"file with --weights FILE (weights=FILE), or run `hf download {name}` on a machine with a network and point "
        "HF_HUB_CACHE to a copy of its cache folder"
    )


def _split_revision(repository: str) -> tuple[str, str | None]:
    name, _, revision = repository.partition("@")
    return name, revision or None
