"""Small photo-like images for tests: distinct, decodable, quick to embed."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

# A network of timm's that exists for tests: 0.4 M parameters.
MODEL = "test_resnet"


def make_photo(seed: int, *, tint: int = 0, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """Return an RGB image of smooth noise whose colour leans towards one of three tints."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 160, (6, 5, 3), dtype=np.uint8)
    small[..., tint % 3] += 80
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def make_folder(folder: Path, classes: dict[str, int], *, suffix: str = ".png") -> Path:
    """Write a folder of images, one sub-folder a class."""
    seed = 0
    for tint, (name, count) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            make_photo(seed, tint=tint).save(folder / name / f"{number:03d}{suffix}")
            seed += 1
    return folder


def make_manifest(folder: Path, classes: dict[str, int], *, test: int = 2, val: int = 0) -> Path:
    """Write a folder of images and a manifest whose last images of each class are the test split."""
    make_folder(folder, classes)
    manifest = folder / "split.csv"
    with manifest.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "split", "weight"))
        for name, count in classes.items():
            for number in range(count):
                split = "test" if number >= count - test else "val" if number < val else "train"
                writer.writerow((f"{name}/{number:03d}.png", name, split, number / 2))
    return manifest
