"""export_model: backbone and fitted steps as one file for other runtimes, checked before it is written.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from embedkit.backbones import Backbone, drift_images
from embedkit.errors import (
    ImageError,
    OutputExistsError,
    StoreWriteError,
    UsageError,
)
from embedkit.files import commit_to
from embedkit.images import ImageSource, open_source
from embedkit.persistence import Model, at_work
from embedkit.preprocess import Preprocessor
from embedkit.specs import DecodeSpec, FeatureSpec
from embedkit.workflows.reference import reference_backbone, rgb_of, single_embedder

_SUFFIXES: dict[str, Literal["onnx", "torch"]] = {".onnx": "onnx", ".pt2": "torch"}
_BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelExport:
    """A file for other runtimes, and how it was checked.

    Attributes
    ----------
    output : str
    format : {"onnx", "torch"}
    bytes : int
        The size of the file.
    classes : list of str
        In the order of the logits; empty for a regressor.
    input_size : (int, int)
        Height and width of the pixels it takes.
    images : int
        Number of images on which file and pipeline were compared: each got the same class.
    largest_difference : float
        Between a logit of the file and one of the pipeline.
    notes : list of str
    """

    output: str
    format: Literal["onnx", "torch"]
    bytes: int
    classes: list[str]
    input_size: tuple[int, int]
    images: int
    largest_difference: float
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**dataclasses.asdict(self), "input_size": list(self.input_size)}


def export_model(
    model: Any,
    output: str | os.PathLike[str],
    *,
    images: Any = None,
    weights: str | None = None,
    force: bool = False,
    trust_pickle: bool = False,
) -> ModelExport:
    """Write a fitted pipeline, its backbone included, as one file that needs neither embedkit nor scikit-learn.

    The file takes ``pixels``, uint8 of shape (n, 3, height, width), RGB, resized and cropped but not normalised, and
    gives ``logits``, float32 (n, classes), and ``predicted``, int64 (n,), the number of the class. It computes in fp32.
    How to resize, the names of the classes and where the weights are from stand in its record: metadata property
    ``embedkit`` of ONNX, extra file ``embedkit.json`` of a ``.pt2``.

    Before anything is written, file and pipeline are compared on images: each must get the same class, and logits
    within 1e-3 (of logits beyond 100: within 1e-5 of the largest).

    Parameters
    ----------
    model : path, Model or Pipeline
        A model file of `fit`, or a fitted pipeline whose first step is an `ImageEmbedder`, its only one.
    output : path
        ``.onnx``, or ``.pt2`` for a program of `torch.export`.
    images : path, or sequence of images, optional
        What to compare on; by default 32 images that embedkit draws. Your own photos say more.
    weights : path, optional
        Where the backbone's weights are now; accepted when they are the same weights.
    force : bool
        Replace an existing output.
    trust_pickle : bool
        Load a model that joblib or pickle wrote, and run whatever code is in it; see `load_model`.

    Returns
    -------
    ModelExport

    Raises
    ------
    ModelExportError
        A step has no such form, or the file would do something else than the pipeline; nothing is written.
    ModelFileError
        The model file cannot be loaded.
    SpecMismatchError
        The backbone at hand is not the one that the model was fitted on.
    OutputExistsError
        The output is there, and `force` was not given.
    StoreWriteError
        Its folder is missing.
    ImageError
        One of `images` cannot be read.
    MissingExtraError
        ONNX was asked for and is not installed.
    """
    output = Path(output)
    file_format = _SUFFIXES.get(output.suffix.lower())
    if file_format is None:
        raise UsageError(f"{output} ends neither in .onnx nor in .pt2; name one of these formats")
    if os.path.lexists(output) and not force:
        raise OutputExistsError(f"{output} exists; name another file, or use --force (force=True) to replace it")
    if not output.parent.is_dir():
        raise StoreWriteError(f"{output} cannot be written: there is no folder {output.parent}; create it first")
    loaded = single_embedder(model, trust_pickle)
    # Here and not above: torch takes seconds to import, and what is wrong so far is said at once.
    from sklearn.pipeline import Pipeline

    from embedkit.deployment import Classifier, check_installed, compare, flattened, read_steps, runner, to_bytes

    check_installed(file_format)
    steps = list(flattened(loaded.pipeline.steps[1:]))
    with at_work(model):
        stages, decision = read_steps(steps, loaded.spec.backbone.width)
    backbone = reference_backbone(loaded, weights)
    size = backbone.preprocess.input_size
    batches = list(_batches(images, backbone, loaded.spec.decode))
    network = Classifier(backbone.module, stages, decision)
    classes = [str(name) for name in decision.classes.tolist()]
    content = to_bytes(network, _blank(size), file_format, _record(loaded, backbone, decision.kind, classes))
    run = runner(content, file_format)
    worst, compared = 0.0, 0
    for pixels in batches:
        features, outcome = backbone(pixels), run(pixels)
        with at_work(model):
            difference = compare(Pipeline(steps), decision, features, outcome, first=compared)
        worst = max(worst, difference)
        compared += len(pixels)
    commit_to(output, [content], sealed=False)
    return ModelExport(
        output=str(output),
        format=file_format,
        bytes=len(content),
        classes=classes,
        input_size=size,
        images=compared,
        largest_difference=worst,
        notes=_notes(loaded.spec),
    )


def _blank(size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    return np.zeros((2, 3, *size), np.uint8)


def _batches(images: Any, backbone: Backbone, spec: DecodeSpec) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield images as the network takes them, uint8 (n, 3, height, width): one alone, then many at once."""
    if images is None:
        drawn = drift_images(*backbone.preprocess.input_size)
        yield drawn[:1]
        yield drawn[1:]
        return
    source: ImageSource = open_source(images)
    preprocessor = Preprocessor(backbone.preprocess)
    bounds = [0, *range(1, len(source), _BATCH), len(source)]
    for start, end in itertools.pairwise(bounds):
        pixels: list[npt.NDArray[np.uint8]] = []
        for key, ref in zip(source.keys[start:end], source.images[start:end], strict=True):
            try:
                pixels.append(preprocessor(rgb_of(ref, spec, preprocessor)))
            except ImageError as error:
                raise type(error)(f"{key}: {error}; leave it out") from error
        yield np.ascontiguousarray(np.stack(pixels))


def _record(loaded: Model, backbone: Backbone, kind: str, classes: list[str]) -> dict[str, Any]:
    height, width = backbone.preprocess.input_size
    preprocess = dataclasses.asdict(backbone.preprocess)
    return {
        "format": 1,
        "input": f"pixels: uint8 (n, 3, {height}, {width}), RGB, resized and cropped, not normalised",
        "output": "logits: float32 (n, classes); predicted: int64 (n,), an index into classes",
        "preprocess": {name: preprocess[name] for name in ("input_size", "interpolation", "crop_pct", "crop_mode")},
        "normalised_inside": {name: preprocess[name] for name in ("mean", "std")},
        "classes": classes,
        "decision": kind,
        "model": loaded.pipeline.steps[0][1].model,
        "architecture": backbone.spec.architecture,
        "weights": backbone.spec.weights,
        "steps": [type(step).__name__ for _, step in loaded.pipeline.steps],
        "versions": {name: importlib.metadata.version(name) for name in ("embedkit", "torch", "timm", "scikit-learn")},
    }


def _notes(spec: FeatureSpec) -> list[str]:
    if (spec.backbone.precision, spec.backbone.engine) == ("fp32", "torch"):
        return []
    return [
        f"the pipeline was fitted on features of {spec.backbone.engine} {spec.backbone.precision}; the file computes "
        "in fp32, and was compared with the pipeline on fp32 features; fit with --precision fp32 to have the very same"
    ]
