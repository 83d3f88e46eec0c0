"""A student: a small network whose features, through a projection, are to say what the teacher's features say.

The projection is part of the lesson alone: what is written afterwards is the network.

Layer: adaptation. Imports torch; loaded when something is distilled.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from embedkit.adaptation.least_squares import regression
from embedkit.adaptation.narrowing import check_wider, narrow
from embedkit.backbones import FeatureRequest, build_model, quiet_timm
from embedkit.errors import AdaptationError
from embedkit.files import commit_to

_PROJECTION_RIDGE = 0.1
"""Of the mean variance: there are about as many images as features."""

Pixels = npt.NDArray[np.uint8]


class Student(nn.Module):
    """A network with a projection to the teacher's features and, for a task, a linear classifier beside it.

    Parameters
    ----------
    network : nn.Module
        From normalised images (n, 3, height, width) to features (n, width).
    width : int
        Of the network's features.
    mean, std : sequence of three floats
        Normalisation of RGB pixels scaled to [0, 1].
    outputs : int
        Width of the teacher's features.
    classes : int
        Of the task; 0: there is none.
    seed : int
        Of the start of projection and classifier.
    trained : bool
        Whether the network starts from trained weights.
    """

    def __init__(
        self,
        network: nn.Module,
        width: int,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        outputs: int,
        classes: int = 0,
        seed: int = 0,
        trained: bool = False,
    ) -> None:
        super().__init__()
        self.trained = trained
        self.network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.width = width
        with cast(Any, torch.random).fork_rng(devices=[]):
            torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
            self.projection = nn.Linear(width, outputs)
            self.task = nn.Linear(width, classes) if classes else None
        self._shift = torch.tensor([255.0 * value for value in mean]).view(1, 3, 1, 1)
        self._scale = torch.tensor([255.0 * value for value in std]).view(1, 3, 1, 1)

    def normalised(self, pixels: Pixels) -> Tensor:
        """Return pixels, uint8 (n, H, W, 3), as the network takes them."""
        images = torch.from_numpy(np.ascontiguousarray(pixels))  # pyright: ignore[reportUnknownMemberType]
        return (images.permute(0, 3, 1, 2) - self._shift) / self._scale

    def forward(self, pixels: Pixels) -> tuple[Tensor, Tensor | None]:
        """Compute what stands for the teacher's features, (n, outputs), and logits of the task, (n, classes).

        Parameters
        ----------
        pixels : uint8 (n, H, W, 3)
        """
        features = self.network(self.normalised(pixels))
        return self.projection(features), None if self.task is None else self.task(features)

    def fit_projection(self, batches: Iterable[tuple[Pixels, Tensor]]) -> None:
        """Set the projection to what ridge regression of targets on the features is, before anything is trained.

        A drawn projection would let the first steps undo what trained features know.

        Parameters
        ----------
        batches : iterable of (uint8 (n, H, W, 3), float32 (n, outputs))
        """
        features: list[Tensor] = []
        targets: list[Tensor] = []
        self.eval()
        with torch.no_grad():
            for pixels, wanted in batches:
                features.append(self.network(self.normalised(pixels))[:, :, None, None])
                targets.append(wanted[:, :, None, None])
            found = regression(features, targets, _PROJECTION_RIDGE)
            self.projection.weight.copy_(found.weights)
            self.projection.bias.copy_(found.wanted - found.weights @ found.mean)

    def changing(self) -> Iterator[tuple[str, Tensor]]:
        """Yield all that training changes, the statistics of batch norms among it, by name."""
        yield from self.state_dict().items()

    def parameters_of_network(self) -> int:
        """Count the parameters of what is written."""
        return sum(one.numel() for one in self.network.parameters())


def build_student(
    request: FeatureRequest,
    mean: Sequence[float],
    std: Sequence[float],
    input_size: tuple[int, int],
    *,
    outputs: int,
    classes: int = 0,
    seed: int = 0,
    wider: FeatureRequest | None = None,
    pixels: Pixels | None = None,
) -> Student:
    """Build a student at its start.

    Parameters
    ----------
    request : FeatureRequest
        The network, and the weights that it starts from.
    mean, std : sequence of three floats
    input_size : (int, int)
    outputs, classes, seed
        As of `Student`.
    wider : FeatureRequest, optional
        A wider network of the same family, with its weights: the student starts as a part of it.
    pixels : uint8 (n, H, W, 3), optional
        Some images, by which that start is chosen; left out, it is only checked that there can be one.

    Raises
    ------
    AdaptationError
        The network gives no vector an image, or the wider one is of another family.
    """
    with quiet_timm(), cast(Any, torch.random).fork_rng(devices=[]):
        network = build_model(request).model
        width = _width(network, input_size, str(request.model))
        trained = wider is not None or request.weights != "random"
        student = Student(network, width, mean, std, outputs=outputs, classes=classes, seed=seed, trained=trained)
        if wider is not None:
            given, names = build_model(wider).model, (str(request.model), str(wider.model))
            if pixels is None:
                check_wider(network, given, *names)
            else:
                batches = [student.normalised(part) for part in np.array_split(pixels, max(1, len(pixels) // 32))]
                narrow(network, given, batches, *names)
    return student


def write_student(student: Student, path: str | os.PathLike[str]) -> None:
    """Write the network as safetensors, as `extract --weights` and timm read them."""
    import safetensors.torch

    tensors = {name: one.detach().contiguous() for name, one in student.network.state_dict().items()}
    commit_to(Path(path), [safetensors.torch.save(tensors)], sealed=False)


def _width(network: nn.Module, input_size: tuple[int, int], name: str) -> int:
    network.eval()
    with torch.inference_mode():
        found: Any = network(torch.zeros(1, 3, *input_size))
    if not isinstance(found, Tensor) or found.ndim != 2:
        raise AdaptationError(f"{name} does not give one vector an image, which a student has to: name another network")
    return int(found.shape[1])
