"""demo: the whole way on images that come with scikit-learn, without any download.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import numpy as np

from embedkit.extraction import Progress
from embedkit.files import commit_to
from embedkit.results import DemoResult
from embedkit.text import csv_text
from embedkit.workflows.extract import extract
from embedkit.workflows.probe import probe

# scikit-learn's digits are 8 x 8 pixels of 17 grey levels; as files they are scaled up, so that people can see them.
_SCALE = 8
_GREY_LEVELS = 16
_TEST_FRACTION = 0.3


def demo(folder: str | os.PathLike[str] = "embedkit-demo", *, progress: Progress | None = None) -> DemoResult:
    """Render scikit-learn's digits as image files, extract features with the bundled backbone, and probe them.

    A second call finds every feature in the store and puts no image through the network.

    Parameters
    ----------
    folder : path
        Where images, store and feature file go; created if it is missing.
    progress : callable, optional

    Returns
    -------
    DemoResult
    """
    folder = Path(folder)
    manifest = folder / "digits" / "split.csv"
    if not manifest.exists():
        _render_digits(manifest)
    feature_file, store = folder / "digits.h5", folder / "store"
    extraction = extract(manifest, store=store, output=feature_file, progress=progress)
    report = probe(feature_file, estimator=("logistic", "svm", "pca+logistic"), store=store, progress=progress)
    return DemoResult(
        manifest=str(manifest),
        feature_file=str(feature_file),
        store=str(store),
        extraction=extraction,
        report=report,
        origin=report.origin,
    )


def _render_digits(manifest: Path) -> None:
    """Write one PNG a digit, in a folder a class, and a manifest that divides them into train and test."""
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
    rows: list[tuple[str, str, str]] = []
    for number, (image, label) in enumerate(zip(images, digits.target.tolist(), strict=True)):
        path = manifest.parent / str(label) / f"digit_{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        side = image.shape[0] * _SCALE
        Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC).save(path)
        rows.append((path.relative_to(manifest.parent).as_posix(), str(label), "test" if number in test else "train"))
    # Written last: the manifest stands for a complete set of images.
    table = csv_text([("path", "label", "split"), *rows])
    commit_to(manifest, [table.encode("utf-8")], sealed=False)
