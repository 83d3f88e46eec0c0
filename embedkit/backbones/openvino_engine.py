"""The OpenVINO engine for CPUs: converts a frozen module once, and runs it in fp32 or bf16.

Layer: backbones. Imports torch, and openvino (extra ``fast``) when an engine is made.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import threading
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from embedkit.backbones.conversions import Conversion
from embedkit.backbones.features import FrozenFeatures
from embedkit.backbones.threads import available_cores
from embedkit.errors import DeviceError, MissingExtraError
from embedkit.specs import Precision

_log = logging.getLogger("embedkit")

HINTS: dict[Precision, str] = {"fp32": "f32", "bf16": "bf16"}


def is_installed() -> bool:
    """Return whether openvino can be imported, without importing it."""
    return find_spec("openvino") is not None


def available_precisions() -> list[Precision]:
    """Return the precisions that OpenVINO computes in on this CPU, fp32 first.

    Raises
    ------
    MissingExtraError
        openvino is not installed.
    """
    capabilities = _import().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ["fp32", "bf16"] if "BF16" in capabilities else ["fp32"]


@dataclass(frozen=True, slots=True)
class ConvertedModule:
    """A frozen module, and the same as an OpenVINO model not yet compiled for a precision."""

    module: FrozenFeatures
    model: Any


def convert(module: FrozenFeatures, height: int, width: int, conversion: Conversion | None = None) -> ConvertedModule:
    """Trace a module and convert it, which takes 3 to 20 seconds, or read what was kept of that before.

    Parameters
    ----------
    module : FrozenFeatures
        In fp32 on the CPU.
    height, width : int
        Of its images, in pixels.
    conversion : Conversion, optional
        Where the converted module is kept.

    Raises
    ------
    MissingExtraError
        openvino is not installed.
    DeviceError
        OpenVINO cannot convert the module.
    """
    kept = None if conversion is None else conversion.read()
    model = None if kept is None else _parse(*kept)
    if model is None:
        model = _trace(module, height, width)
        if conversion is not None:
            conversion.keep(*_serialise(model))
    return ConvertedModule(module, model)


def _trace(module: FrozenFeatures, height: int, width: int) -> Any:
    openvino = _import()
    example = torch.zeros(1, 3, height, width, dtype=torch.uint8)
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch.jit.trace: deprecated, and remarks on Python branches
            return openvino.convert_model(module, example_input=example, input=[-1, 3, height, width])
    except Exception as error:  # of its front end, of the tracer, of the model: there is no common type
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DeviceError(
            f"OpenVINO cannot convert {type(module.model).__name__}: {reason}; use engine='torch'"
        ) from error


def _serialise(model: Any) -> tuple[bytes, bytes]:
    """Return a model as OpenVINO's two files of it: description and weights, in fp32 as they are."""
    with tempfile.TemporaryDirectory() as folder:
        description = Path(folder, "network.xml")
        _import().save_model(model, description, compress_to_fp16=False)
        return description.read_bytes(), description.with_suffix(".bin").read_bytes()


def _parse(description: bytes, weights: memoryview) -> Any:
    openvino = _import()
    try:
        return openvino.Core().read_model(description, openvino.Tensor(np.frombuffer(weights, np.uint8)))
    except RuntimeError as error:  # written by another release than its key says
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        _log.warning("OpenVINO cannot read the network that it converted before (%s): converted again", reason)
        return None


class OpenVinoEngine:
    """Run a converted module on the CPU.

    It may be called from several threads; each has its own request to the one compiled model.

    Parameters
    ----------
    converted : ConvertedModule
    precision : {"fp32", "bf16"}
    """

    def __init__(self, converted: ConvertedModule, precision: Precision) -> None:
        self.module: Any = converted.module
        settings = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            # As many batches side by side as there are cores, each on one; see `threads`.
            "NUM_STREAMS": available_cores(),
            "INFERENCE_NUM_THREADS": available_cores(),
        }
        self._compiled = _import().Core().compile_model(converted.model, "CPU", settings)
        self._of_thread = threading.local()

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features, float32 (n, d), of pixels, uint8 (n, 3, height, width)."""
        if not hasattr(self._of_thread, "request"):
            self._of_thread.request = self._compiled.create_infer_request()
        outputs = self._of_thread.request.infer([np.ascontiguousarray(pixels)])
        return np.array(outputs[0], dtype=np.float32)


def _import() -> Any:
    # Its converter sends usage events over the network, from a forked process, unless this module is missing.
    cast(dict[str, Any], sys.modules).setdefault("openvino_telemetry", None)
    try:
        import openvino  # pyright: ignore[reportMissingImports, reportUnknownVariableType]
    except ImportError as error:
        raise MissingExtraError("the engine 'openvino' is not installed: pip install openvino") from error
    return openvino  # pyright: ignore[reportUnknownVariableType]
