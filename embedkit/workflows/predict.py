"""predict: classes of new images, by a model file, with the very features it was fitted on.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.backbones import Backbone
from embedkit.embedder import ImageEmbedder
from embedkit.errors import DeviceError, OutputExistsError, SpecMismatchError, UsageError, WeightsNotFoundError
from embedkit.extraction import ExtractionRequest, Progress, resolve, run
from embedkit.images import open_source
from embedkit.persistence import Model, load_model
from embedkit.specs import FeatureSpec, describe_differences, differences
from embedkit.store import FeatureStore, commit_to
from embedkit.workflows.tables import image_failures, source_failures
from embedkit.workflows.targets import open_store


@dataclass(frozen=True, slots=True)
class Prediction:
    """One image's class.

    Attributes
    ----------
    path : str
        The image's key in its source.
    predicted : str
    score : float or None
        Probability of the class, or the value of the decision function for it; None where the estimator has neither.
    """

    path: str
    predicted: str
    score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """The classes of a source's images.

    Attributes
    ----------
    rows : list of Prediction
    score_name : {"probability", "decision value", "score"}
    skipped : list of (key, reason)
        Images that have no features, hence no class.
    notes : list of str
        Where the features were computed in another way than those of the fit.
    output : str or None
        The file that was written.
    """

    rows: list[Prediction]
    score_name: str
    skipped: list[tuple[str, str]]
    notes: list[str]
    output: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "predictions": [dataclasses.asdict(row) for row in self.rows],
            "score": self.score_name,
            "skipped": [{"path": key, "reason": reason} for key, reason in self.skipped],
            "notes": self.notes,
            "output": self.output,
        }

    def to_csv(self) -> str:
        """Return the rows as CSV with the columns path, predicted and the score's name."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(("path", "predicted", self.score_name))
        writer.writerows((row.path, row.predicted, "" if row.score is None else repr(row.score)) for row in self.rows)
        return buffer.getvalue()


def predict(
    model: str | os.PathLike[str],
    source: Any,
    *,
    weights: str | None = None,
    device: str = "auto",
    store: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    force: bool = False,
    trust_pickle: bool = False,
    progress: Progress | None = None,
) -> Predictions:
    """Classify images with a model file.

    Parameters
    ----------
    model : path
        A model file of `fit`.
    source : path, or sequence of images
    weights : path, optional
        Where the backbone's weights are now; accepted when they are the same weights.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:0"``.
    store : path, optional
        The folder of the store; by default the user's.
    output : path, optional
        A ``.csv`` or ``.json`` file to write.
    force : bool
        Replace an existing output.
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
    """
    if output is not None and Path(output).suffix.lower() not in (".csv", ".json"):
        raise UsageError(f"{output} is neither a .csv nor a .json file")
    if output is not None and os.path.lexists(output) and not force:
        raise OutputExistsError(f"{output} exists; name another file, or use --force (force=True) to replace it")
    loaded = load_model(model, trust_pickle=trust_pickle)
    embedder: ImageEmbedder = loaded.pipeline.steps[0][1]
    request = embedder.request()
    backbone = dataclasses.replace(request.backbone, device=device, weights=weights or request.backbone.weights)
    request = dataclasses.replace(request, backbone=backbone)
    images = open_source(source)
    feature_store = open_store(store)
    request, network, notes = _same_features(request, loaded.spec, feature_store, len(images))
    extraction = run(images, request, feature_store, backbone=network, progress=progress)
    rows = extraction.rows
    features = extraction.features.get(extraction.digests[rows]).astype(np.float32)
    labels, scores, score_name = _classify(loaded, features)
    result = Predictions(
        rows=[
            Prediction(images.keys[row], labels[place], None if scores is None else float(scores[place]))
            for place, row in enumerate(cast(list[int], rows.tolist()))
        ],
        score_name=score_name,
        skipped=[
            (failure.key, failure.reason) for failure in [*source_failures(images), *image_failures(images, extraction)]
        ],
        notes=notes,
        output=None if output is None else str(output),
    )
    if output is not None:
        is_csv = Path(output).suffix.lower() == ".csv"
        text = result.to_csv() if is_csv else json.dumps(result.to_dict(), indent=2, allow_nan=False)
        commit_to(Path(output), [text.encode("utf-8")], sealed=False)
    return result


def _same_features(
    request: ExtractionRequest, fitted: FeatureSpec, store: FeatureStore, images: int
) -> tuple[ExtractionRequest, Backbone | None, list[str]]:
    """Resolve the request to the features of the fit, or to the nearest that this machine can compute."""
    notes: list[str] = []
    try:
        pinned = request.pinned(fitted)
        resolution, network = resolve(pinned, store, expected_images=images)
    except WeightsNotFoundError as error:
        raise WeightsNotFoundError(f"{error}; if they have moved, name them by --weights (weights=...)") from error
    except DeviceError as error:
        pinned = request
        resolution, network = resolve(pinned, store, expected_images=images)
        notes.append(f"this machine cannot compute features as the fit did ({error})")
    found = differences(resolution.spec, fitted)
    if resolution.spec.model_identity != fitted.model_identity:
        raise SpecMismatchError(
            f"the backbone at hand is not the one that the model was fitted on: {describe_differences(found)}; "
            "name the right weights by --weights (weights=...)",
            found,
        )
    if found:
        notes.append(f"features differ from those of the fit within the drift bound: {describe_differences(found)}")
    return pinned, network, notes


def _classify(
    loaded: Model, features: npt.NDArray[np.float32]
) -> tuple[list[str], npt.NDArray[np.float64] | None, str]:
    """Return the class of each row and how sure the estimator is of it."""
    if not len(features):
        return [], None, "score"
    steps: Any = loaded.pipeline[1:]
    predicted = [str(label) for label in steps.predict(features).tolist()]
    if hasattr(steps, "predict_proba"):
        return (
            predicted,
            _of_predicted(np.asarray(steps.predict_proba(features)), steps.classes_, predicted),
            "probability",
        )
    if hasattr(steps, "decision_function"):
        values = np.asarray(steps.decision_function(features))
        if values.ndim == 1:  # of the second of two classes
            values = np.stack([-values, values], axis=1)
        return predicted, _of_predicted(values, steps.classes_, predicted), "decision value"
    return predicted, None, "score"


def _of_predicted(
    values: npt.NDArray[np.float64], classes: npt.NDArray[Any], predicted: list[str]
) -> npt.NDArray[np.float64]:
    column = {str(label): place for place, label in enumerate(classes.tolist())}
    return values[np.arange(len(values)), [column[label] for label in predicted]]
