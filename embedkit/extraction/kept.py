"""A network that is kept for the next call.

Layer: extraction; above the rooms, below the embedder.
"""

from __future__ import annotations

from collections.abc import Sequence

from embedkit.backbones import Backbone, FeatureRequest
from embedkit.files import FileIdentity


class KeptBackbone:
    """A loaded network, the requests that it answers, and how its files of weights were then.

    Parameters
    ----------
    requests : sequence of FeatureRequest
    batch_size : int or None
        As it was loaded.
    backbone : Backbone
    """

    def __init__(self, requests: Sequence[FeatureRequest], batch_size: int | None, backbone: Backbone) -> None:
        self._asked = [(request.to_dict(), batch_size) for request in requests]
        self.backbone = backbone
        self._files = [FileIdentity.at(path) for path in backbone.weights_files]

    def of(self, request: FeatureRequest, batch_size: int | None) -> Backbone | None:
        """Return the network, if it is the one that is asked for and its files are as they were."""
        if (request.to_dict(), batch_size) not in self._asked:
            return None
        unchanged = [FileIdentity.at(path) for path in self.backbone.weights_files] == self._files
        return self.backbone if unchanged else None
