"""One network of a pass over images, whose forward pass serves several outputs, and the batches that it is given.

Layer: extraction; above the pipeline and jobs, below the runner.
"""

from __future__ import annotations

import time
from pathlib import Path

from embedkit.backbones import Backbone, run_together
from embedkit.extraction.job import Features, Job
from embedkit.extraction.pipeline import Identified, Pixels, Ready, Recipe
from embedkit.extraction.resolution import feature_spec, load
from embedkit.specs import require_equal


class Network:
    """The jobs that outputs of one network serve, in one way of preprocessing."""

    def __init__(
        self, jobs: list[Job], backbones: list[Backbone] | None, batch_size: int | None, memo_folder: Path
    ) -> None:
        self.jobs = jobs
        spec = jobs[0].spec
        self.recipe = Recipe(spec.decode, spec.preprocess)
        self.images = 0
        self.seconds = 0.0
        self._free: list[Pixels] = []  # no more than the stages run ahead of each other
        self._backbones = backbones
        self._batch_size = batch_size
        self._memo_folder = memo_folder

    @property
    def needs_torch(self) -> bool:
        """Whether it is more than a function of NumPy's."""
        return self.jobs[0].spec.backbone.weights != "none"

    @property
    def on_device(self) -> bool:
        """Whether something else than the cores of this machine computes."""
        if not self.needs_torch:
            return False
        if self._backbones is not None:
            return self._backbones[0].device != "cpu"
        from embedkit.backbones import resolve_device

        return resolve_device(self.jobs[0].request.device) != "cpu"

    def loaded(self) -> list[Backbone]:
        """Return one backbone a job, from memory or from its weights."""
        if self._backbones is None:
            asked = [job.request.pinned(job.spec) for job in self.jobs]
            self._backbones = load(asked, self._memo_folder, batch_size=self._batch_size)
            for job, backbone in zip(self.jobs, self._backbones, strict=True):
                require_equal(
                    feature_spec(job.request, backbone),
                    job.spec,
                    "the backbone is not the one that the memo of requests promised; run again with --rehash",
                )
        return self._backbones

    def new_batch(self, images: int) -> Batch:
        """Return an empty batch of a run over so many images, in memory of an earlier one where there is some."""
        backbone = self.loaded()[0]
        size = min(backbone.batch_size, images)
        while self._free:
            pixels = self._free.pop()
            if len(pixels) == size:  # else memory has run out since, and batches are smaller
                return Batch(self, pixels)
        return Batch(self, backbone.new_pixels(size))

    def take_back(self, batch: Batch) -> None:
        """Use the memory of a batch again; from any thread."""
        self._free.append(batch.pixels)

    def backbone_of(self, job: Job) -> Backbone | None:
        """Return the backbone of a job, if it was loaded."""
        return None if self._backbones is None else self._backbones[self.jobs.index(job)]


class Batch:
    """Images for one network, and the memory that their pixels are written into.

    Places are given out before the images are decoded. An image that turns out to be none leaves its place empty.

    Attributes
    ----------
    network : Network
    pixels : ndarray of shape (n, 3, height, width), uint8
    images : list of Ready
        One a place that was given out, and `jobs` those that wait for it.
    failed : set of int
        Places that stay empty.
    """

    def __init__(self, network: Network, pixels: Pixels) -> None:
        self.network = network
        self.pixels = pixels
        self.images: list[Ready] = []
        self.jobs: list[list[Job]] = []
        self.failed: set[int] = set()

    @property
    def is_full(self) -> bool:
        """Whether all places were given out."""
        return len(self.images) == len(self.pixels)

    def place(self, image: Identified, jobs: list[Job]) -> int:
        """Give out the next place."""
        self.images.append(Ready(image.row, image.digest))
        self.jobs.append(jobs)
        return len(self.images) - 1

    def close_ranks(self) -> None:
        """Move images up to the places that stay empty."""
        if not self.failed:
            return
        kept = [place for place in range(len(self.images)) if place not in self.failed]
        for to, place in enumerate(kept):
            if to != place:
                self.pixels[to] = self.pixels[place]
        self.images = [self.images[place] for place in kept]
        self.jobs = [self.jobs[place] for place in kept]
        self.failed = set()


def run_batch(batch: Batch, images: int) -> tuple[Batch, list[Features], float]:
    """Return a batch of a run over so many images, the features for each of its network's jobs, and the seconds."""
    backbones = batch.network.loaded()
    if batch.network.needs_torch:
        from embedkit.backbones import use_one_thread

        use_one_thread()
    started = time.perf_counter()
    batch.close_ranks()
    features = run_together(backbones, batch.pixels[: len(batch.images)], images)
    batch.network.take_back(batch)
    return batch, features, time.perf_counter() - started
