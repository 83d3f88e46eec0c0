"""One network of a pass over images, whose forward pass serves several outputs, and the batches that it is given.

Layer: extraction; above the pipeline and jobs, below the runner.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embedkit.backbones import Backbone, run_together
from embedkit.extraction.job import Features, Job
from embedkit.extraction.pipeline import Ready, Recipe
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

    def backbone_of(self, job: Job) -> Backbone | None:
        """Return the backbone of a job, if it was loaded."""
        return None if self._backbones is None else self._backbones[self.jobs.index(job)]


@dataclass(slots=True)
class Batch:
    """Images for one network, each with the jobs that wait for it."""

    network: Network
    images: list[Ready]
    jobs: list[list[Job]]


def run_batch(batch: Batch, images: int) -> tuple[Batch, list[Features], float]:
    """Return a batch of a run over so many images, the features for each of its network's jobs, and the seconds."""
    backbones = batch.network.loaded()
    if batch.network.needs_torch:
        from embedkit.backbones import use_one_thread

        use_one_thread()
    started = time.perf_counter()
    features = run_together(backbones, np.stack([image.pixels for image in batch.images]), images)
    return batch, features, time.perf_counter() - started
