from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock

from embedkit.store import leases as leases_module
from embedkit.store.leases import Leases

A, B, C = (bytes([number]) * 32 for number in range(3))


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self, start: float) -> None:
        self.now = start

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "leases"


def dead_holder(folder: Path, digests: list[bytes]) -> Path:
    """Leave the lease of a process that was killed."""
    holder = Leases(folder, ttl=1e6)
    holder.claim(digests)
    holder._stop.set()  # pyright: ignore[reportPrivateUsage]
    (lease,) = folder.iterdir()
    return lease


@pytest.mark.parametrize("offset", [-1e9, 0.0, 1e9])
@pytest.mark.parametrize("stamp", [0, 4_000_000_000])
def test_the_lease_of_a_killed_holder_expires_whatever_the_clocks_say(folder: Path, offset: float, stamp: int) -> None:
    lease = dead_holder(folder, [A, B])
    os.utime(lease, (stamp, stamp))
    clock = Clock(offset)
    observer = Leases(folder, ttl=30.0, clock=clock)
    assert observer.claim([A, C]) == {C}
    clock.now += 29.0
    assert observer.claim([A]) == set()
    clock.now += 2.0
    assert observer.claim([A]) == {A}
    assert not lease.exists(), "so that others need not wait for it"
    observer.close()


def test_a_heartbeat_keeps_a_lease_alive_for_observers_with_any_clock(folder: Path) -> None:
    holder = Leases(folder, ttl=0.8)
    assert holder.claim([A]) == {A}
    slow, fast = Clock(-1e6), Clock(1e6)
    observers = [Leases(folder, ttl=0.8, clock=clock) for clock in (slow, fast)]
    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        for clock, observer in zip((slow, fast), observers, strict=True):
            clock.now += 0.05
            assert observer.claim([A]) == set()
        time.sleep(0.05)
    holder.close()
    assert observers[0].claim([A]) == {A}
    observers[0].close()


def test_a_holder_that_was_only_slow_is_taken_at_its_word_again(folder: Path) -> None:
    clock = Clock(0.0)
    holder, observer = Leases(folder, ttl=1e6), Leases(folder, ttl=30.0, clock=clock)
    holder.claim([A])
    assert observer.claim([A]) == set()
    clock.now += 31.0
    assert observer.claim([B]) == {B}
    assert holder.claim([C]) == {C}  # writes its lease anew, with A in it
    assert observer.claim([A]) == set()
    holder.close()
    observer.close()


def test_of_two_that_claim_at_once_one_is_granted_each(folder: Path) -> None:
    """In step, so that each would read before the other has announced."""
    blocks = [[(64 * block + row).to_bytes(32, "big") for row in range(64)] for block in range(100)]
    barrier = threading.Barrier(2)

    def claim_all() -> list[set[bytes]]:
        leases = Leases(folder)
        granted: list[set[bytes]] = []
        for block in blocks:
            barrier.wait()
            granted.append(leases.claim(block))
        barrier.wait()
        leases.close()
        return granted

    with ThreadPoolExecutor(2) as threads:
        mine, other = (future.result() for future in [threads.submit(claim_all), threads.submit(claim_all)])
    for block, ours, theirs in zip(blocks, mine, other, strict=True):
        assert not ours & theirs
        assert ours | theirs == set(block)


def test_a_lock_that_nobody_can_take_does_not_keep_from_claiming(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases_module, "_LOCK_SECONDS", 0.05)
    leases = Leases(folder)
    with FileLock(folder.with_suffix(".lock")):
        assert leases.claim([A]) == {A}
    leases.close()


def test_damaged_and_foreign_files_are_no_leases(folder: Path) -> None:
    lease = dead_holder(folder, [A])
    content = lease.read_bytes()
    observer = Leases(folder)
    for damage in (b"", b"x", content[:-1], content + b"x", b"X" + content[1:], content.replace(A, B)):
        lease.write_bytes(damage)
        assert observer.claim([A]) == {A}
        observer.release([A])
    (folder / "note.txt").write_bytes(content)
    lease.unlink()
    assert observer.claim([A]) == {A}
    observer.close()


def test_leases_that_cannot_be_written_are_granted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "leases").touch()  # no folder can be made here
    for _ in range(2):
        leases = Leases(tmp_path / "leases")
        assert leases.claim([A]) == {A}
        leases.close()

    def full(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(leases_module, "write_small", full)
    leases = Leases(tmp_path / "other")
    assert leases.claim([A]) == {A}
    leases.close()


def test_a_claim_of_nothing_writes_nothing(folder: Path) -> None:
    leases = Leases(folder)
    assert leases.claim([]) == set()
    leases.release([A])
    leases.close()
    assert not folder.exists()


def test_the_heartbeat_ends_with_the_lease(folder: Path) -> None:
    before = set(threading.enumerate())
    leases = Leases(folder, ttl=1e6)
    leases.claim([A])
    assert len(set(threading.enumerate()) - before) == 1
    leases.close()
    assert set(threading.enumerate()) == before
    assert list(folder.iterdir()) == []


def test_the_lease_of_a_process_that_is_gone_from_this_machine_ends_at_once(folder: Path) -> None:
    code = "import sys; from pathlib import Path; from embedkit.store.leases import Leases; "
    code += "leases = Leases(Path(sys.argv[1])); leases.claim([bytes(32)]); print(1, flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(folder)]
    observer = Leases(folder, clock=Clock(0.0))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"1\n"
        assert observer.claim([A]) == set()
        holder.kill()
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # a zombie, until it is waited for
        assert observer.claim([A]) == {A}
    observer.close()


def test_a_process_id_of_another_machine_says_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases_module, "is_gone", lambda _: True)
    for other in (b"elsewhere".ljust(32), bytes(32)):
        monkeypatch.setattr(leases_module, "home", lambda home=other: home)
        holder = Leases(folder)
        holder.claim([A])
        if any(other):
            monkeypatch.undo()
            monkeypatch.setattr(leases_module, "is_gone", lambda _: True)
        observer = Leases(folder)
        assert observer.claim([A]) == set()
        observer.close()
        holder.close()


COLD_START = """
    import sys, time
    import numpy as np
    from pathlib import Path
    from benchmarks.fault_rows import DIGESTS, FEATURES, SPEC
    from embedkit.store.feature_store import FeatureStore

    features = FeatureStore(sys.argv[1]).features(SPEC)
    print("ready", flush=True)
    sys.stdin.readline()
    computed = 0
    missing = np.arange(400)
    with features.writer(commit_bytes=1 << 14, lease_seconds=float(sys.argv[2])) as writer:
        while len(missing):
            progress = False
            for batch in np.array_split(missing, -(-len(missing) // 8)):
                mine = batch[writer.claim(DIGESTS[batch])]
                if len(mine):
                    print("claimed", flush=True)
                    time.sleep(0.01)  # the forward pass
                    writer.add(DIGESTS[mine], FEATURES[mine])
                    computed += len(mine)
                    progress = True
            writer.commit()
            missing = missing[~features.contains(DIGESTS[missing])]
            if not progress:
                time.sleep(0.02)
                features.refresh()
    print("computed", computed)
"""


def start_cold(store: Path, ttl: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(COLD_START), str(store), str(ttl)]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    return worker


def go(worker: subprocess.Popen[str]) -> None:
    assert worker.stdin is not None
    worker.stdin.write("go\n")
    worker.stdin.flush()


def finish(worker: subprocess.Popen[str]) -> int:
    output, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0
    return int(output.split()[-1])


def test_two_processes_that_start_cold_share_the_work(tmp_path: Path) -> None:
    workers = [start_cold(tmp_path / "store", 30.0) for _ in range(2)]
    for worker in workers:
        go(worker)
    computed = [finish(worker) for worker in workers]
    assert 400 <= sum(computed) <= 400 + 2 * 8, "at most a batch or two in which both announced at once"
    assert min(computed) > 40


def test_what_a_killed_process_had_claimed_is_computed_by_another(tmp_path: Path) -> None:
    killed = start_cold(tmp_path / "store", 0.5)
    go(killed)
    assert killed.stdout is not None
    assert killed.stdout.readline() == "claimed\n"
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.communicate()
    heir = start_cold(tmp_path / "store", 0.5)
    go(heir)
    assert finish(heir) > 0


def test_what_others_have_is_told_at_one_look(folder: Path) -> None:
    holder, observer = Leases(folder), Leases(folder)
    assert observer.taken() == set()
    holder.claim([A, B])
    observer.claim([C])
    assert (observer.taken(), holder.taken()) == ({A, B}, {C})
    holder.release([A])
    assert observer.taken() == {B}
    holder.close()
    assert observer.taken() == set()
    observer.close()


def test_a_lease_that_is_old_by_the_file_systems_clock_is_dead_at_one_look(folder: Path) -> None:
    lease = dead_holder(folder, [A])
    before = time.time() - 31.0
    os.utime(lease, (before, before))
    assert Leases(folder).taken() == set()
    assert Leases(folder).claim([A]) == set(), "who claims watches it first"
