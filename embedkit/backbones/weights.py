"""Weights: reading a file of them, and the digest that names a backbone's tensors.

Layer: backbones. Imports torch and safetensors.
"""

from __future__ import annotations

import hashlib
import pickle
import pickletools
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from embedkit.backbones.weights_file import SUFFIXES, check_weights_file
from embedkit.errors import WeightsError
from embedkit.files import inflated_limit

_safetensors: Any = safetensors.torch

WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Keys under which training scripts keep the state dict, in timm's order (``timm.models.load_state_dict``)."""

PREFIXES = ("module.", "_orig_mod.")
"""What DistributedDataParallel and torch.compile put before every key."""

_POINTER = b"version https://git-lfs.github.com/spec"


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a file, without running any code that is in it.

    Parameters
    ----------
    path : Path
        ``.safetensors``, or what ``torch.save`` wrote as ``.pth``, ``.pt`` or ``.bin``, possibly wrapped in a training
        script's dict, with or without the prefixes of DistributedDataParallel and torch.compile.

    Returns
    -------
    dict of str to Tensor
        On the CPU.

    Raises
    ------
    WeightsNotFoundError
        There is no such file.
    WeightsError
        The file is of another kind, cut short, a git-lfs pointer, holds objects besides tensors, or no tensors at all.
    """
    check_weights_file(path)
    if path.suffix not in SUFFIXES:
        raise WeightsError(f"weights {path} end in {path.suffix!r}, expected {', '.join(SUFFIXES)}")
    with path.open("rb") as file:
        start = file.read(len(_POINTER))
    if start == _POINTER:
        raise WeightsError(f"weights {path} are a git-lfs pointer, not the file itself: fetch it with `git lfs pull`")
    loaded = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    tensors = _unwrap(loaded)
    if not tensors:
        raise WeightsError(f"weights {path} hold no tensors, expected the state dict of a model")
    _check_becomes(path, sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()))
    return tensors


def backbone_digest(model: nn.Module) -> str:
    """Digest the tensors of a model whose classifier has been taken off.

    SHA-256 over the sorted names, each followed by its type, shape and little-endian bytes. ``num_batches_tracked``
    is left out: it counts training steps, touches no feature, and some files lack it.

    Returns
    -------
    str
        ``"sha256:<64 hexadecimal digits>"``.
    """
    digest = hashlib.sha256()
    state = cast(Mapping[str, Tensor], model.state_dict())
    for name in sorted(state):
        if name.endswith("num_batches_tracked"):
            continue
        tensor = state[name].detach().cpu().contiguous()
        kind = str(tensor.dtype).removeprefix("torch.")
        digest.update(f"{name}\0{kind}\0{','.join(map(str, tensor.shape))}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return f"sha256:{digest.hexdigest()}"


def count_classes(weights: Mapping[str, Tensor], classifiers: tuple[str, ...]) -> int | None:
    """Return the number of classes that a state dict's classifier has; None where it holds no classifier."""
    for classifier in classifiers:
        for parameter in ("weight", "bias"):
            tensor = weights.get(f"{classifier}.{parameter}")
            if tensor is not None:
                return int(tensor.shape[0])
    return None


def describe_misfit(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """Name the first keys that are missing, unexpected or of another shape; empty when every key fits."""
    missing = [name for name in expected if name not in weights and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in weights if name not in expected]
    misshaped = [
        f"{name} (is {tuple(weights[name].shape)}, expected {tuple(tensor.shape)})"
        for name, tensor in expected.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    kinds = (("missing", missing), ("unexpected", unexpected), ("of another shape", misshaped))
    return "; ".join(f"{kind}: {_first(names)}" for kind, names in kinds if names)


def _first(names: list[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _read_safetensors(path: Path) -> Any:
    try:
        return _safetensors.load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"weights {path} are no readable safetensors file, cut short or damaged: {error}") from error


def _check_becomes(path: Path, size: int) -> None:
    """Refuse a file that becomes much more than it is: weights are stored as they are, and seldom repeated."""
    stored = path.stat().st_size
    if size > inflated_limit(stored):
        raise WeightsError(f"weights {path} say that their {stored:,} bytes become {size:,}: they are made up")


def _check_declared(path: Path) -> None:
    """Look at what a file of torch says that it holds, before torch takes the memory."""
    try:
        with path.open("rb") as file:
            if file.read(4) == b"PK\x03\x04":
                with zipfile.ZipFile(path) as archive:
                    _check_becomes(path, sum(member.file_size for member in archive.infolist()))
            else:
                file.seek(0)
                _check_becomes(path, _largest_number(cast(BinaryIO, _Bounded(file, path.stat().st_size))))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError, EOFError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"weights {path} are no readable torch file, cut short or damaged: {error}") from error


class _Bounded:
    """A file that is not asked for more bytes than it has: memory for them is taken before they are read."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.readline, self.tell, self._file, self._size = file.readline, file.tell, file, size

    def read(self, count: int) -> bytes:
        if count > self._size:
            raise ValueError(f"{count:,} bytes are promised")
        return self._file.read(count)


def _largest_number(file: BinaryIO) -> int:
    """Return the largest number in a file of torch before 1.6: of elements, if it is large.

    Such a file is pickles behind one another: a magic number, a version, the types' sizes, the object, and the names of
    its storages, behind which these lie. Nothing is unpickled here.
    """
    largest = 0
    for number in range(5):
        for _, argument, _ in pickletools.genops(file):
            if number == 3 and isinstance(argument, int):
                largest = max(largest, argument)
    return largest


def _read_torch(path: Path) -> Any:
    _check_declared(path)
    # weights_only reads tensors and plain containers and refuses every other object; embedkit never falls back.
    try:
        return torch.load(path, map_location="cpu", weights_only=True)  # pyright: ignore[reportUnknownMemberType]
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(
            f"weights {path} hold more than tensors, or are damaged, and were not loaded ({reason}): "
            "save the state dict alone, best as .safetensors"
        ) from error
    except Exception as error:  # the unpickler raises anything over a damaged one
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"weights {path} are no readable torch file, cut short or damaged: {reason}") from error


def _unwrap(loaded: Any) -> dict[str, Tensor]:
    if not isinstance(loaded, Mapping):
        return {}
    content = cast(Mapping[str, Any], loaded)
    for wrapper in WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            return _unwrap(content[wrapper])
    return {_bare(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _bare(name: str) -> str:
    while name.startswith(PREFIXES):
        name = name.split(".", 1)[1]
    return name
