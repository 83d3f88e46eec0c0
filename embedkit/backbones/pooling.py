"""From maps and tokens to one vector an image.

Layer: backbones. Imports torch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from embedkit.specs import Pool

GEM_POWER = 3.0
"""Exponent of generalised-mean pooling: Radenovic et al. 2019 (arXiv:1711.02512) start from 3; timm's GeM layer too."""

GEM_FLOOR = 1e-6
"""Values are raised to this before the power, as in timm's ``gem``, which is defined for positive maps."""


def pool_tokens(patches: Tensor, cls: Tensor | None, pool: Pool) -> Tensor:
    """Pool the patch tokens (or the positions of a map), the class token, or both.

    Parameters
    ----------
    patches : (n, tokens, channels)
        Patch tokens without class, distillation or register tokens; the positions of a map.
    cls : (n, channels) or None
        The class token; None where the model has none, and then `pool` does not ask for it.
    pool : Pool
        ``"auto"`` is the mean of the patch tokens.

    Returns
    -------
    Tensor (n, channels), or (n, 2 channels) for ``"cls+avg"``, class token first; for ``"map"``, which takes no class
    token apart, (n, tokens * channels).
    """
    if pool == "map":
        return patches.flatten(1)
    if pool == "max":
        return patches.amax(dim=1)
    if pool == "gem":
        return patches.clamp(min=GEM_FLOOR).pow(GEM_POWER).mean(dim=1).pow(1.0 / GEM_POWER)
    if pool in ("cls", "cls+avg"):
        assert cls is not None
        return cls if pool == "cls" else torch.cat([cls, patches.mean(dim=1)], dim=1)
    return patches.mean(dim=1)
