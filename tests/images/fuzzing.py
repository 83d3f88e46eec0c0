"""Decode damaged image files and account for every one; run by test_fuzz.py in a process with little memory.

    python tests/images/fuzzing.py SEED COUNT MEGABYTES

prints one JSON object: how many files came to what.
"""

from __future__ import annotations

import collections
import faulthandler
import io
import json
import random
import resource
import sys
import time

import numpy as np
from PIL import Image

from embedkit.errors import UndecodableImageError, UnreadableImageError
from embedkit.images import decode
from embedkit.specs import DecodeSpec

SPECS = (DecodeSpec(), DecodeSpec(decoder="pillow"))
SECONDS_A_FILE = 30


def photo(height: int = 48, width: int = 64) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(0, 16, (height, width, 3))
    return Image.fromarray((np.stack([x * 3, y * 4, x + y], axis=-1) + noise).clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def originals() -> dict[str, list[bytes]]:
    """Return small valid files of eight formats, in several modes each."""
    rgb = photo()
    rgba = rgb.copy()
    rgba.putalpha(rgb.convert("L"))
    grey16 = Image.fromarray((np.arange(48 * 64, dtype=np.uint16) * 21).reshape(48, 64))
    palette = rgb.quantize(32)
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [rgb, rgb.rotate(90), rgb.rotate(180)]
    return {
        "JPEG": [
            encoded(rgb, "JPEG"),
            encoded(rgb, "JPEG", progressive=True, exif=exif),
            encoded(rgb.convert("L"), "JPEG", restart_marker_rows=1),
            encoded(rgb.convert("CMYK"), "JPEG"),
        ],
        "MPO": [encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])],
        "PNG": [
            encoded(rgb, "PNG"),
            encoded(rgba, "PNG", exif=exif),
            encoded(palette, "PNG", transparency=b"\x00\x80\xff"),
            encoded(grey16, "PNG"),
            encoded(rgb, "PNG", save_all=True, append_images=frames[1:]),
        ],
        "GIF": [encoded(palette, "GIF"), encoded(rgb, "GIF", save_all=True, append_images=frames[1:])],
        "WEBP": [encoded(rgb, "WEBP", exif=exif), encoded(rgba, "WEBP", lossless=True)],
        "TIFF": [
            encoded(rgb, "TIFF"),
            encoded(rgb, "TIFF", compression="tiff_lzw"),
            encoded(rgb, "TIFF", compression="jpeg"),
            encoded(rgba, "TIFF", compression="tiff_deflate"),
            encoded(rgb.convert("1"), "TIFF", compression="group4"),
            encoded(grey16, "TIFF"),
        ],
        "BMP": [encoded(rgb, "BMP"), encoded(palette, "BMP")],
        "PPM": [encoded(rgb, "PPM"), encoded(rgb.convert("L"), "PPM")],
    }


def truncate(data: bytes, rng: random.Random, pool: list[bytes]) -> bytes:
    return data[: rng.randrange(len(data))]


def flip(data: bytes, rng: random.Random, pool: list[bytes]) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 32))):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def splice(data: bytes, rng: random.Random, pool: list[bytes]) -> bytes:
    other = rng.choice(pool)
    start = rng.randrange(len(other))
    piece = other[start : start + rng.randrange(1, 512)]
    at = rng.randrange(len(data))
    return data[:at] + piece + data[at + rng.choice((0, len(piece))) :]


def edit_header(data: bytes, rng: random.Random, pool: list[bytes]) -> bytes:
    damaged = bytearray(data)
    at = rng.randrange(min(len(data), 256))
    value = rng.choice(
        (
            b"\x00",
            b"\xff",
            b"\x7f",
            b"\xff\xff",
            b"\x00\x01",
            b"\xff\xff\xff\xff",
            b"\x7f\xff\xff\xff",
            b"\x00\x00\x40\x00",
        )
    )
    damaged[at : at + len(value)] = value
    return bytes(damaged)


MUTATIONS = (truncate, flip, splice, edit_header)


def half(height: int, width: int) -> tuple[int, int]:
    return max(height // 4, 1), max(width // 4, 1)


def main(seed: int, count: int, megabytes: int) -> dict[str, object]:
    rng = random.Random(seed)
    files = originals()
    pool = [data for kind in files.values() for data in kind]
    kinds = sorted(files)
    outcomes: collections.Counter[str] = collections.Counter()
    reasons: collections.Counter[str] = collections.Counter()
    slowest = 0.0
    resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
    for number in range(count):
        kind = kinds[number % len(kinds)]
        mutate = MUTATIONS[number // len(kinds) % len(MUTATIONS)]
        data = mutate(rng.choice(files[kind]), rng, pool)
        faulthandler.dump_traceback_later(SECONDS_A_FILE, exit=True)  # a hang ends the process with a traceback
        started = time.monotonic()
        try:
            pixels = decode(data, SPECS[number // 7 % 2], target=half)
            assert pixels.dtype == np.uint8
            assert pixels.ndim == 3
            assert pixels.shape[2] == 3
            assert pixels.size
            outcomes["decoded"] += 1
        except UndecodableImageError as error:
            outcomes["undecodable"] += 1
            reasons[str(error)] += 1
        except UnreadableImageError as error:
            outcomes["out of memory"] += 1
            reasons[str(error)] += 1
        slowest = max(slowest, time.monotonic() - started)
        faulthandler.cancel_dump_traceback_later()
    return {
        "files": count,
        "outcomes": outcomes,
        "slowest": slowest,
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "reasons": reasons.most_common(),
    }


if __name__ == "__main__":
    json.dump(main(*map(int, sys.argv[1:4])), sys.stdout)
