"""The ladder over one data set: its rungs one after another, and the weights of the highest that tuned blocks.

Layer: adaptation. Imports its room and files; torch when a rung above the first is asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embedkit.adaptation.maps import Maps, Prefix, Rows, cache_maps, row_bytes, specs_of
from embedkit.adaptation.memory import Peak
from embedkit.adaptation.pixels import Pixels
from embedkit.adaptation.settings import RUNGS, Rung, TuningSettings
from embedkit.adaptation.start import LinearHead, choose_penalty, fit_head
from embedkit.backbones import FeatureRequest
from embedkit.errors import AdaptationError, OutputExistsError, UsageError
from embedkit.extraction import Progress, Tick
from embedkit.files import commit_to
from embedkit.images import ImageSource
from embedkit.specs import canonical_json
from embedkit.store import FeatureStore

if TYPE_CHECKING:
    from embedkit.adaptation.rungs import Problem, Tuned
    from embedkit.adaptation.tail import Tail

_OF_CLASSIFIER: tuple[Rung, ...] = ("frozen", "head")
"""Rungs that work with any network."""

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Climbed:
    """A rung, and what it says of the rows that are judged.

    Attributes
    ----------
    tuned : Tuned
    logits : float32 (n_judged, classes)
    """

    tuned: Tuned
    logits: Logits


@dataclass(slots=True, kw_only=True)
class Ladder:
    """What climbing came to.

    Attributes
    ----------
    rungs : list of Climbed
    head : LinearHead
        Fitted on all training rows: the start.
    C : float
        Of its penalty.
    tail : Tail or None
        As the highest rung that tuned blocks left it.
    maps_bytes, prefix_passes, prefix_seconds
        Of the maps: bytes in the store, passes in this run, seconds.
    notes : list of str
    """

    rungs: list[Climbed]
    head: LinearHead
    C: float
    tail: Tail | None = None
    maps_bytes: int = 0
    prefix_passes: int = 0
    prefix_seconds: float = 0.0
    notes: list[str] = field(default_factory=list[str])


def rungs_of(until: Rung, settings: TuningSettings) -> tuple[Rung, ...]:
    """Return the rungs that are climbed."""
    if until not in RUNGS:
        raise UsageError(f"rung {until!r} is not known, expected {', '.join(RUNGS)}")
    return tuple(one for one in RUNGS[: RUNGS.index(until) + 1] if one not in settings.skip)


def check_tunable(request: FeatureRequest, until: Rung, settings: TuningSettings) -> None:
    """Refuse a network that cannot be tuned as it is asked for, before anything is computed; reads no weights.

    Raises
    ------
    AdaptationError
        It cannot be taken apart, or not there.
    """
    if not set(rungs_of(until, settings)) - set(_OF_CLASSIFIER):
        return
    from embedkit.adaptation.lowrank import linears
    from embedkit.adaptation.networks import depths_of, tunable_network

    network = tunable_network(dataclasses.replace(request, weights="random"), 2)
    depths = depths_of(network, settings.depths)
    if "lora" in rungs_of(until, settings) and not all(any(linears(network.blocks[-depth:])) for depth in depths):
        raise AdaptationError(
            f"LoRA is added to linear layers, and the blocks of {type(network.model).__name__} have none: leave it out "
            'by --skip lora (skip=("lora",))'
        )


def climb_ladder(
    X: npt.NDArray[np.float32],
    problem: Problem,
    judged: Rows,
    source: ImageSource,
    request: FeatureRequest,
    store: FeatureStore,
    *,
    until: Rung = "cached",
    settings: TuningSettings | None = None,
    weights: str = "",
    progress: Progress | None = None,
) -> Ladder:
    """Climb from the classifier on frozen features to tuned blocks.

    Parameters
    ----------
    X : float32 (n, width)
        The model's own features of each row.
    problem : Problem
    judged : ndarray of intp
        Rows whose logits are wanted; seen by no fit and no choice.
    source : ImageSource
        The image of each row.
    request : FeatureRequest
        Of the model.
    store : FeatureStore
        Keeps the maps; what an interrupted run goes on from lies in its memo folder.
    until : {"frozen", "head", "cached", "lora", "bias", "gradual", "full"}
    settings : TuningSettings, optional
    weights : str, optional
        Digest of those that gave `X`: the request has to mean the same.
    progress : callable, optional

    Raises
    ------
    AdaptationError
        The network cannot be taken apart, the disk is too small for the maps, or tuning diverges.
    """
    chosen = settings or TuningSettings()
    asked = rungs_of(until, chosen)
    began, cpu_began, peak = time.monotonic(), time.process_time(), Peak()
    C = choose_penalty(X, problem.y, problem.fit, problem.select)
    heads = (
        fit_head(X, problem.y, problem.fit, C, problem.classes),
        fit_head(X, problem.y, problem.train, C, problem.classes),
    )
    rungs = [_frozen(X, problem, judged, heads, began, cpu_began, peak)]
    found = Ladder(rungs=rungs, head=heads[1], C=C)
    if len(asked) == 1:
        return found
    from embedkit.adaptation import rungs as steps
    from embedkit.adaptation.networks import check_statistics, classifier_alone, depths_of, tunable_network
    from embedkit.adaptation.tail import Tail
    from embedkit.adaptation.training import logits_of
    from embedkit.adaptation.ways import epochs_of, in_bf16
    from embedkit.backbones import resolve_device  # it imports torch

    of_maps: dict[int, Any] = {}
    of_pixels: dict[int, Any] = {}
    named = ""
    if set(asked) - set(_OF_CLASSIFIER):
        network = tunable_network(request, problem.classes)
        if chosen.batch_norm == "train":
            check_statistics(network, request.model)
        depths = depths_of(network, chosen.depths)
        prefix = Prefix(
            request=request,
            layers={depth: network.layers[depth] for depth in depths},
            views=chosen.views,
            seed=chosen.random_state,
            weights=weights,
        )
        if set(asked) - {*_OF_CLASSIFIER, "full"}:
            maps = _cached(found, source, problem, prefix, store, progress)
            of_maps = {depth: functools.partial(maps.read, depth) for depth in depths}
            named = " ".join(map(maps.fingerprint, depths))
        if "full" in asked:
            pixels = Pixels(source, specs_of(prefix, store))
            of_pixels = {len(network.blocks): pixels.read}
            named = named or pixels.fingerprint
    reads = {rung: of_pixels if rung == "full" else of_maps for rung in asked[1:]}
    reads["head"] = {0: _Features(X)}
    tell = _Epochs(sum(epochs_of(len(reads[rung]), chosen) for rung in asked[1:]), progress)
    standing = rungs[0].tuned
    for rung in asked[1:]:
        head = rung == "head"
        tail = Tail(
            classifier_alone(X.shape[1], problem.classes) if head else tunable_network(request, problem.classes)
        ).to(resolve_device(request.device))
        of = hashlib.sha256(X.tobytes()).hexdigest() if head else f"{named} rank {chosen.rank}"
        folder = store.memo_folder / f"finetune-{_short(f'{rung} {of}', problem)}"
        tuned = steps.climb(
            rung,
            tail,
            reads[rung],
            heads,
            problem,
            chosen,
            below=standing,
            views=0 if head else chosen.views,
            of=of,
            checkpoints=folder,
            step=tell,
        )
        logits = rungs[-1].logits
        if tuned.supported:
            logits = logits_of(tail, reads[rung][tuned.depth], judged, bf16=in_bf16(chosen, tail.device.type))
            found.tail = found.tail if head else tail
        standing = tuned if tuned.supported else standing
        rungs.append(Climbed(tuned=tuned, logits=logits))
        found.notes += tuned.notes
        shutil.rmtree(folder, ignore_errors=True)
    return found


def write_weights(tail: Tail, path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write a tuned network with its classifier as safetensors, as `extract --weights` and timm read them.

    Raises
    ------
    OutputExistsError
        The file is there, and `force` was not given.
    """
    import safetensors.torch

    tail.merge()
    target = Path(path)
    if target.exists() and not force:
        raise OutputExistsError(f"{target} exists; name another file, or use --force (force=True) to replace it")
    tensors = {name: one.detach().cpu().contiguous() for name, one in tail.model.state_dict().items()}
    commit_to(target, [safetensors.torch.save(tensors)], sealed=False)
    return target


class _Features:
    """What enters a classifier alone: rows of features, which have no views."""

    def __init__(self, X: npt.NDArray[np.float32]) -> None:
        self._X = X

    def __call__(self, rows: Rows, views: npt.NDArray[np.intp] | int) -> npt.NDArray[np.float32]:
        return self._X[rows]


class _Epochs:
    """Counts epochs, in the terms of progress."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total, self._done, self._progress = total, 0, progress

    def __call__(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(Tick(self._total, min(self._done, self._total), 0, 0, of="fits"))


def _frozen(
    X: npt.NDArray[np.float32],
    problem: Problem,
    judged: Rows,
    heads: tuple[LinearHead, LinearHead],
    began: float,
    cpu_began: float,
    peak: Peak,
) -> Climbed:
    from embedkit.adaptation.judging import judged as said_of
    from embedkit.adaptation.rungs import Tuned

    tuned = Tuned(
        rung="frozen",
        state={},
        depth=0,
        head=heads[1],
        trial=None,
        kept=said_of(heads[0].logits(X[problem.compared]), problem.y[problem.compared]),
        trials=[],
        supported=True,
        seconds=time.monotonic() - began,
        cpu_seconds=time.process_time() - cpu_began,
        peak_bytes=peak.read(),
        parameters=heads[1].weight.size + heads[1].bias.size,
    )
    return Climbed(tuned=tuned, logits=heads[1].logits(X[judged]))


def _cached(
    found: Ladder,
    source: ImageSource,
    problem: Problem,
    prefix: Prefix,
    store: FeatureStore,
    progress: Progress | None,
) -> Maps:
    began = time.monotonic()
    maps, extractions = cache_maps(source, problem.train, prefix, store, progress=progress)
    found.prefix_seconds = time.monotonic() - began
    # The depths of one view share their passes.
    found.prefix_passes = sum(one.forward_passes for one in extractions) // len(prefix.layers)
    found.maps_bytes = sum(len(one.digests) * row_bytes(one.features.width) for one in extractions)
    return maps


def _short(of: str, problem: Problem) -> str:
    """Name what is tuned, not how: a run of more epochs takes up the trials of another."""
    rows = [problem.y.tolist(), problem.fit.tolist(), problem.select.tolist(), problem.beside.tolist()]
    return hashlib.sha256(canonical_json([of, rows]).encode()).hexdigest()[:16]
