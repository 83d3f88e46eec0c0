"""One network as the bytes of one file, and what such bytes make of images: ONNX, and torch's exported programs.

A torch module is saved by `torch.export` (``.pt2``), which torch alone loads, without the code of timm or embedkit;
TorchScript would do so too, and is deprecated.

Layer: deployment. Imports torch; onnx and onnxruntime where they are asked for.
"""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from embedkit.deployment.parity import Outcome
from embedkit.errors import MissingExtraError, ModelExportError

ModelFormat = Literal["onnx", "torch"]
RECORD = "embedkit.json"
"""The extra file of a ``.pt2`` that holds the record; in ONNX it is the metadata property ``embedkit``."""

# A protobuf message, and so an ONNX file without a second file for its weights, ends at 2 GiB.
_LARGEST_ONNX = 2**31 - 2**20
_ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def check_installed(file_format: ModelFormat) -> None:
    """Refuse a format whose libraries are missing, before any work is done.

    Raises
    ------
    MissingExtraError
    """
    missing = [name for name in _ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if file_format == "onnx" and missing:
        raise MissingExtraError(f"ONNX needs {', '.join(missing)}; pip install 'embedkit[onnx]', or export to .pt2")


def to_bytes(
    module: nn.Module, pixels: npt.NDArray[np.uint8], file_format: ModelFormat, record: Mapping[str, Any]
) -> bytes:
    """Return a network as the content of a file.

    Parameters
    ----------
    module : nn.Module
        Takes ``pixels`` and returns ``logits`` and ``predicted``.
    pixels : uint8 (n, 3, height, width)
        Images to trace it with, at least two; the file takes any number.
    file_format : {"onnx", "torch"}
    record : mapping
        JSON values, kept in the file.

    Raises
    ------
    ModelExportError
        torch cannot trace the network, or it is too large for one ONNX file.
    """
    example = torch.from_numpy(pixels[:2].copy())  # pyright: ignore[reportUnknownMemberType]
    try:
        with _quiet():
            return _to_onnx(module, example, record) if file_format == "onnx" else _to_pt2(module, example, record)
    except ModelExportError:
        raise
    except Exception as error:  # torch's tracers raise what they please
        reason = (str(error).splitlines() or [""])[0]
        raise ModelExportError(
            f"torch cannot export this network to {file_format}: {type(error).__name__}: {reason}"
        ) from error


def runner(content: bytes, file_format: ModelFormat) -> Callable[[npt.NDArray[np.uint8]], Outcome]:
    """Return a function from pixels, uint8 (n, 3, height, width), to what the content of a file makes of them."""
    return _onnx_runner(content) if file_format == "onnx" else _pt2_runner(content)


def _to_pt2(module: nn.Module, example: torch.Tensor, record: Mapping[str, Any]) -> bytes:
    program = torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("n", min=1)},))
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={RECORD: json.dumps(record)})
    return buffer.getvalue()


def _to_onnx(module: nn.Module, example: torch.Tensor, record: Mapping[str, Any]) -> bytes:
    size = sum(tensor.nbytes for tensor in cast(dict[str, torch.Tensor], module.state_dict()).values())
    if size > _LARGEST_ONNX:
        raise ModelExportError(f"the network has {size / 2**30:.1f} GiB, one ONNX file holds 2; export to .pt2")
    program = cast(Any, torch.onnx).export(
        module,
        (example,),
        dynamo=True,
        verbose=False,
        input_names=["pixels"],
        output_names=["logits", "predicted"],
        dynamic_shapes=({0: "n"},),
    )
    model = program.model_proto
    entry = model.metadata_props.add()
    entry.key, entry.value = "embedkit", json.dumps(record)
    return model.SerializeToString()


def _pt2_runner(content: bytes) -> Callable[[npt.NDArray[np.uint8]], Outcome]:
    with _quiet():
        module = torch.export.load(io.BytesIO(content)).module()

    def run(pixels: npt.NDArray[np.uint8]) -> Outcome:
        with torch.inference_mode():
            logits, predicted = module(torch.from_numpy(pixels))  # pyright: ignore[reportUnknownMemberType]
        return logits.numpy(), predicted.numpy()

    return run


def _onnx_runner(content: bytes) -> Callable[[npt.NDArray[np.uint8]], Outcome]:
    import onnxruntime

    runtime = cast(Any, onnxruntime)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(pixels: npt.NDArray[np.uint8]) -> Outcome:
        logits, predicted = session.run(["logits", "predicted"], {"pixels": pixels})
        return logits, predicted

    return run


@contextmanager
def _quiet() -> Generator[None]:
    """Keep the remarks of torch's exporters, about their own deprecations above all, to themselves."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
