"""Devices and the precisions they have.

Layer: backbones. Imports torch.
"""

from __future__ import annotations

import torch

from embedkit.errors import DeviceError
from embedkit.specs import Precision

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def available_devices() -> list[str]:
    """Return ``["cpu"]``, every visible CUDA device as ``"cuda:<index>"``, and ``"mps"`` and ``"xpu:<index>"``."""
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ["cpu", *cuda, *mps, *(f"xpu:{index}" for index in range(torch.xpu.device_count()))]


def resolve_device(name: str) -> str:
    """Turn a device's name into one that is there.

    Parameters
    ----------
    name : str
        ``"auto"`` (the first CUDA device, else the CPU), ``"cpu"``, ``"cuda"`` or ``"xpu"`` (the first one),
        ``"cuda:<index>"``, ``"xpu:<index>"`` or ``"mps"``. Apple's and Intel's are only taken when they are named: how
        fast they are has not been measured.

    Raises
    ------
    DeviceError
        The device that was named is not there.
    """
    there = available_devices()
    if name == "auto":
        return next((device for device in there if device.startswith("cuda")), "cpu")
    wanted = f"{name}:0" if name in ("cuda", "xpu") else name
    if wanted not in there:
        raise DeviceError(f"device {name!r} is not available, there is {', '.join(there)}: name one of them, or 'auto'")
    return wanted


def available_precisions(device: str) -> list[Precision]:
    """Return the precisions in which torch can run whole networks on a device, fp32 first."""
    if device == "cpu":
        return ["fp32", "bf16"]  # many layers have no half-precision kernel on CPUs
    precisions: list[Precision] = ["fp32", "fp16"]
    if not device.startswith("cuda"):
        return [*precisions, "bf16"] if device.startswith("xpu") else precisions
    if torch.cuda.is_bf16_supported(including_emulation=False):
        precisions.append("bf16")
    return precisions


def check_precision(precision: Precision, device: str) -> None:
    """Refuse a precision that the device does not have.

    Raises
    ------
    DeviceError
        Naming those it has.
    """
    there = available_precisions(device)
    if precision not in there:
        raise DeviceError(
            f"precision {precision!r} is not available on {device}, there is {', '.join(there)}: name one "
            "of them, or 'auto'"
        )
