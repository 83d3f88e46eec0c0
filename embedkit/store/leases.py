"""Leases: a writer announces which rows it is computing, so that another does not compute them too.

Each writer keeps one small file ``leases/<id>.lease`` with the digests it has claimed and a counter, replaced as a
whole whenever the claims change and every few seconds besides (the heartbeat). A claim is: lock ``leases.lock``, read
the leases of others, announce what nobody has. Where files cannot be locked, two writers that claim at the same moment
may both be granted a digest.

**Nothing here compares clocks of two machines.** An observer calls a lease dead when its content has not changed for
`TTL` seconds of the observer's own monotonic clock. It need not wait when the holder ran under the same kernel, in the
same process namespace, and its process is gone.

Leases are advice. A lost, damaged, expired or unwritable lease costs duplicate work, never a row: rows are identified
by their digests, and a row computed twice is stored twice and served once.

Format of a lease: counter and process id (unsigned 64 bits each, little endian), home (32 bytes: what identifies kernel
and namespace, 0 where unknown), digests (32 bytes each), the trailer of `commit`.

Layer: above layout.
"""

from __future__ import annotations

import io
import itertools
import os
import struct
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from embedkit.errors import UnreadableFileError
from embedkit.files import (
    DISK,
    TRAILER,
    UNKNOWN_HOME,
    Folder,
    check_trailer,
    file_system_time,
    home,
    is_gone,
    locked,
    read_small,
    seal,
    write_small,
)

TTL = 30.0
"""Seconds without a heartbeat after which a lease is dead."""

# Heartbeats within a TTL: a few may be late on a busy machine or a slow network disk.
_BEATS = 4

# How long to wait for others that claim. A claim takes milliseconds; who holds the lock for longer has been suspended.
_LOCK_SECONDS = 5.0
_LOCK_POLL_SECONDS = 0.002

_HEAD = struct.Struct("<QQ32s")
_SUFFIX = ".lease"


class Leases:
    """One writer's lease, and its view of the leases of others. Safe from several threads.

    Parameters
    ----------
    folder : Folder or Path
        Where the leases are; made when needed.
    ttl : float
        Seconds.
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, folder: Folder | Path, ttl: float = TTL, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = Folder.of(folder)
        self._ttl = ttl
        self._clock = clock
        self._home = home()
        self._name = f"{uuid.uuid4().hex}{_SUFFIX}"
        self._counter = itertools.count()
        self._held: set[bytes] = set()
        self._sightings: dict[str, tuple[bytes, float]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._heartbeat: threading.Thread | None = None

    def claim(self, digests: Iterable[bytes]) -> set[bytes]:
        """Announce digests that no other live lease has; return those that were granted."""
        wanted = set(digests)
        if not wanted:
            return wanted
        with self._lock, self._alone():
            granted = wanted - self._others()
            if granted:
                self._held |= granted
                self._publish()
                self._start_heartbeat()
            return granted

    def release(self, digests: Iterable[bytes]) -> None:
        """Give up digests; those that were not claimed are ignored."""
        with self._lock:
            before = len(self._held)
            self._held.difference_update(digests)
            if len(self._held) < before:
                self._publish()

    def taken(self) -> set[bytes]:
        """Return what others are computing right now, judged by one look at their leases.

        A lease whose file is older than `TTL` by the file system's own clock counts as dead, which `claim` finds out
        by watching it for so long.
        """
        now = file_system_time(self._folder)
        taken: set[bytes] = set()
        for name, content in self._read().items():
            with suppress(OSError):
                age = 0 if now is None else now - self._folder.stat(name).st_mtime_ns
                if age <= self._ttl * 1e9 and self._is_live(name, content):
                    taken |= _digests(content)
        return taken

    def close(self) -> None:
        """Give up everything and stop the heartbeat."""
        self._stop.set()
        if self._heartbeat is not None:
            self._heartbeat.join()
        with self._lock:
            self._held.clear()
            self._publish()

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Keep others from claiming, so that what was read still holds when this writer announces."""
        with ExitStack() as stack:
            with suppress(OSError):  # then a claim is no more than likely to be the only one
                above, name = self._folder.above(), f"{self._folder.name}.lock"
                stack.enter_context(locked(above, name, timeout=_LOCK_SECONDS, poll=_LOCK_POLL_SECONDS))
            yield

    def _others(self) -> set[bytes]:
        """Return what the live leases of others have."""
        taken: set[bytes] = set()
        for name, content in self._read().items():
            if self._is_live(name, content):
                taken |= _digests(content)
        return taken

    def _read(self) -> dict[str, bytes]:
        leases: dict[str, bytes] = {}
        with suppress(OSError):  # no folder: no leases
            for name in self._folder.names():
                if name.endswith(_SUFFIX) and name != self._name:
                    with suppress(FileNotFoundError, UnreadableFileError):  # given up meanwhile
                        leases[name] = read_small(self._folder / name, follow=False)
        return leases

    def _is_live(self, name: str, content: bytes) -> bool:
        if len(content) < _HEAD.size + TRAILER.size or check_trailer(io.BytesIO(content)) is not None:
            return False
        identity, now = content[-TRAILER.size :], self._clock()
        _, process, origin = _HEAD.unpack_from(content)
        seen = self._sightings.get(name)
        if seen is None or seen[0] != identity:
            seen = self._sightings[name] = (identity, now)
        if now - seen[1] <= self._ttl and not (origin == self._home != UNKNOWN_HOME and is_gone(process)):
            return True
        # Other observers need not wait for it again; a holder that was only slow writes it anew.
        self._remove(name)
        return False

    def _publish(self) -> None:
        path = self._folder / self._name
        if not self._held:
            self._remove(self._name)
            return
        head = _HEAD.pack(next(self._counter), os.getpid(), self._home)
        with suppress(OSError):
            self._folder.make()
            write_small(path, seal(head + b"".join(self._held)), self._folder)

    def _remove(self, name: str) -> None:
        with suppress(OSError), self._folder.opened() as at:
            DISK.remove(self._folder / name, at)

    def _start_heartbeat(self) -> None:
        if self._heartbeat is None:
            # A daemon, so that a writer which is never left does not keep the interpreter alive. It is never in HDF5.
            self._heartbeat = threading.Thread(target=self._beat, name="embedkit-lease", daemon=True)
            self._heartbeat.start()

    def _beat(self) -> None:
        while not self._stop.wait(self._ttl / _BEATS):
            with self._lock:
                if self._held:
                    self._publish()


def _digests(content: bytes) -> set[bytes]:
    body = content[_HEAD.size : -TRAILER.size]
    return {body[start : start + 32] for start in range(0, len(body), 32)}
