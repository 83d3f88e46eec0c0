"""The preprocessor of one PreprocessSpec: resize, then crop or pad, uint8 in and uint8 out.

Layer: preprocess. Imports numpy, Pillow and specs; torch only when a fast resize runs.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import UsageError
from embedkit.preprocess.geometry import check_geometry, crop_offset, kept_part, padding_colour, resized_size
from embedkit.preprocess.resize import EXACT_INTERPOLATIONS, FAST_INTERPOLATIONS, resize_exact, resize_fast
from embedkit.preprocess.views import View, draw_view
from embedkit.specs import PreprocessSpec

LARGEST_RESIZED = 2**26
"""Pixels of a resized image beyond which only the part that the crop keeps is made.

A file of a few KB may hold 20,000 pixels in one row; resized to 256 rows before the crop, as timm does it, they would
take 4 GB. Such an image has sides in a ratio of 1000 or more; its pixels are close to timm's, not equal.
"""

_SIZES = 256
"""Sizes of images that are remembered; each is asked for three times."""


class Preprocessor:
    """Turn RGB pixels into what the network eats, not yet normalised.

    A call changes nothing that another one sees, and may run in many threads at once: both ways of resizing release the
    GIL and work on the calling thread alone, so n threads use n cores whatever ``torch.get_num_threads()`` says.

    Parameters
    ----------
    spec : PreprocessSpec

    Raises
    ------
    UsageError
        The spec names a crop mode or interpolation that this way of resizing does not have.
    """

    def __init__(self, spec: PreprocessSpec) -> None:
        check_geometry(spec)
        known = FAST_INTERPOLATIONS if spec.resize == "fast" else tuple(EXACT_INTERPOLATIONS)
        if spec.interpolation not in known:
            advice = "; resize='exact' has it" if spec.interpolation in EXACT_INTERPOLATIONS else ""
            raise UsageError(
                f"interpolation is {spec.interpolation!r}, expected one of {', '.join(known)} "
                f"with resize={spec.resize!r}{advice}"
            )
        self.spec = spec
        self._resize = resize_fast if spec.resize == "fast" else resize_exact
        self._size_of = functools.lru_cache(_SIZES)(functools.partial(resized_size, spec))

    def __call__(
        self, pixels: NDArray[np.uint8], digest: bytes | None = None, out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """Resize and crop one image.

        Parameters
        ----------
        pixels : uint8 (h, w, 3)
            RGB, 0 to 255.
        digest : bytes, optional
            The identity of the image, which a random view is drawn by.
        out : uint8 (3, H, W), optional
            Where the outcome is written, such as its place in a batch.

        Returns
        -------
        uint8 (3, H, W)
            RGB, 0 to 255. `out`, or a view of a new array laid out (H, W, 3), which is what networks in channels-last
            memory format read: a place in a batch of that layout is written fastest.

        Raises
        ------
        UsageError
            `pixels` is not uint8 (h, w, 3) with at least one pixel.
        """
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
            raise UsageError(
                f"pixels are {pixels.dtype} {pixels.shape}, expected uint8 (h, w, 3) with at least one pixel: "
                "decode the image to RGB first"
            )
        if out is None:
            out = np.empty((*self.spec.input_size, 3), np.uint8).transpose(2, 0, 1)
        if self.spec.view:
            if digest is None:
                raise UsageError(f"view is {self.spec.view}, which is drawn by an image's digest, and none was given")
            out[:] = self._view(pixels, draw_view(digest, self.spec.view, self.spec.view_seed)).transpose(2, 0, 1)
            return out
        size = self.resized(pixels.shape[0], pixels.shape[1])
        if size[0] * size[1] > LARGEST_RESIZED:
            resized = self._resize_kept_part(pixels, size)
        else:
            resized = self._resize(np.ascontiguousarray(pixels), size, self.spec.interpolation)
        crop_or_pad(resized, padding_colour(self.spec), out.transpose(1, 2, 0))
        return out

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) in pixels that an image of this size is resized to, before the crop."""
        return self._size_of(height, width)

    def _view(self, pixels: NDArray[np.uint8], view: View) -> NDArray[np.uint8]:
        top, left, height, width = view.box(pixels.shape[0], pixels.shape[1])
        part = np.ascontiguousarray(pixels[top : top + height, left : left + width])
        resized = self._resize(part, self.spec.input_size, self.spec.interpolation)
        return view.coloured(resized[:, ::-1] if view.flipped else resized)

    def _resize_kept_part(self, pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
        top, height = kept_part(size[0], self.spec.input_size[0])
        left, width = kept_part(size[1], self.spec.input_size[1])
        box = (
            left * pixels.shape[1] / size[1],
            top * pixels.shape[0] / size[0],
            (left + width) * pixels.shape[1] / size[1],
            (top + height) * pixels.shape[0] / size[0],
        )
        return resize_exact(np.ascontiguousarray(pixels), (height, width), self.spec.interpolation, box)


def crop_or_pad(pixels: NDArray[np.uint8], colour: tuple[int, int, int], out: NDArray[np.uint8]) -> None:
    """Cut the centre out of an image, or set the image into the centre of a coloured frame, axis by axis.

    Parameters
    ----------
    pixels : uint8 (h, w, 3)
    colour : (int, int, int)
        RGB of the frame, 0 to 255.
    out : uint8 (height, width, 3)
        Where it is written; its size is the size wanted.
    """
    height, width = out.shape[:2]
    top, left = crop_offset(pixels.shape[0], height), crop_offset(pixels.shape[1], width)
    inside = pixels[max(top, 0) : max(top, 0) + height, max(left, 0) : max(left, 0) + width]
    if inside.shape[:2] == (height, width):
        out[:] = inside
        return
    out[:] = colour
    out[max(-top, 0) : max(-top, 0) + inside.shape[0], max(-left, 0) : max(-left, 0) + inside.shape[1]] = inside
