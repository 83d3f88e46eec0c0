"""A model's own weights: where timm's configuration says they are, and whether they are on this machine.

Layer: backbones. Imports torch's folder of downloads and, through `hub`, huggingface_hub.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch.hub

from embedkit.backbones.bundled import PACKAGES, WeightsPackage
from embedkit.backbones.hub import cached_hub_file, hub_file
from embedkit.errors import WeightsError, WeightsNotFoundError

if TYPE_CHECKING:
    from embedkit.backbones.models import KnownModel

FILENAMES = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")
"""The names under which timm and transformers keep weights in a repository or folder, the preferred one first."""


def pretrained_file(model: KnownModel) -> Path:
    """Return the file of a model's own weights, fetching it when it is not here yet.

    Raises
    ------
    WeightsNotFoundError
        It is not here and could not be fetched.
    WeightsError
        timm has no pretrained weights of this model.
    """
    config = model.config
    if config.get("hf_hub_id"):
        return hub_file(str(config["hf_hub_id"]), _filenames(model))
    if config.get("source") == "local-dir":
        found = _in_folder(Path(config["file"]))
        if found is None:
            raise WeightsNotFoundError(f"no weights in {config['file']}, expected one of {', '.join(FILENAMES)}")
        return found
    if config.get("url"):
        return _downloaded(str(config["url"])) or _download(str(config["url"]))
    others = f"; these tags have them: {', '.join(model.trained_tags)}" if model.trained_tags else ""
    raise WeightsError(
        f"timm has no pretrained weights of {model.name}{others}: give a file of weights, or weights='random'"
    )


def pretrained_file_at_hand(model: KnownModel) -> Path | None:
    """Return the file of a model's own weights if it is on this machine; asks no network."""
    package = package_of(model)
    path = None if package is None else package.path()
    if path is not None:
        return path
    config = model.config
    if config.get("hf_hub_id"):
        return cached_hub_file(str(config["hf_hub_id"]), _filenames(model))
    if config.get("source") == "local-dir":
        return _in_folder(Path(config["file"]))
    return _downloaded(str(config["url"])) if config.get("url") else None


def package_of(model: KnownModel) -> WeightsPackage | None:
    """Return the package that may hold a model's weights; a repository or folder that is named goes by its own."""
    return None if ":" in model.name else PACKAGES.get(model.architecture)


def _filenames(model: KnownModel) -> tuple[str, ...]:
    """Put the .safetensors twin of a pickled file before it, as timm does (``_get_safe_alternatives``)."""
    named = model.config.get("hf_hub_filename")
    if not named:
        return FILENAMES
    filename = str(named)
    if filename.endswith("pytorch_model.bin"):
        return filename.replace("pytorch_model.bin", "model.safetensors"), filename
    return (filename,)


def _in_folder(folder: Path) -> Path | None:
    return next((folder / name for name in FILENAMES if (folder / name).is_file()), None)


def _downloaded(url: str) -> Path | None:
    path = _download_folder() / url.rsplit("/", 1)[-1]
    return path if path.is_file() else None


def _download(url: str) -> Path:
    folder = _download_folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / url.rsplit("/", 1)[-1]
    try:
        cast(Any, torch.hub).download_url_to_file(url, str(path), progress=False)
    except OSError as error:
        raise WeightsNotFoundError(
            f"{url} is neither in {folder} nor could it be fetched ({error}): pass a file with "
            "--weights FILE (weights=FILE), or put the file into that folder"
        ) from error
    return path


def _download_folder() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"
