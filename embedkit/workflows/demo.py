"""demo: what features are for, and the whole way from images to honest numbers, without any download.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.backbones import FeatureRequest
from embedkit.evaluation import share_interval
from embedkit.extraction import Progress
from embedkit.files import commit_to
from embedkit.results import Curve, CurveReport, DemoResult
from embedkit.text import csv_text
from embedkit.workflows.curve import curve
from embedkit.workflows.extract import extract
from embedkit.workflows.pages import write_page
from embedkit.workflows.patterns import PATTERNS, draw_pattern
from embedkit.workflows.probe import probe

# scikit-learn's digits are 8 x 8 pixels of 17 grey levels; as files they are scaled up, so that people can see them.
_SCALE = 8
_GREY_LEVELS = 16
_TEST_FRACTION = 0.3

_LABELS = (1, 3, 10, 30)
"""Labelled pictures a class; the last are all there are for training."""

_TESTED = 30
"""Pictures a class."""

_REQUESTS = (FeatureRequest(), FeatureRequest("pixels32"), FeatureRequest("colour-histogram"))
"""The backbone, and the floors that cost nothing: a second network with random weights would double the time."""

Picture = tuple[str, str, str, npt.NDArray[np.uint8]]
"""Name, label, split, pixels."""


def demo(folder: str | os.PathLike[str] = "embedkit-demo", *, progress: Progress | None = None) -> DemoResult:
    """Show what features are for on patterns, and the whole way on scikit-learn's digits, with the bundled backbone.

    A second call finds every feature in the store and puts no image through the network.

    Parameters
    ----------
    folder : path
        Where images, store, feature file and page go; created if it is missing.
    progress : callable, optional

    Returns
    -------
    DemoResult
    """
    folder = Path(folder)
    patterns, digits = folder / "patterns" / "split.csv", folder / "digits" / "split.csv"
    for manifest, pictures in ((patterns, _patterns), (digits, _digits)):
        if not manifest.exists():
            _write(manifest, pictures())
    feature_file, store = folder / "digits.h5", folder / "store"
    extraction = extract(digits, store=store, output=feature_file, progress=progress)
    report = probe(
        digits,
        _REQUESTS,
        estimator=("logistic", "svm", "pca+logistic"),
        floors=False,
        store=store,
        views=True,
        progress=progress,
    )
    labels = _by_labels(patterns, store, progress)
    page = write_page([labels, report], folder / "demo.html", force=True, store=store)
    return DemoResult(
        patterns=str(patterns),
        manifest=str(digits),
        feature_file=str(feature_file),
        store=str(store),
        page=str(page),
        extraction=extraction,
        labels=labels,
        report=report,
        origin=report.origin,
    )


def _by_labels(patterns: Path, store: Path, progress: Progress | None) -> CurveReport:
    report = curve(patterns, _REQUESTS, shots=_LABELS, floors=False, store=store, progress=progress)
    return dataclasses.replace(report, curves=[_with_interval_of_all(one) for one in report.curves])


def _with_interval_of_all(found: Curve) -> Curve:
    """Give the number of all labels, whose draws cannot differ, the interval that the tested pictures leave."""
    last = found.points[-1]
    interval = share_interval(round(last.mean * found.n_test), found.n_test)
    return dataclasses.replace(found, points=[*found.points[:-1], dataclasses.replace(last, interval=interval)])


def _patterns() -> Iterable[Picture]:
    random = np.random.default_rng(0)
    for label in PATTERNS:
        for number in range(_LABELS[-1] + _TESTED):
            split = "train" if number < _LABELS[-1] else "test"
            yield f"{number:02d}.png", label, split, draw_pattern(label, random)


def _digits() -> Iterable[Picture]:
    from PIL import Image
    from sklearn.datasets import load_digits  # pyright: ignore[reportUnknownVariableType]
    from sklearn.model_selection import train_test_split  # pyright: ignore[reportUnknownVariableType]

    digits = cast(Any, load_digits())
    images = np.rint(digits.images * (255 / _GREY_LEVELS)).astype(np.uint8)
    split = cast(
        list[Any],
        train_test_split(np.arange(len(images)), test_size=_TEST_FRACTION, stratify=digits.target, random_state=0),
    )
    test = set(split[1].tolist())
    for number, (image, label) in enumerate(zip(images, digits.target.tolist(), strict=True)):
        side = image.shape[0] * _SCALE
        scaled = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
        yield f"digit_{number:04d}.png", str(label), "test" if number in test else "train", scaled


def _write(manifest: Path, pictures: Iterable[Picture]) -> None:
    """Write one PNG a picture, in a folder a class, and a manifest that divides them into train and test."""
    from PIL import Image

    rows: list[tuple[str, str, str]] = []
    for name, label, split, pixels in pictures:
        path = manifest.parent / label / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        rows.append((f"{label}/{name}", label, split))
    # Written last: the manifest stands for a complete set of images.
    table = csv_text([("path", "label", "split"), *rows])
    commit_to(manifest, [table.encode("utf-8")], sealed=False)
