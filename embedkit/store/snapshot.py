"""What a reader of a feature set sees: the parts that were there when it last looked.

Layer: above parts and index; below stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from embedkit.errors import DamagedPartError
from embedkit.store.index import DigestIndex
from embedkit.store.parts import Part


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a reader sees.

    Attributes
    ----------
    parts : dict of number -> Part
        The sound parts. Numbers are given once in the life of a feature set.
    index : DigestIndex
    reasons : dict of file name -> {digest: reason}
        The sound files of undecodable digests.
    damaged : dict of file name -> error
    """

    parts: dict[int, Part] = field(default_factory=dict[int, Part])
    index: DigestIndex = field(default_factory=DigestIndex.empty)
    reasons: dict[str, dict[bytes, str]] = field(default_factory=dict[str, dict[bytes, str]])
    damaged: dict[str, DamagedPartError] = field(default_factory=dict[str, DamagedPartError])

    @property
    def names(self) -> set[str]:
        """Names of all the files that were looked at."""
        return {part.name for part in self.parts.values()} | self.reasons.keys() | self.damaged.keys()
