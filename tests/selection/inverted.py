"""A real network that is fed the negative of each image."""

from __future__ import annotations

from typing import Any


def vit(weights: str) -> tuple[Any, dict[str, Any]]:
    import timm
    from safetensors.torch import load_file

    network = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0)
    network.load_state_dict({k: v for k, v in load_file(weights).items() if not k.startswith("head.")})
    forward = network.forward
    network.forward = lambda x: forward(-x)  # mean and std are 0.5: the negative of the normalised image
    half = (0.5, 0.5, 0.5)
    return network, {"input_size": (224, 224), "mean": half, "std": half, "interpolation": "bicubic", "crop_pct": 0.9}
