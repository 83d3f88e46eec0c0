"""How far features stray from fp32 torch, measured on a fixed set of images that are drawn, not read.

Layer: backbones. Imports numpy; neither torch nor timm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Plane = NDArray[np.float64]

IMAGES = 32
LARGEST_DRAWN = 256
WORST_BOUND = 0.99
MEAN_BOUND = 0.998
"""What `auto` accepts. With these, 2 to 12 of 567 predictions of a linear probe changed, as many to the better."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Cosines between features and reference, image by image, after subtracting the reference's mean feature.

    Without the subtraction the figures flatter: features of one network share most of their direction.

    Attributes
    ----------
    worst, mean : float
        -1 to 1; NaN counts as -1.
    """

    worst: float
    mean: float

    @property
    def acceptable(self) -> bool:
        """Whether `auto` may use what drifts so far."""
        return self.worst >= WORST_BOUND and self.mean >= MEAN_BOUND


def centred_cosines(
    features: NDArray[np.float32], reference: NDArray[np.float32], centre: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return the cosine of each row with its reference, both less the reference's mean row.

    Parameters
    ----------
    features, reference : float32 (n, d)
    centre : float64 (d,), optional
        The mean row, where there are more rows than these.

    Returns
    -------
    float64 (n,)
        -1 to 1, and -1 where a row is not finite. Two rows that both equal the mean have cosine 1.
    """
    middle = np.asarray(np.mean(reference, axis=0, dtype=np.float64) if centre is None else centre)
    left, right = features.astype(np.float64) - middle, reference.astype(np.float64) - middle
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    products = np.einsum("ij,ij->i", left, right)
    equal = (left == right).all(axis=1)
    cosines = np.where(equal, 1.0, np.divide(products, norms, out=np.full(len(norms), -1.0), where=norms > 0))
    return np.where(np.isfinite(cosines), cosines, -1.0)


def measure_drift(features: NDArray[np.float32], reference: NDArray[np.float32]) -> Drift:
    """Compare features with fp32 torch's of the same images."""
    cosines = centred_cosines(features, reference)
    return Drift(worst=float(cosines.min()), mean=float(cosines.mean()))


def drift_images(height: int, width: int) -> NDArray[np.uint8]:
    """Draw the fixed set: 32 images, four each of eight kinds of scene.

    Clouds, stripes, checks, dots, rings, flowers, shaded balls and horizons, each in two colours of moderate
    saturation, with 1/f noise over it (the spectrum of natural images) and grain of up to 10 levels. The kinds spread
    the features of trained networks almost as far as photos do, and texture everywhere keeps rounding errors from
    adding up as they do on flat colour, so that the drift found here is that on photos or a little more: whole
    networks in bf16, worst and mean, here and on 32 photos of three sets: mobilenetv2 0.9938 / 0.9985 and 0.9958 to
    0.9974 / 0.9982 to 0.9991, vit_tiny 0.9988 / 0.9995 and 0.9995 to 0.9998 / 0.9998 to 0.9999.

    Only ``Generator.random`` is drawn from, whose stream numpy keeps.

    Parameters
    ----------
    height, width : int
        In pixels. Beyond `LARGEST_DRAWN` on the longer side, pixels are drawn larger.

    Returns
    -------
    uint8 (32, 3, height, width)
        Laid out channels last.
    """
    scale = max(1.0, max(height, width) / LARGEST_DRAWN)
    drawn = math.ceil(height / scale), math.ceil(width / scale)
    rows = np.arange(height) * drawn[0] // height
    columns = np.arange(width) * drawn[1] // width
    images = np.empty((IMAGES, height, width, 3), np.uint8)
    for index in range(IMAGES):
        scene = _draw(np.random.Generator(np.random.PCG64(index)), index % 8, *drawn)
        images[index] = scene[rows][:, columns]
    return images.transpose(0, 3, 1, 2)


def _draw(rng: np.random.Generator, kind: int, height: int, width: int) -> NDArray[np.uint8]:
    """Draw one scene: a pattern between 0 and 1 decides between two colours, clouds and grain are added."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    pattern = _PATTERNS[kind](rng, x, y)
    first, second = _colour(rng), _colour(rng)
    image = pattern[..., None] * first + (1 - pattern[..., None]) * second
    image += (15 + 35 * rng.random()) * _clouds(rng, height, width)
    image += 20 * rng.random() * (rng.random(image.shape) - 0.5)
    return np.clip(image, 0, 255).astype(np.uint8)


def _colour(rng: np.random.Generator) -> _Plane:
    """Return a colour of any brightness and moderate saturation, as surfaces have."""
    return 255 * (0.6 * rng.random() + 0.4 * rng.random(3))


def _clouds(rng: np.random.Generator, height: int, width: int) -> _Plane:
    """Return three correlated planes of 1/f noise, mean 0 and standard deviation about 1."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    planes: list[_Plane] = []
    for _ in range(3):
        spectrum = np.exp(2j * np.pi * rng.random(frequency.shape)) / frequency ** (1 + 0.4 * rng.random())
        plane = np.fft.irfft2(spectrum, s=(height, width))
        planes.append(plane / max(float(plane.std()), 1e-12))
    return np.stack([0.8 * planes[0] + 0.4 * plane for plane in planes], axis=2)


def _turned(rng: np.random.Generator, x: _Plane, y: _Plane) -> tuple[_Plane, _Plane]:
    angle = np.pi * rng.random()
    return np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x


def _cloud_scene(rng: np.random.Generator, x: _Plane, y: _Plane) -> _Plane:
    return np.zeros_like(x)


def _stripes(rng: np.random.Generator, x: _Plane, y: _Plane) -> _Plane:
    across, along = _turned(rng, x, y)
    waves = (3 + 30 * rng.random()) * across + 3 * rng.random() * np.sin(3 * along)
    return _step(8 * np.sin(waves))


def _checks(rng: np.random.Generator, x: _Plane, y: _Plane) -> _Plane:
    across, along = _turned(rng, x, y)
    frequency = 4 + 20 * rng.random()
    return (np.sin(frequency * across) * np.sin(frequency * along) > 0).astype(float)


def _dots(rng: np.random.Generator, x: _Plane, y: _Plane) -> _Plane:
    frequency = 5 + 25 * rng.random()
    bumps = np.sin(frequency * x + np.sin(5 * y)) + np.sin(frequency * y + np.sin(4 * x))
    return (bumps > 0.6 + rng.random()).astype(float)


def _rings(rng: np.random.Generator, x: _Plane, y: _Plane) -> _Plane:
    distance = np.hypot(x - rng.random() + 0.5, y - rng.random() + 0.5)
    return (1 + np.sin((8 + 30 * rng.random()) * distance)) / 2


def _flower(rng: np.random.Generator, x: _Plane, y: _Plane) -> _Plane:
    left, top = 0.6 * (rng.random() - 0.5), 0.6 * (rng.random() - 0.5)
    petals = math.floor(4 + 8 * rng.random())
    edge = 0.35 + 0.3 * np.abs(np.cos(petals * np.arctan2(y - top, x - left) / 2))
    return _step(20 * (edge - np.hypot(x - left, y - top)))


def _ball(rng: np.random.Generator, x: _Plane, y: _Plane) -> _Plane:
    left, top = 0.6 * (rng.random() - 0.5), 0.6 * (rng.random() - 0.5)
    distance = ((x - left) / (0.2 + 0.6 * rng.random())) ** 2 + ((y - top) / (0.2 + 0.6 * rng.random())) ** 2
    light = 0.4 + 0.8 * np.sqrt(np.clip(1 - distance, 0, 1))
    return _step(30 * (1 - distance)) * light + 0.15 * (1 - y)


def _horizon(rng: np.random.Generator, x: _Plane, y: _Plane) -> _Plane:
    ridge = rng.random() - 0.5 + 0.2 * np.sin(5 * x + 6 * rng.random()) + 0.1 * np.sin(17 * x + 6 * rng.random())
    return _step(25 * (y - ridge))


def _step(values: _Plane) -> _Plane:
    return 1 / (1 + np.exp(-np.clip(values, -50, 50)))


_PATTERNS = (_cloud_scene, _stripes, _checks, _dots, _rings, _flower, _ball, _horizon)
