"""Threads against processes for reading, hashing, decoding and resizing into memory that a network reads.

    python -m benchmarks.decoding_processes [--tiny 4000] [--photos 400] [--workers 1,2,4] [--rounds 5]

Threads share one interpreter and its lock; processes have one each, a start, memory of their own, and messages. Both
do what `extract` does before the network (`identify`, `prepare`), in tasks of 16 images: threads write pixels into an
array, processes into shared memory, and send digests and errors back. Images of 32 x 32, where the lock matters most,
and photos of 500 x 375, in turns, in images a second; processes are started before the clock. Each run has as many
cores as workers where there are so many.

Then what the lock is held for: whether a second thread runs while the first is in one long call of each kind, and the
processor time of an image beside those calls, which is what all threads together have to share. Joining the calls of
hashing and decoding in one would save of it no more than `joined_ms`: what the second of them costs to be called.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
from PIL import Image

from benchmarks.extraction import make_photos
from benchmarks.host_path import make_images
from embedkit.extraction import pipeline
from embedkit.preprocess import Preprocessor
from embedkit.specs import DecodeSpec, PreprocessSpec

TASK = 16
PLACES = 512
"""Images that have a place at one moment."""

Task = tuple[int, list[str]]
"""The place of the first image, and where the images are."""


def recipe(side: int) -> pipeline.Recipe:
    spec = PreprocessSpec(
        input_size=(side, side), interpolation="bicubic", crop_pct=1.0 if side == 32 else 0.95, crop_mode="center",
        mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), resize="fast",
    )  # fmt: skip
    return pipeline.Recipe(DecodeSpec(decoder="simplejpeg", scale=2), spec)


class Work:
    """What is done with a task, by a thread or in a process."""

    def __init__(self, side: int, buffer: Any) -> None:
        self.recipe = recipe(side)
        self.pixels = np.ndarray((PLACES, side, side, 3), np.uint8, buffer).transpose(0, 3, 1, 2)

    def __call__(self, task: Task) -> list[bytes]:
        """Decode each image to its place; return the digests."""
        start, paths = task
        digests: list[bytes] = []
        for number, path in enumerate(paths, start):
            found = pipeline.identify(number, path)
            assert isinstance(found, pipeline.Identified)
            [error] = pipeline.prepare(found, [(self.recipe, self.pixels[number % PLACES])])
            assert error is None
            digests.append(found.digest)
        return digests


_of_process: Any = None


def begin(name: str, side: int) -> None:
    global _of_process
    torch.set_num_threads(1)
    memory = SharedMemory(name)
    _of_process = (memory, Work(side, memory.buf))  # the memory has to live as long as what is seen of it


def in_process(task: Task) -> list[bytes]:
    return _of_process[1](task)


def ready(_: int) -> int:
    time.sleep(0.05)  # so that every process takes one
    return os.getpid()


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    there = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(there)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, there)


def timed(executor: Executor, work: Callable[[Task], list[bytes]], paths: Sequence[str]) -> float:
    """Return the seconds that all images take, with so many tasks ahead that their places are free."""
    tasks = [(start, list(paths[start : start + TASK])) for start in range(0, len(paths), TASK)]
    started = time.perf_counter()
    done = list(pipeline.prefetch(executor, work, tasks, PLACES // TASK - 1))
    assert sum(map(len, done)) == len(paths)
    return time.perf_counter() - started


def compare(kind: str, paths: list[str], side: int, workers: int, rounds: int) -> dict[str, Any]:
    memory = SharedMemory(create=True, size=PLACES * side * side * 3)
    seconds: dict[str, list[float]] = {"threads": [], "processes": []}
    try:
        with on_cores(workers):
            context = multiprocessing.get_context("spawn")  # as wherever torch or HDF5 were used before
            started = time.perf_counter()
            with (
                ThreadPoolExecutor(workers) as threads,
                ProcessPoolExecutor(workers, context, begin, (memory.name, side)) as processes,
            ):
                pids = set(processes.map(ready, range(4 * workers)))
                start = time.perf_counter() - started
                work = Work(side, bytearray(memory.size))
                timed(threads, work, paths[:PLACES])
                timed(processes, in_process, paths[:PLACES])
                for _ in range(rounds):
                    seconds["threads"].append(timed(threads, work, paths))
                    seconds["processes"].append(timed(processes, in_process, paths))
                resident = [memory_mb(pid) for pid in pids]
            del work
    finally:
        memory.close()
        memory.unlink()
    rates = {name: len(paths) / statistics.median(taken) for name, taken in seconds.items()}
    pairs = zip(seconds["threads"], seconds["processes"], strict=True)
    return {
        "images": kind, "workers": workers, "cores": min(workers, cores()),
        "threads_per_second": rates["threads"], "processes_per_second": rates["processes"],
        "processes_to_threads": statistics.median(one / other for one, other in pairs),
        "start_of_processes_seconds": start, "mb_a_process": statistics.median(resident),
    }  # fmt: skip


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_mb(process: int) -> float:
    """Return what a process has of its own, in megabytes; not known outside Linux."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return float("nan")
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private")) / 1024


def calls() -> dict[str, Callable[[], Any]]:
    """Return one long call of each kind that an image goes through."""
    pixels = np.random.default_rng(0).integers(0, 256, (2000, 3000, 3), dtype=np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "jpeg", quality=95)
    data = written.getvalue()
    tensor = torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0)
    several = np.tile(pixels, (8, 1, 1))
    out = np.zeros_like(several)
    interpolate: Any = torch.nn.functional.interpolate
    return {
        "hashlib.sha256": lambda: hashlib.sha256(data),
        "simplejpeg.decode_jpeg": lambda: simplejpeg.decode_jpeg(data, "RGB"),
        "Pillow": lambda: Image.open(io.BytesIO(data)).load(),
        "resize by torch": lambda: interpolate(tensor, size=(1200, 1800), mode="bicubic", antialias=True),
        "copy by NumPy": lambda: np.copyto(out, several),
        "bytes.count": lambda: data.count(b"\xff\xda"),
    }


def beside(call: Callable[[], Any]) -> bool:
    """Say whether another thread was ever seen to run well within a call of this one."""
    seen: list[float] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            seen.append(time.perf_counter())
            time.sleep(0)

    looking = threading.Thread(target=look)
    looking.start()
    found = False
    for _ in range(10):
        time.sleep(0.01)
        began = time.perf_counter()
        call()
        ended = time.perf_counter()
        margin = (ended - began) / 100
        found = any(began + margin < moment < ended - margin for moment in seen[:])
        if found:
            break
    over.set()
    looking.join()
    return found


def under_lock(kind: str, paths: list[str], side: int, rounds: int) -> dict[str, Any]:
    """Take the processor time of images in one thread, and of reading, hashing, decoding and resizing them alone."""
    work, contents = Work(side, bytearray(PLACES * side * side * 3)), [Path(path).read_bytes() for path in paths]
    preprocessor = Preprocessor(work.recipe.preprocess)

    def all_of_it() -> None:
        for start in range(0, len(paths), TASK):
            work((start, paths[start : start + TASK]))

    def bare() -> None:
        for number, data in enumerate(contents):
            descriptor = os.open(paths[number], os.O_RDONLY)
            os.read(descriptor, len(data) + 1)
            os.close(descriptor)
            hashlib.sha256(data)
            rgb = simplejpeg.decode_jpeg(data, "RGB")
            preprocessor(rgb, None, work.pixels[number % PLACES])

    def hashing() -> None:
        for _ in contents:
            hashlib.sha256(b"").digest()

    taken: dict[str, list[float]] = {"all": [], "bare": [], "joined": []}
    for _ in range(rounds):
        for name, call in (("all", all_of_it), ("bare", bare), ("joined", hashing)):
            started = time.process_time()
            call()
            taken[name].append(1e3 * (time.process_time() - started) / len(paths))
    whole, rest = statistics.median(taken["all"]), statistics.median(taken["bare"])
    return {
        "images": kind, "processor_ms": whole, "of_which_calls_ms": rest, "beside_them_ms": whole - rest,
        "joined_ms": statistics.median(taken["joined"]),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", type=int, default=4_000, help="how many images of 32 x 32")
    parser.add_argument("--photos", type=int, default=400, help="how many of 500 x 375")
    parser.add_argument("--workers", default="", help="by commas; by default 1, 2, 4, 8, 16 up to twice the cores")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "decoding_processes.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    several = [int(text) for text in options.workers.split(",")] if options.workers else [1, 2, 4, 8, 16]
    record: dict[str, Any] = {"cores": cores(), "load": os.getloadavg()[0]}
    record["another_thread_runs_beside"] = {name: beside(call) for name, call in calls().items()}
    print(record["another_thread_runs_beside"], flush=True)
    record["rows"], record["under_lock"] = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_images(folder / "tiny", options.tiny)
        tiny = [str(path) for path in sorted((folder / "tiny").iterdir())]
        photos = make_photos(folder / "photos", (500, 375), options.photos)
        for kind, paths, side in (("32 x 32", tiny, 32), ("500 x 375", photos, 224)):
            record["under_lock"].append(under_lock(kind, list(paths), side, options.rounds))
            print(json.dumps(record["under_lock"][-1]), flush=True)
            for workers in several:
                if options.workers or workers <= 2 * cores():
                    row = compare(kind, list(paths), side, workers, options.rounds)
                    record["rows"].append(row)
                    print(json.dumps(row), flush=True)
    options.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
