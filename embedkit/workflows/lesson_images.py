"""Which images a student is taught with: of several sources together, labels or not, and never a tested one.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.errors import EmptySourceError, LabelsError
from embedkit.evaluation import is_test
from embedkit.extraction import image_digests
from embedkit.images import ImageSource, open_source
from embedkit.results import Skipped
from embedkit.store import FeatureStore
from embedkit.workflows.origins import data_titles


@dataclass(slots=True, kw_only=True)
class LessonImages:
    """Images to teach with.

    Attributes
    ----------
    source : ImageSource
        All of them, each content once.
    digests : uint8 (n, 32)
    names : list of str
        What the sources are called.
    labels : list of str
        One an image, empty where there is none.
    skipped : list of Skipped
    notes : list of str
    """

    source: ImageSource
    digests: npt.NDArray[np.uint8]
    names: list[str]
    labels: list[str]
    skipped: list[Skipped] = field(default_factory=list[Skipped])
    notes: list[str] = field(default_factory=list[str])

    def without(self, failures: dict[int, str]) -> LessonImages:
        """Return them without those that a network could not be asked about."""
        if not failures:
            return self
        kept = np.ones(len(self.source), np.bool_)
        kept[list(failures)] = False
        skipped = [Skipped(self.source.keys[row], reason) for row, reason in sorted(failures.items())]
        if not kept.any():
            raise EmptySourceError(f"none of the {len(kept)} images can be read, the first: {skipped[0].reason}")
        return dataclasses.replace(
            self,
            source=self.source.some(kept),
            digests=self.digests[kept],
            labels=[label for label, keep in zip(self.labels, kept.tolist(), strict=True) if keep],
            skipped=[*self.skipped, *skipped],
        )


def open_lesson(
    targets: Sequence[Any],
    tested: npt.NDArray[np.uint8],
    store: FeatureStore,
    *,
    label_column: str | None,
    labels: bool,
) -> LessonImages:
    """Open the sources, and leave out what a split calls test and what is tested elsewhere.

    Parameters
    ----------
    targets : sequence of sources of images
    tested : uint8 (m, 32)
        Digests of images that the student will be judged on.
    store : FeatureStore
        Remembers digests.
    label_column : str, optional
    labels : bool
        Whether labels are to be learnt.

    Raises
    ------
    EmptySourceError
        No image is left.
    LabelsError
        Labels are to be learnt, and there are none, of one class only, or not one class an image.
    """
    sources = [open_source(target, label_column=label_column) for target in targets]
    titles = data_titles(list(dict.fromkeys(source.name for source in sources)))
    names = [titles[source.name] for source in sources]
    keys: list[str] = []
    images: list[Any] = []
    classes: list[str] = []
    digests: list[npt.NDArray[np.uint8]] = []
    skipped: list[Skipped] = []
    judged = {one.tobytes() for one in tested}
    seen: set[bytes] = set()
    notes: list[str] = []
    for source, name in zip(sources, names, strict=True):
        skipped += [Skipped(f"{name}/{key}", reason) for key, reason in source.failures]
        test = np.zeros(len(source), np.bool_) if source.split is None else is_test(source.split)
        if test.any():
            notes.append(f"{name}: {int(test.sum())} images of the test split are not trained on")
        found = image_digests(source, store)
        own = _classes_of(source, name) if labels else [""] * len(source)
        elsewhere = 0
        for row in np.flatnonzero(~test).tolist():
            digest = found[row].tobytes()
            elsewhere += digest in judged
            if found[row].any() and (digest in judged or digest in seen):
                continue
            seen.add(digest)
            keys.append(f"{name}/{source.keys[row]}")
            images.append(source.images[row])
            classes.append(own[row])
            digests.append(found[row])
        if elsewhere:
            notes.append(f"{name}: {elsewhere} images are tested by the evaluation, and not trained on")
    if not keys:
        raise EmptySourceError(
            f"no image is left to train on in {', '.join(names)}: name folders or manifests with images outside a "
            "test split"
        )
    if labels:
        _check_classes(classes, names)
    return LessonImages(
        source=ImageSource(name=" and ".join(names), keys=_unique(keys), images=images),
        digests=np.stack(digests),
        names=list(dict.fromkeys(names)),
        labels=classes,
        skipped=skipped,
        notes=notes,
    )


def as_targets(images: Any) -> list[Any]:
    """Return sources as a list: one path is one."""
    if isinstance(images, str | os.PathLike | ImageSource):
        return [images]
    return list(images)


def _unique(keys: list[str]) -> list[str]:
    """Tell apart keys of two sources of one name."""
    counts: dict[str, int] = {}
    found: list[str] = []
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
        found.append(key if counts[key] == 1 else f"{key} ({counts[key]})")
    return found


def _classes_of(source: ImageSource, name: str) -> list[str]:
    if source.labels is None:
        return [""] * len(source)
    if not isinstance(source.labels, list):
        raise LabelsError(
            f"{name} has labels of the kind {source.target_type!r}, and a student learns one class an image: name a "
            "column of classes by --label-column (label_column=...), or leave labels out"
        )
    return source.labels


def _check_classes(classes: list[str], names: list[str]) -> None:
    known = sorted(set(classes) - {""})
    if not known:
        raise LabelsError(
            f"labels are to be learnt, and no image of {', '.join(names)} has one: name a column by --label-column "
            "(label_column=...), or leave --labels (labels=True) out"
        )
    if len(known) < 2:
        raise LabelsError(
            f"all labels say {known[0]!r}, and a class is learnt beside another: add images of a second one, or leave "
            "--labels (labels=True) out"
        )
