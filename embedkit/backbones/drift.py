"""How far features stray from fp32 torch, measured on a fixed set of images that are drawn, not read.

Layer: backbones. Imports numpy; neither torch nor timm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IMAGES = 32
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


def centred_cosines(features: NDArray[np.float32], reference: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the cosine of each row with its reference, both less the reference's mean row.

    Parameters
    ----------
    features, reference : float32 (n, d)

    Returns
    -------
    float64 (n,)
        -1 to 1, and -1 where a row is not finite. Two rows that both equal the mean have cosine 1.
    """
    centre = reference.astype(np.float64).mean(axis=0)
    left, right = features.astype(np.float64) - centre, reference.astype(np.float64) - centre
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
    """Draw the fixed set: 32 images with what photos have - soft light, bodies with edges, texture and grain.

    Each image adds up, with its own seed: two colours blended along a random direction; four smooth waves of light; up
    to eight ellipses and boxes, some of them textured by stripes; grain of up to 12 grey levels. Contrast and
    brightness vary from dim and flat to harsh. Only ``Generator.random`` is drawn from, whose stream numpy keeps.

    Parameters
    ----------
    height, width : int
        In pixels.

    Returns
    -------
    uint8 (32, 3, height, width)
        Laid out channels last.
    """
    images = np.empty((IMAGES, height, width, 3), np.uint8)
    for index in range(IMAGES):
        images[index] = _draw(np.random.Generator(np.random.PCG64(index)), height, width)
    return images.transpose(0, 3, 1, 2)


def _draw(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    angle = 2 * np.pi * rng.random()
    blend = (1 + np.cos(angle) * x + np.sin(angle) * y)[..., None] / 2
    image = 255 * (rng.random(3) * blend + rng.random(3) * (1 - blend))
    for _ in range(4):
        across, down, phase = 6 * rng.random() - 3, 6 * rng.random() - 3, 2 * np.pi * rng.random()
        image += 40 * rng.random(3) * np.sin(np.pi * (across * x + down * y) + phase)[..., None]
    for _ in range(int(8 * rng.random()) + 1):
        image = _add_body(rng, image, x, y)
    image = 127.5 + (0.4 + 0.9 * rng.random()) * (image - 127.5) + 60 * (rng.random() - 0.5)
    image += 24 * rng.random() * (rng.random(image.shape) - 0.5)
    return np.clip(image, 0, 255).astype(np.uint8)


def _add_body(
    rng: np.random.Generator, image: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Paint an ellipse or a box, turned and partly transparent, plain or striped."""
    turn, left, top = np.pi * rng.random(), 2 * rng.random() - 1, 2 * rng.random() - 1
    along = (np.cos(turn) * (x - left) + np.sin(turn) * (y - top)) / (0.1 + 0.6 * rng.random())
    across = (np.cos(turn) * (y - top) - np.sin(turn) * (x - left)) / (0.1 + 0.6 * rng.random())
    inside = (np.hypot(along, across) < 1) if rng.random() < 0.5 else (np.maximum(abs(along), abs(across)) < 1)
    stripes = np.sign(np.sin((4 + 40 * rng.random()) * along)) * (rng.random() < 0.4)
    colour = 255 * rng.random(3) + 50 * rng.random() * stripes[..., None]
    opacity = (0.5 + 0.5 * rng.random()) * inside[..., None]
    return image * (1 - opacity) + colour * opacity
