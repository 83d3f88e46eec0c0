"""predict: classes of new images, by a model file, with the very features it was fitted on.

The images go through the networks first, each read once for all of them; then the model is asked, whose embedders find
the features in the store.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.backbones import Backbone, FeatureRequest
from embedkit.embedder import ImageEmbedder
from embedkit.errors import (
    DeviceError,
    OutputExistsError,
    SpecMismatchError,
    UsageError,
    WeightsNotFoundError,
)
from embedkit.evaluation import share_interval
from embedkit.extraction import Extraction, Progress, Resolution, resolve_together, run_many
from embedkit.files import commit_to
from embedkit.images import ImageSource
from embedkit.persistence import Model, at_work, load_model
from embedkit.results import Confusion, Predictions, Skipped
from embedkit.specs import FeatureSpec, describe_differences, differences
from embedkit.store import FeatureStore
from embedkit.text import csv_text
from embedkit.workflows.model_inputs import ModelRows, inputs_of, open_rows
from embedkit.workflows.origins import origin_of
from embedkit.workflows.said import UNKNOWN_ERROR, Said, classify
from embedkit.workflows.targets import open_store

_MAY_BE_TRAINED = (
    "the model file does not know which images it was fitted on: if some of them are among these, the accuracy "
    "flatters (that of `embedkit fit` is on others)"
)


def predict(
    model: str | os.PathLike[str],
    source: Any,
    *,
    weights: str | Mapping[str, str] | None = None,
    device: str = "auto",
    store: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    force: bool = False,
    top: int = 0,
    sets: float | None = None,
    unknown: float | None = None,
    trust_pickle: bool = False,
    progress: Progress | None = None,
) -> Predictions:
    """Classify images with a model file.

    Parameters
    ----------
    model : path
        A model file of `fit` or `save_model`.
    source : path, or sequence of images
        For a model that was fitted on a table (`ColumnTransformer`): a ``.csv``, ``.tsv`` or ``.parquet`` file with
        the columns that it reads, or a data frame. Files are read as pandas does; relative paths of images in them are
        against their folder.
    weights : path, or mapping of str to path, optional
        Where the backbone's weights are now; accepted when they are the same weights. Of several backbones, by their
        embedders' names in `Model.embedders`.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:0"``.
    store : path, optional
        The folder of the store; by default the user's.
    output : path, optional
        A ``.csv`` or ``.json`` file to write.
    force : bool
        Replace an existing output.
    top : int
        How many of the likeliest classes to list for each image, with their scores; 0 lists none.
    sets : float, optional
        List for each image the classes that it may be of, so that the list holds the right one in this share of images,
        such as 0.9. For models with a `ConformalClassifier` (``fit(..., conformal=True)``).
    unknown : float, optional
        The share of known images that may be marked as unlike everything that was fitted on, by default 0.05. For
        models with an `UnknownDetector` (``fit(..., conformal=True)``), which always mark.
    trust_pickle : bool
        Load a model that joblib or pickle wrote, and run whatever code is in it; see `load_model`.
    progress : callable, optional

    Returns
    -------
    Predictions

    Raises
    ------
    ModelFileError
        The model file cannot be loaded.
    OutputExistsError
        The output is there, and `force` was not given.
    WeightsNotFoundError
        The weights are no longer where they were when the model was fitted.
    SpecMismatchError
        The backbone at hand is not the one that the model was fitted on; the fields that differ are named.
    UsageError
        The source lacks columns that the model reads, or holds what it does not take; several backbones were given
        one file of weights.
    """
    if output is not None and Path(output).suffix.lower() not in (".csv", ".json"):
        raise UsageError(f"{output} is neither a .csv nor a .json file")
    if output is not None and os.path.lexists(output) and not force:
        raise OutputExistsError(f"{output} exists; name another file, or use --force (force=True) to replace it")
    for name, share in (("sets", sets), ("unknown", unknown)):
        if share is not None and not 0 < share < 1:
            raise UsageError(f"{name}={share:g}, expected a share between 0 and 1")
    if top < 0:
        raise UsageError(f"top={top}, expected 0 or more classes to list")
    loaded = load_model(model, trust_pickle=trust_pickle)
    with at_work(model):
        inputs = inputs_of(loaded)
        requests = _requests(loaded, weights, device)
    rows = open_rows(inputs, source)
    feature_store = open_store(store)
    notes: list[str] = []
    digests: dict[str | None, npt.NDArray[np.uint8]] = {}
    failures: dict[int, str] = {}
    finding: dict[int, ImageEmbedder] = {}
    for column, images in rows.sources.items():
        asked = {name: requests[name] for name, taken in inputs.columns.items() if taken == column}
        extracted = _extract(loaded.specs, asked, images, feature_store, notes, progress)
        for name, (request, extraction) in extracted.items():
            embedder, spec = loaded.embedders[name], extraction.resolution.spec
            finding[id(embedder)] = _finding(embedder, request.settled(spec), spec, feature_store)
            digests[column] = extraction.digests
            for row, reason in extraction.failures.items():
                failures.setdefault(row, reason if len(rows.sources) == 1 else f"{column}: {reason}")
    there = np.setdiff1d(np.arange(len(rows.keys)), list(failures))
    # A copy with other embedders in the place of the model's own, wherever in it they are.
    with at_work(model, on_a_table=rows.frame is not None):
        pipeline = copy.deepcopy(loaded.pipeline, cast(Any, finding))
        said = classify(pipeline, rows.as_input(digests, there), len(there), coverage=sets, error=unknown)
    if top and there.size and said.scores is None:
        raise UsageError("top asks for the likeliest classes, and this model gives no score for classes; leave it out")
    keys = [rows.keys[row] for row in cast(list[int], there.tolist())]
    judged = _judge(rows, there, said)
    if judged[0] is not None:
        notes.append(_MAY_BE_TRAINED)
    covered = _covered(rows, there, said)
    result = Predictions(
        predictions=said.predictions(keys, top),
        score=said.kind or "score",
        accuracy=judged[0],
        interval=judged[1],
        confusion=judged[2],
        coverage=sets,
        covered=None if covered is None else covered[0] / covered[1],
        covered_interval=None if covered is None else share_interval(*covered),
        unknown_error=None if said.unknown is None else UNKNOWN_ERROR if unknown is None else unknown,
        skipped=_skipped(rows, failures),
        notes=[*notes, *_of_strangers(rows, there, said)],
        output=None if output is None else str(output),
        origin=origin_of(
            "predict",
            {
                "model_file": model,
                "source": source,
                "weights": weights,
                "device": device,
                "output": output,
                "top": top,
                "sets": sets,
                "unknown": unknown,
            },
            sources=list(dict.fromkeys(images.name for images in rows.sources.values())),
            fingerprints={name: spec.fingerprint for name, spec in loaded.specs.items()},
        ),
    )
    if output is not None:
        is_csv = Path(output).suffix.lower() == ".csv"
        if is_csv:
            commit_to(Path(output), [_as_csv(result).encode("utf-8")], sealed=False)
        else:
            result.save(output, force=True)
    return result


def _as_csv(result: Predictions) -> str:
    rows = result.table()
    header = [*rows[0]] if rows else ["path", "predicted"]
    return csv_text([header, *(row.values() for row in rows)], line_end="\n")


def _requests(loaded: Model, weights: str | Mapping[str, str] | None, device: str) -> dict[str, FeatureRequest]:
    """Return what each embedder asks for, with the weights and the device of here."""
    specs = {name: spec for name, spec in loaded.specs.items() if spec.backbone.weights != "none"}
    if isinstance(weights, str | os.PathLike):
        if len({spec.backbone.weights for spec in specs.values()}) > 1:
            raise UsageError(
                f"the model has several backbones, {', '.join(specs)}; say whose weights {weights} holds: "
                "--weights NAME=FILE (weights={name: file})"
            )
        weights = dict.fromkeys(specs, os.fspath(weights))
    named = dict(weights or {})
    unknown = sorted(named.keys() - loaded.specs.keys())
    if unknown:
        raise UsageError(f"the model has no embedder {unknown[0]!r} to give weights; it has {', '.join(loaded.specs)}")
    requests: dict[str, FeatureRequest] = {}
    for name, embedder in loaded.embedders.items():
        request = embedder.request()
        requests[name] = dataclasses.replace(request, device=device, weights=named.get(name, request.weights))
    return requests


def _extract(
    specs: Mapping[str, FeatureSpec],
    requests: dict[str, FeatureRequest],
    images: ImageSource,
    store: FeatureStore,
    notes: list[str],
    progress: Progress | None,
) -> dict[str, tuple[FeatureRequest, Extraction]]:
    """Compute the features of images for some of the embedders, in one pass, as the fit did where this machine can.

    What differs from the fit is noted.
    """
    asked = {name: request.pinned(specs[name]) for name, request in requests.items()}
    try:
        resolved = _resolve([*asked.values()], store, images)
    except DeviceError as error:
        asked = {
            name: dataclasses.replace(request, engine="auto", precision="auto") for name, request in requests.items()
        }
        resolved = _resolve([*asked.values()], store, images)
        notes.append(f"this machine cannot compute features as the fit did ({error})")
    for name, (resolution, _) in zip(asked, resolved, strict=True):
        note = _compare(resolution.spec, specs[name])
        if note is not None and note not in notes:
            notes.append(note)
    extractions = run_many(images, [*asked.values()], store, resolved=resolved, progress=progress)
    return {name: (asked[name], extraction) for name, extraction in zip(asked, extractions, strict=True)}


def _resolve(
    requests: list[FeatureRequest], store: FeatureStore, images: ImageSource
) -> list[tuple[Resolution, Backbone | None]]:
    try:
        return resolve_together(requests, store, expected_images=len(images))
    except WeightsNotFoundError as error:
        raise WeightsNotFoundError(f"{error}; if they have moved, name them by --weights (weights=...)") from error


def _compare(found: FeatureSpec, fitted: FeatureSpec) -> str | None:
    """Return a note on features that differ from those of the fit; those of another backbone are refused."""
    different = differences(found, fitted)
    if found.model_identity != fitted.model_identity:
        raise SpecMismatchError(
            f"the backbone at hand is not the one that the model was fitted on: {describe_differences(different)}; "
            "name the right weights by --weights (weights=...)",
            different,
        )
    if not different:
        return None
    return f"features differ from those of the fit within the drift bound: {describe_differences(different)}"


def _finding(embedder: ImageEmbedder, request: FeatureRequest, spec: FeatureSpec, store: FeatureStore) -> ImageEmbedder:
    """Return an embedder that finds in the store, by their digests, the features that this machine has computed."""
    finding = copy.copy(embedder)
    cast(Any, finding).set_params(
        weights=request.weights,
        device=request.device,
        engine=request.engine,
        precision=request.precision,
        resize=request.resize,
        dtype=spec.dtype,
        store=store.path,
        input="key",
        on_error="raise",
        output="numpy",
    )
    finding.spec_ = spec
    return finding


def _skipped(rows: ModelRows, failures: dict[int, str]) -> list[Skipped]:
    beside = [Skipped(*failure) for images in rows.sources.values() for failure in images.failures]
    return [*beside, *(Skipped(rows.keys[row], failures[row]) for row in sorted(failures))]


def _judge(
    rows: ModelRows, there: npt.NDArray[np.intp], said: Said
) -> tuple[float | None, tuple[float, float] | None, Confusion | None]:
    """Compare predicted classes with a source's own, where it has some for images that were read."""
    source = rows.sources.get(None)
    labels = None if source is None else source.labels
    if source is not None and isinstance(labels, np.ndarray) and labels.dtype == np.bool_:
        names = source.label_classes or []
        right = [
            {name for name, mark in zip(names, labels[row], strict=True) if mark} == set(one)
            for row, one in zip(cast(list[int], there.tolist()), said.predicted, strict=True)
            if isinstance(one, list)
        ]
        return (sum(right) / len(right), share_interval(sum(right), len(right)), None) if right else (None, None, None)
    pairs = [
        (labels[row], one)
        for row, one in zip(cast(list[int], there.tolist()), said.predicted, strict=True)
        if isinstance(labels, list) and labels[row] and isinstance(one, str)
    ]
    if not isinstance(labels, list) or not pairs:
        return None, None, None
    classes = sorted({*(true for true, _ in pairs), *(one for _, one in pairs)})
    places = {name: place for place, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), np.int64)
    for true, one in pairs:
        counts[places[true], places[one]] += 1
    right = int(np.trace(counts))
    return (
        right / len(pairs),
        share_interval(right, len(pairs)),
        Confusion(classes=classes, counts=counts.tolist()),
    )


def _class_labels(rows: ModelRows, there: npt.NDArray[np.intp]) -> list[str]:
    """Return the class label of each row that was read, "" where it has none."""
    source = rows.sources.get(None)
    labels = None if source is None else source.labels
    return [labels[row] if isinstance(labels, list) else "" for row in cast(list[int], there.tolist())]


def _covered(rows: ModelRows, there: npt.NDArray[np.intp], said: Said) -> tuple[int, int] | None:
    """Count the labelled images whose set holds their label, and all of them."""
    if said.sets is None:
        return None
    pairs = [(label, among) for label, among in zip(_class_labels(rows, there), said.sets, strict=True) if label]
    return (sum(label in among for label, among in pairs), len(pairs)) if pairs else None


def _of_strangers(rows: ModelRows, there: npt.NDArray[np.intp], said: Said) -> list[str]:
    """Say how many images of classes that the model knows, and of others, are marked as unknown."""
    if said.unknown is None or not said.classes:
        return []
    known, labels = set(said.classes), _class_labels(rows, there)
    marks = list(zip(labels, cast(list[bool], said.unknown.tolist()), strict=True))
    strangers = [mark for label, mark in marks if label and label not in known]
    if not strangers:
        return []
    others = [mark for label, mark in marks if label in known]
    return [
        f"{sum(strangers)} of {len(strangers)} images whose label the model does not know are marked as unknown, and "
        f"{sum(others)} of {len(others)} of those whose label it knows"
    ]
