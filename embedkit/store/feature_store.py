"""The feature store: a folder with one folder of immutable parts for each fingerprint (docs/format.md).

Layer: the top of the store.
"""

from __future__ import annotations

from pathlib import Path

from embedkit.files import DISK, Disk, Verify
from embedkit.specs import FeatureSpec
from embedkit.store import maintenance, verification
from embedkit.store.checked import CheckedFiles
from embedkit.store.layout import MEMO, features_folder, fingerprints, open_store, read_spec, touch_last_use
from embedkit.store.maintenance import GRACE, PACKED_BYTES, GcReport, PackReport
from embedkit.store.stored import FeatureSet
from embedkit.store.verification import RepairReport, StoreInfo, VerifyReport


class FeatureStore:
    """Features on disk, by spec and by digest of the image.

    What is committed stays: writers may be many, on many machines, and may be killed at any moment; nothing that was
    committed is lost, mixed up or changed by it.

    Parameters
    ----------
    path : str or Path
        A folder; new, empty or a store.
    create : bool
        Make the store when it is not there.
    verify : {"first", "always", "size"}
        When a part is compared with the SHA-256 in its name before it is read: at the first sight of it, as remembered
        by a memo beside the parts; once in every process; or never, comparing its length alone.
    disk : Disk
        The calls that change the disk; for tests.

    Raises
    ------
    StoreNotFoundError
        There is no store and `create` is false.
    StoreFormatError
        The path is something else, or a store of a newer major version.
    StoreWriteError
        The store cannot be made.
    """

    def __init__(self, path: str | Path, *, create: bool = True, verify: Verify = "first", disk: Disk = DISK) -> None:
        self._path = Path(path).absolute()
        self._verify: Verify = verify
        self._disk = disk
        CheckedFiles(self._path, verify)  # refuses an unknown way to verify
        self._root = open_store(self._path, create, disk)

    def __repr__(self) -> str:
        return f"FeatureStore({str(self._path)!r}, verify={self._verify!r})"

    @property
    def path(self) -> Path:
        """The folder."""
        return self._path

    @property
    def memo_folder(self) -> Path:
        """Where other rooms keep what they can compute again; need not exist. No maintenance touches it."""
        self._root.refuse_link(MEMO)
        return self._path / MEMO

    def features(self, spec: FeatureSpec) -> FeatureSet:
        """Return the features of a spec, none of them if nothing was written yet."""
        folder = features_folder(self._root, spec.fingerprint)
        if folder.exists():
            touch_last_use(folder)
        return FeatureSet(folder, spec, self._verify, self._disk)

    def fingerprints(self) -> list[str]:
        """List the fingerprints of the specs, sorted."""
        return fingerprints(self._root)

    def spec(self, fingerprint: str) -> FeatureSpec:
        """Return the spec of a fingerprint.

        Raises
        ------
        StoreNotFoundError
            The store has no features of this fingerprint.
        StoreFormatError
            The spec was written by another version of embedkit.
        DamagedPartError
            ``spec.json`` is damaged, and no sound part is there to read it from.
        """
        folder = features_folder(self._root, fingerprint)
        return verification.find_spec(folder) or read_spec(folder)

    def info(self) -> StoreInfo:
        """Describe what the store holds: for each fingerprint its model, rows, bytes, parts and last use.

        Parts that were never verified are verified first, which reads them.
        """
        return verification.info(self._root, self._verify)

    def verify(self) -> VerifyReport:
        """Read every committed file and compare it with the length and SHA-256 in its name, whatever the memo says.

        Returns
        -------
        VerifyReport
            Names the damaged files and what computing their rows again costs.
        """
        return verification.verify(self._root)

    def repair(self) -> RepairReport:
        """Move damaged files to ``aside/`` in the store, and write a damaged ``spec.json`` again; nothing is deleted.

        Raises
        ------
        StoreWriteError
            A file cannot be moved.
        """
        return verification.repair(self._root, self._disk)

    def pack(self, *, target: int = PACKED_BYTES) -> PackReport:
        """Merge small parts into large ones, dropping rows stored twice among them.

        The new part is committed and read back before the old ones are removed. A reader that had listed those lists
        the folder again.

        Parameters
        ----------
        target : int
            Bytes of a packed part, about; parts smaller than half of it are merged.

        Raises
        ------
        StoreWriteError
            The disk is full or read-only. No row is lost.
        """
        return maintenance.pack(self._root, target, self._disk)

    def gc(self, *, grace: float = GRACE, max_size: int | None = None, dry_run: bool = False) -> GcReport:
        """Remove what dead processes left, parts whose every row other parts serve, and features beyond a size.

        Only what embedkit itself has put there is removed; files of other names, and links, are reported.

        Parameters
        ----------
        grace : float
            Seconds: parts committed since then are left alone. Temporary files and leases of unknown processes are
            removed after a day in any case.
        max_size : int, optional
            Bytes of all committed files that may stay: parts are removed, least recently used first, except those of
            fingerprints that are being written to. What goes is named in the log before it goes.
        dry_run : bool
            Remove nothing, and report what would be.

        Raises
        ------
        StoreWriteError
            The folder is read-only.
        """
        return maintenance.gc(self._root, grace, max_size, dry_run, self._disk)
