"""The candidates of a selection: which network each needs, their features through the store, and what that has taken.

Layer: workflows; shared by select and layers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.backbones import FeatureRequest
from embedkit.errors import UsageError
from embedkit.extraction import Extraction, Progress, run_many
from embedkit.images import ImageSource
from embedkit.render import duration
from embedkit.specs import canonical_json
from embedkit.store import FeatureSet, FeatureStore
from embedkit.tables import FeatureTable
from embedkit.workflows.tables import table_in_memory
from embedkit.workflows.targets import backbone_names

_TRIED = 8
"""Images of the first round that say how fast the networks are, where there is a budget."""


@dataclass(slots=True)
class Looked:
    """What a network has cost so far.

    Attributes
    ----------
    rows : set of int
        Of the source: images that it was asked for.
    passes : int
        That were computed; the others were in the store.
    seconds : float
        These passes took, reading and decoding left out.
    parameters : int or None
    """

    rows: set[int] = field(default_factory=set[int])
    passes: int = 0
    seconds: float = 0.0
    parameters: int | None = None


class Contestants:
    """Candidates on the images of one source.

    Parameters
    ----------
    images : ImageSource
    requests : sequence of FeatureRequest
        One a candidate.
    store : FeatureStore
    progress : callable, optional

    Attributes
    ----------
    requests : dict of str to FeatureRequest
        By the name of the candidate.
    network_of : dict of str to str
        Candidate -> the name of its network.
    looked : dict of str to Looked
        By the name of the network.
    fingerprints : dict of str to str
        Of the candidates whose features were asked for.
    failures : dict of str to str
        Key of an image -> why it has no features.
    """

    def __init__(
        self, images: ImageSource, requests: Sequence[FeatureRequest], store: FeatureStore, progress: Progress | None
    ) -> None:
        self.images, self.store, self.progress = images, store, progress
        names = backbone_names(requests)
        self.requests = dict(zip(names, requests, strict=True))
        if len(self.requests) < len(requests):
            twice = next(one.model for one, name in zip(requests, names, strict=True) if names.count(name) > 1)
            raise UsageError(f"{twice} is a candidate twice; name each backbone once")
        first: dict[str, str] = {}
        for name, request in self.requests.items():
            first.setdefault(canonical_json(request.network.to_dict()), name)
        self.network_of = {
            name: first[canonical_json(request.network.to_dict())] for name, request in self.requests.items()
        }
        self.looked = {network: Looked() for network in first.values()}
        self.fingerprints: dict[str, str] = {}
        self.failures: dict[str, str] = {}
        self._digests: dict[int, bytes] = {}
        self._sets: dict[str, FeatureSet] = {}

    @property
    def networks(self) -> list[str]:
        """Names of the networks."""
        return list(self.looked)

    def features(
        self, networks: Sequence[str], rows: npt.NDArray[np.intp], ending: float | None = None
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Return the features of all candidates of some networks; rows that cannot be read are NaN.

        Raises
        ------
        UsageError
            These images, and a full pass of one network, would take longer than until `ending`; or features are not
            finite.
        """
        if ending is not None and not any(one.rows for one in self.looked.values()):
            self._run(networks, rows[:_TRIED])
            self._check_budget(networks, len(rows), ending)
        found: dict[str, npt.NDArray[np.float32]] = {}
        for name, extraction in self._run(networks, rows).items():
            X = np.full((len(rows), extraction.features.width), np.nan, np.float32)
            X[extraction.rows] = extraction.features.get(extraction.digests[extraction.rows])
            if not np.isfinite(X[extraction.rows]).all():
                raise UsageError(f"some features of {name} are not finite; leave it out, or ask for --precision fp32")
            found[name] = X
        return found

    def tables(self, network: str) -> dict[str, FeatureTable]:
        """Return the tables of all candidates of one network, of all images."""
        extractions = self._run([network], np.arange(len(self.images)))
        return {name: table_in_memory(self.images, extraction) for name, extraction in extractions.items()}

    def in_store(self, names: Sequence[str], rows: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Return those of some rows of which the store has the features of all these candidates.

        Parameters
        ----------
        names : sequence of str
            Candidates that were asked for before.
        rows : ndarray of shape (n,)
            Of the source, each asked for before.
        """
        digests = np.array([np.frombuffer(self._digests[row], np.uint8) for row in rows.tolist()])
        return rows[np.logical_and.reduce([self._sets[name].contains(digests) for name in names])]

    def together(self, rows: npt.NDArray[np.intp], groups: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Join the groups of rows that were asked for before where their images are equal.

        Parameters
        ----------
        rows : ndarray of shape (n,)
            Of the source.
        groups : ndarray of shape (n,)
            Numbers.
        """
        joined = groups.copy()
        seen: dict[bytes, int] = {}
        for place, row in enumerate(rows.tolist()):
            first = seen.setdefault(self._digests[row], int(joined[place]))
            if first != joined[place]:
                joined[joined == joined[place]] = first
        return joined

    def affordable(self, networks: Sequence[str], more: int, *, ending: float | None, share: float | None) -> int:
        """Return how many more images of some networks can be had, up to `more`, before all images of one of them.

        Parameters
        ----------
        networks : sequence of str
            At least two, which have seen the same images.
        more : int
        ending : float, optional
            All of it may last until then.
        share : float, optional
            Of the passes of running all networks in full, which all of it may take; counts where one round and one
            network in full have left room.
        """
        found = more
        if ending is not None:
            pace = self._expected(networks, 1) - self._expected(networks, 0)
            left = ending - time.monotonic() - self._expected(networks, 0)
            found = min(found, math.floor(left / pace)) if pace > 0 else found if left >= 0 else 0
        if share is not None:
            whole = len(self.images) * len(self.networks)
            last = len(self.images) - len(self.looked[networks[0]].rows)
            left = share * whole - self.looked_at() - last
            if left >= 0:
                found = min(found, math.floor(left / (len(networks) - 1)))
        return max(found, 0)

    def looked_at(self) -> int:
        """Count images that networks were asked for, each once a network."""
        return sum(len(one.rows) for one in self.looked.values())

    def _run(self, networks: Sequence[str], rows: npt.NDArray[np.intp]) -> dict[str, Extraction]:
        listed = rows.tolist()
        part = ImageSource(
            name=self.images.name,
            keys=[self.images.keys[row] for row in listed],
            images=[cast(Any, self.images.images[row]) for row in listed],
        )
        names = [name for name, network in self.network_of.items() if network in networks]
        extractions = dict(
            zip(
                names,
                run_many(part, [self.requests[name] for name in names], self.store, progress=self.progress),
                strict=True,
            )
        )
        for name, one in extractions.items():
            self.fingerprints[name], self._sets[name] = one.resolution.spec.fingerprint, one.features
            self.failures.update({part.keys[row]: reason for row, reason in one.failures.items()})
            parameters: Any = one.resolution.provenance.get("parameters")
            self.looked[self.network_of[name]].parameters = parameters if isinstance(parameters, int) else None
            self._digests.update((row, one.digests[place].tobytes()) for place, row in enumerate(listed))
        for network in networks:
            of_network = [one for name, one in extractions.items() if self.network_of[name] == network]
            passes = max(one.forward_passes for one in of_network)
            paces = [one.pace for one in of_network if one.pace and one.forward_passes]
            looked = self.looked[network]
            looked.rows.update(listed)
            looked.passes += passes
            looked.seconds += passes / max(paces) if paces else 0.0
        return extractions

    def _expected(self, networks: Sequence[str], more: int) -> float:
        """Return the seconds for more images of some networks and the slowest one's full pass, by the pace so far."""
        paces = {name: one.seconds / one.passes if one.passes else 0.0 for name, one in self.looked.items()}
        last = max((paces[name] * (len(self.images) - len(self.looked[name].rows)) for name in networks), default=0.0)
        return sum(paces[name] for name in networks) * more + last

    def _check_budget(self, networks: Sequence[str], rows: int, ending: float) -> None:
        needed = self._expected(networks, max(rows - _TRIED, 0))
        left = ending - time.monotonic()
        if needed > left:
            several = f"{len(networks)} network{'s' if len(networks) > 1 else ''}"
            raise UsageError(
                f"the budget is too small for one round: {rows} images through {several} and all images through the "
                f"chosen one take {duration(needed)} here, and {duration(max(left, 0.0))} are left; allow more "
                "by --budget, or name fewer models"
            )
