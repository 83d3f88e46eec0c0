"""Backbone and operations as one torch module: pixels in, logits and the number of the class out.

Layer: deployment. Imports torch.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from embedkit.deployment.affine import Affine
from embedkit.deployment.steps import Decision, Normalize, Operation, Power


class AffineStage(nn.Module):
    """See `Affine`; in float32."""

    centre: Tensor
    matrix: Tensor
    offset: Tensor

    def __init__(self, affine: Affine) -> None:
        super().__init__()
        for name, values in zip(("centre", "matrix", "offset"), affine.rounded(), strict=True):
            self.register_buffer(name, torch.tensor(values))

    def forward(self, rows: Tensor) -> Tensor:
        """Map (n, d) to (n, k)."""
        return functional.linear(rows - self.centre, self.matrix, self.offset)


class NormalizeStage(nn.Module):
    """See `Normalize`."""

    def __init__(self, operation: Normalize) -> None:
        super().__init__()
        self.order = {"l1": 1.0, "l2": 2.0, "max": float("inf")}[operation.norm]
        self.views = operation.views

    def forward(self, rows: Tensor) -> Tensor:
        """Scale (n, d)."""
        parts = rows.reshape(rows.shape[0], self.views, -1)  # len() would fix the number of images while tracing
        norms: Tensor = cast(Any, torch.linalg).vector_norm(parts, ord=self.order, dim=2, keepdim=True)
        return (parts / torch.where(norms > 0, norms, torch.ones_like(norms))).flatten(1)


class PowerStage(nn.Module):
    """See `Power`."""

    def __init__(self, operation: Power) -> None:
        super().__init__()
        self.exponent = operation.exponent

    def forward(self, rows: Tensor) -> Tensor:
        """Raise (n, d)."""
        return rows.sign() * rows.abs().pow(self.exponent)


class PairVotes(nn.Module):
    """Scores of classes from the values of their pairs, as scikit-learn's one-vs-one gives them.

    Each pair votes for one of its classes; the sums of a class's values, squeezed into (-1/3, 1/3), order those of
    equally many votes (``sklearn.utils.multiclass._ovr_decision_function``).
    """

    first: Tensor
    second: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        pairs = np.array(list(itertools.combinations(range(classes), 2)))
        self.register_buffer("first", torch.tensor(np.eye(classes, dtype=np.float32)[pairs[:, 0]]))
        self.register_buffer("second", torch.tensor(np.eye(classes, dtype=np.float32)[pairs[:, 1]]))

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores and votes, both (n, classes), of values (n, pairs)."""
        won = (values >= 0).to(values.dtype)
        votes = won @ self.first + (1 - won) @ self.second
        sums = values @ (self.first - self.second)
        return votes + sums / (3 * (sums.abs() + 1)), votes


class Classifier(nn.Module):
    """Pixels to logits and predicted classes.

    Parameters
    ----------
    features : nn.Module
        uint8 (n, 3, height, width) to float32 (n, width); copied.
    operations : sequence of Operation
    decision : Decision
    """

    def __init__(self, features: nn.Module, operations: Sequence[Operation], decision: Decision) -> None:
        super().__init__()
        self.features = _plain(features)
        self.operations = nn.Sequential(*(_module(operation) for operation in operations))
        self.kind = decision.kind
        self.break_ties = decision.break_ties
        self.pairs = PairVotes(len(decision.classes)) if decision.kind == "pairs" else nn.Identity()
        self.eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits, float32 (n, classes), and the number of the predicted class, int64 (n,).

        Of two classes, the first has the logit 0. Without classes the first outcome holds values (n, targets) and the
        second is 0 throughout.
        """
        values = self.operations(self.features(pixels))
        if self.kind == "pairs":
            scores, votes = self.pairs(values)
            return scores, (scores if self.break_ties else votes).argmax(dim=1)
        if self.kind == "two classes":
            values = torch.cat([torch.zeros_like(values), values], dim=1)
        if self.kind == "values":
            return values, torch.zeros_like(values[:, 0], dtype=torch.int64)
        return values, values.argmax(dim=1)


def _module(operation: Operation) -> nn.Module:
    match operation:
        case Affine():
            return AffineStage(operation)
        case Normalize():
            return NormalizeStage(operation)
        case Power():
            return PowerStage(operation)


def _plain(module: nn.Module) -> nn.Module:
    """Copy a module onto the CPU with every tensor laid out as torch's own files expect it."""
    return copy.deepcopy(module).cpu().to(memory_format=torch.contiguous_format)
