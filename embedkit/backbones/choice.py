"""Which engine and precision compute: what was named, or the fastest that stays close to fp32 torch and pays.

Layer: backbones. Imports torch through the engines.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from embedkit.backbones import openvino_engine as openvino
from embedkit.backbones.batching import Engine
from embedkit.backbones.conversions import Conversion
from embedkit.backbones.devices import available_precisions, check_precision
from embedkit.backbones.drift import Drift, drift_images, measure_drift
from embedkit.backbones.features import FrozenFeatures
from embedkit.backbones.threads import available_cores, use_one_thread
from embedkit.backbones.torch_engine import TorchEngine
from embedkit.errors import DeviceError, DriftError
from embedkit.specs import Engine as EngineName
from embedkit.specs import Precision

TRIAL_BATCH = 4

ASSUMED_IMAGES = 1000
"""How many images `auto` reckons with when nobody says."""

FEW_IMAGES = 200
"""Below this, looking for something faster costs more than it can save.

The look costs 32 images in fp32 and 32 in the candidate. At twice the speed that is 48 images' worth of fp32, which 96
images earn back; it should earn twice that.
"""

WORTH_CONVERTING = 30.0
"""Seconds of forward passes to go, by the best of torch, from which on a conversion for OpenVINO is tried.

It takes 3 to 20 s and gains a factor of 1.3 (AVX-512) to 2.5 (AMX) over torch in bf16.
"""

WORTH_READING = 3.0
"""The same where the network was converted before and kept: reading and compiling it takes about a second."""

FASTER = 1.1
"""A candidate must be faster by this factor than what it replaces, lest noise decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for, and what decides where nothing was."""

    engine: EngineName | Literal["auto"]
    precision: Precision | Literal["auto"]
    device: str
    expected_images: int | None
    input_size: tuple[int, int]
    conversion: Conversion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An engine in a precision, and why.

    `drift` is None for fp32 torch, which is the reference, and where nothing was compared.
    """

    engine: Engine
    name: EngineName
    precision: Precision
    reason: str
    drift: Drift | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    engine: Engine
    name: EngineName
    precision: Precision
    seconds: float  # an image, on one core or the GPU
    drift: Drift | None

    def fits(self, wanted: Wanted) -> bool:
        if wanted.engine not in ("auto", self.name):
            return False
        if wanted.precision != "auto":
            return self.precision == wanted.precision
        return self.drift is None or self.drift.acceptable

    def __str__(self) -> str:
        pace = f"{self.name} {self.precision} {1000 * self.seconds:.3g} ms an image"  # per core, on a CPU
        return pace + (f" (drift worst {self.drift.worst:.4f}, mean {self.drift.mean:.4f})" if self.drift else "")


def choose_engine(module: FrozenFeatures, wanted: Wanted) -> Choice:
    """Decide what computes.

    Parameters
    ----------
    module : FrozenFeatures
        In fp32 on the CPU. Handed over: the engine that is chosen may change it.
    wanted : Wanted

    Raises
    ------
    DeviceError
        The engine or precision that was named is not there on this device.
    DriftError
        The engine that was named computes something else than fp32 torch.
    MissingExtraError
        OpenVINO was named and is not installed.
    """
    _check_there(wanted)
    images = ASSUMED_IMAGES if wanted.expected_images is None else wanted.expected_images
    if wanted.precision != "auto" and wanted.engine != "auto":
        reason = f"{wanted.engine} in {wanted.precision}, as asked for"
        return _without_trial(module, wanted, wanted.engine, wanted.precision, reason)
    if images < FEW_IMAGES and wanted.engine != "openvino":
        precision = "fp32" if wanted.precision == "auto" else wanted.precision
        why = "nothing faster" if wanted.precision == "auto" else "as asked for, and no other engine"
        reason = f"torch in {precision}: for {images} images {why} would pay for its start"
        return _without_trial(module, wanted, "torch", precision, reason)
    return _after_trial(module, wanted, images)


def _check_there(wanted: Wanted) -> None:
    if wanted.engine != "openvino":
        if wanted.precision != "auto":
            check_precision(wanted.precision, wanted.device)
        return
    if wanted.device != "cpu":
        raise DeviceError(f"engine 'openvino' runs on the CPU only, the device is {wanted.device}: use engine='torch'")
    there = openvino.available_precisions()
    if wanted.precision not in ("auto", *there):
        raise DeviceError(
            f"precision {wanted.precision!r} is not available with openvino on this CPU, there is {', '.join(there)}: "
            "name one of them, or 'auto'"
        )


def _without_trial(
    module: FrozenFeatures, wanted: Wanted, name: EngineName, precision: Precision, reason: str
) -> Choice:
    if name == "torch":
        engine: Engine = TorchEngine(module, wanted.device, precision)
    else:
        engine = openvino.OpenVinoEngine(openvino.convert(module, *wanted.input_size, wanted.conversion), precision)
    return Choice(engine=engine, name=name, precision=precision, reason=reason)


def _after_trial(module: FrozenFeatures, wanted: Wanted, images: int) -> Choice:
    """Run the drift images through fp32 torch and the candidates, and take the fastest that fits."""
    pixels = drift_images(*wanted.input_size)
    engine = TorchEngine(module, wanted.device, "fp32")
    reference, seconds = _run(engine, pixels, wanted.device)
    tried = [_Candidate(engine=engine, name="torch", precision="fp32", seconds=seconds, drift=None)]
    for precision in _lower_precisions(wanted):
        engine = TorchEngine(copy.deepcopy(module), wanted.device, precision)
        tried.append(_try(engine, "torch", precision, wanted.device, pixels, reference))
        if tried[-1].fits(wanted):
            break
    best = _fastest(tried, wanted)
    remark = ""
    if wanted.device == "cpu" and wanted.engine != "torch":
        kept = wanted.conversion is not None and wanted.conversion.is_kept()
        least = WORTH_READING if kept else WORTH_CONVERTING
        worth = best is None or images * best.seconds / available_cores() >= least
        if worth and openvino.is_installed():
            tried += _with_openvino(module, wanted, pixels, reference)
            best = _fastest(tried, wanted)
        elif worth:
            remark = "; openvino is not installed (pip install openvino)"
    if best is None:
        raise DriftError(
            f"engine {wanted.engine!r} computes other features than fp32 torch: {'; '.join(map(str, tried))}; "
            "use engine='torch'"
        )
    reason = f"{best.name} in {best.precision}: {', '.join(map(str, tried))}{remark}"
    return Choice(engine=best.engine, name=best.name, precision=best.precision, reason=reason, drift=best.drift)


def _lower_precisions(wanted: Wanted) -> list[Precision]:
    """List what torch should be tried in besides fp32; bf16 first, since fp16 may overflow on images not tried."""
    if wanted.engine == "openvino":
        return []
    there = available_precisions(wanted.device)
    tried: tuple[Precision, ...] = ("bf16", "fp16")
    return [one for one in tried if one in there and wanted.precision in ("auto", one)]


def _with_openvino(
    module: FrozenFeatures, wanted: Wanted, pixels: NDArray[np.uint8], reference: NDArray[np.float32]
) -> list[_Candidate]:
    try:
        converted = openvino.convert(module, *wanted.input_size, wanted.conversion)
    except DeviceError:
        if wanted.engine == "openvino":
            raise
        return []
    tried: list[_Candidate] = []
    for precision in reversed(openvino.available_precisions()):
        if wanted.precision in ("auto", precision):
            engine = openvino.OpenVinoEngine(converted, precision)
            tried.append(_try(engine, "openvino", precision, wanted.device, pixels, reference))
            if tried[-1].fits(wanted):
                break
    return tried


def _fastest(tried: Sequence[_Candidate], wanted: Wanted) -> _Candidate | None:
    best: _Candidate | None = None
    for candidate in tried:
        if candidate.fits(wanted) and (best is None or best.seconds > FASTER * candidate.seconds):
            best = candidate
    return best


def _try(
    engine: Engine,
    name: EngineName,
    precision: Precision,
    device: str,
    pixels: NDArray[np.uint8],
    reference: NDArray[np.float32],
) -> _Candidate:
    features, seconds = _run(engine, pixels, device)
    drift = measure_drift(features, reference)
    return _Candidate(engine=engine, name=name, precision=precision, seconds=seconds, drift=drift)


def _run(engine: Engine, pixels: NDArray[np.uint8], device: str) -> tuple[NDArray[np.float32], float]:
    """Return the features and the seconds an image takes one core (or the GPU), by the quickest batch.

    On a CPU batches run side by side, one core each, as they will in earnest.
    """

    def timed(start: int) -> tuple[NDArray[np.float32], float]:
        if device == "cpu":
            use_one_thread()
        began = time.perf_counter()
        features = engine(pixels[start : start + TRIAL_BATCH])
        return features, (time.perf_counter() - began) / TRIAL_BATCH

    timed(0)  # warms up: kernels are chosen and compiled
    with ThreadPoolExecutor(_cores(device)) as executor:
        parts = list(executor.map(timed, range(0, len(pixels), TRIAL_BATCH)))
    return np.concatenate([features for features, _ in parts]), min(seconds for _, seconds in parts)


def _cores(device: str) -> int:
    return available_cores() if device == "cpu" else 1
