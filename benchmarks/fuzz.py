"""What embedkit makes of files whose bytes somebody has changed; prints how often which outcome was seen.

    python -m benchmarks.fuzz                    every kind, 20,000 changes and more in all (`make fuzz`)
    python -m benchmarks.fuzz --mutations 300    as many of each kind, as the tests do
    python -m benchmarks.fuzz memo part          some kinds
    python -m benchmarks.fuzz --seed 1 --output F.json --seconds 240    in pieces: what F.json has of a seed is done

A kind is a `Kind`: a sound file, what to do with a changed one, and, where the file carries a checksum, how to repair
that (then the attacker owns the checksum, and a wrong result is counted apart). Modules `benchmarks/fuzz_*.py` hold the
kinds. Each change is tried in a child process with a limit on its memory and its time; outcomes are

    refused    an error of embedkit's own, of one line        right   the same result as from the sound file
    wrong      another result                                 wrong_with_checksum   the same, the checksum repaired
    traceback  any other exception                            crash   the child was killed by a signal
    hang       no answer within the time                      memory  more memory than the budget

and the exit code is 1 unless the last five are 0 (`wrong_with_checksum` is not among them).
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import random
import resource
import select
import signal
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedkit.errors import EmbedkitError

MUST_BE_0 = ("wrong", "traceback", "crash", "hang", "memory")

SECONDS = 20.0
MEMORY = 1 << 30
"""Bytes of address space that a child may have beside what it began with."""

_LETTERS = {outcome[0]: outcome for outcome in ("refused", "same", "other", "traceback", "memory")}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file that embedkit reads.

    Attributes
    ----------
    name : str
    sound : bytes
        A sound file.
    read : callable (folder, bytes) -> object
        Do what embedkit does with a file of such bytes, in a folder of its own; return what comes of it, which is
        compared with what comes of the sound file. Errors of embedkit's own are refusals.
    reseal : callable (bytes) -> bytes, optional
        Repair the checksum of changed bytes.
    owned : bool
        `read` gives the file a name with the checksum of its bytes, as only an attacker would.
    """

    name: str
    sound: bytes
    read: Callable[[Path, bytes], object]
    reseal: Callable[[bytes], bytes] | None = None
    owned: bool = False


def changed(sound: bytes, chance: random.Random) -> bytes:
    """Return some bytes with something changed: bits, bytes, lengths, blocks, or words of JSON."""
    data = bytearray(sound)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        at = chance.randrange(max(1, len(data)))
        match chance.randrange(9):
            case 0 if data:
                data[at] ^= 1 << chance.randrange(8)
            case 1 if data:
                data[at] = chance.randrange(256)
            case 2:
                del data[at:]
            case 3:
                data += chance.randbytes(chance.randrange(1, 200))
            case 4:
                del data[at : at + chance.randrange(1, 64)]
            case 5:
                data[at:at] = data[at : at + chance.randrange(1, 64)] * chance.randrange(1, 5)
            case 6:
                width = chance.choice((1, 2, 4, 8))
                data[at : at + width] = chance.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * width
            case 7:
                data[at : at + chance.randrange(1, 24)] = chance.choice(_WORDS)
            case _:
                digits = [place for place, byte in enumerate(data) if 48 <= byte < 58]
                if digits:
                    place = chance.choice(digits)
                    data[place : place + 1] = chance.choice(_WORDS)
    return bytes(data)


_WORDS = (
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-1",
    b"0",
    b"9" * 30,
    b"9" * 5000,
    b"null",
    b"true",
    b"{}",
    b"[]",
    b'""',
    b'"\\ud800"',
    b"[" * 2000,
    b'{"a":' * 500,
    b"\x1b[31m",
    b"\n\r\0",
    b"../" * 8,
)


def mutations(kind: Kind, count: int, seed: int) -> Iterator[tuple[bytes, bool]]:
    """Yield changed files, and whether their checksums were repaired."""
    chance = random.Random(f"{kind.name} {seed}")
    for number in range(count):
        data = changed(kind.sound, chance)
        resealed = kind.reseal is not None and number % 2 == 1
        yield (kind.reseal(data), True) if resealed and kind.reseal is not None else (data, False)


def sealed_zip(data: bytes) -> bytes:
    """Return a changed archive of stored members with their checksums made to fit."""
    buffer = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as then, zipfile.ZipFile(buffer, "w") as now:
            for member in then.infolist():
                at = member.header_offset
                skipped = 30 + sum(int.from_bytes(data[at + place : at + place + 2], "little") for place in (26, 28))
                now.writestr(member.filename, data[at + skipped : at + skipped + member.file_size])
    # What zipfile says of an archive that is no longer one; it is tried unsealed then.
    except (zipfile.BadZipFile, ValueError, IndexError, NotImplementedError, OverflowError, UserWarning):
        return data
    return buffer.getvalue()


def fuzz(kind: Kind, count: int, seed: int = 0) -> dict[str, int]:
    """Try changes of a kind; return how often which outcome was seen."""
    tried = list(mutations(kind, count, seed))
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        expected = repr(kind.read(_fresh(Path(folder), "sound"), kind.sound))
        done = 0
        while done < count:
            for letter in _child(kind, tried[done:], Path(folder) / str(done), expected):
                outcome = {"s": "right", "o": "wrong"}.get(letter, _LETTERS.get(letter, letter))
                if outcome == "wrong" and (kind.owned or tried[done][1]):
                    outcome = "wrong_with_checksum"
                if outcome in MUST_BE_0:
                    print(f"  {kind.name} {done} of seed {seed}: {outcome}", file=sys.stderr, flush=True)
                    if keep := os.environ.get("FUZZ_KEEP"):
                        (Path(keep) / f"{kind.name} {seed} {done} {outcome}").write_bytes(tried[done][0])
                counts[outcome] += 1
                done += 1
    return dict(counts)


def _fresh(folder: Path, name: str) -> Path:
    place = folder / name
    place.mkdir(parents=True)
    return place


def _child(kind: Kind, tried: list[tuple[bytes, bool]], folder: Path, expected: str) -> Iterator[str]:
    """Yield the outcomes of a child process, one letter each, and what ended it if it did not come to its end."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        _try_all(kind, tried, folder, expected, writer)
    os.close(writer)
    seen = 0
    try:
        while seen < len(tried):
            if not select.select([reader], [], [], SECONDS)[0]:
                yield "hang"
                return
            letters = os.read(reader, 1 << 16).decode("ascii")
            if not letters:
                yield "crash"
                return
            seen += len(letters)
            yield from letters
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _try_all(kind: Kind, tried: list[tuple[bytes, bool]], folder: Path, expected: str, writer: int) -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    try:
        for number, (data, _) in enumerate(tried):
            os.write(writer, _try(kind, data, _fresh(folder, str(number)), expected).encode("ascii"))
    finally:
        os._exit(0)


def _try(kind: Kind, data: bytes, folder: Path, expected: str) -> str:
    try:
        return "s" if repr(kind.read(folder, data)) == expected else "o"
    except BaseException as error:
        if _is_of_memory(error):
            return "m"
        if isinstance(error, EmbedkitError) and len(str(error).splitlines()) == 1:
            return "r"
        if os.environ.get("FUZZ_TRACEBACKS"):
            logging.getLogger("fuzz").critical("%s", kind.name, exc_info=error)
        return "t"


def _is_of_memory(error: BaseException | None) -> bool:
    """Whether memory was wanted that there is not, also where a refusal was made of that."""
    return error is not None and (isinstance(error, MemoryError) or _is_of_memory(error.__cause__ or error.__context__))


def main() -> int:
    from benchmarks import fuzz_files, fuzz_images, fuzz_store

    kinds = {kind.name: kind for kind in (*fuzz_store.kinds(), *fuzz_images.kinds(), *fuzz_files.kinds())}
    parser = argparse.ArgumentParser(description="What embedkit makes of files whose bytes somebody has changed.")
    parser.add_argument("kinds", nargs="*", choices=[*kinds, []], help="which ones (default: all)")
    parser.add_argument("--mutations", type=int, default=1000, help="how many changes of each kind")
    parser.add_argument("--seed", type=int, default=0, help="another one makes other changes")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no further kind after so long")
    parser.add_argument("--output", type=Path, help="add the counts to a JSON file; what it has of a seed is not done")
    options = parser.parse_args()
    logging.disable(logging.ERROR)  # thousands of damaged files are named
    warnings.simplefilter("ignore")  # of torch, on pickles that say odd protocols
    began, outcome = time.monotonic(), dict[str, dict[str, int]]()
    seen: dict[str, Any] = {}
    if options.output and options.output.exists():
        seen = json.loads(options.output.read_text())["kinds"]
    for name in options.kinds or kinds:
        done = seen.setdefault(name, {})
        if str(options.seed) in done or time.monotonic() - began > options.seconds:
            continue
        outcome[name] = done[str(options.seed)] = fuzz(kinds[name], options.mutations, options.seed)
        print(f"{name}:", ", ".join(f"{key} {value}" for key, value in sorted(outcome[name].items())), flush=True)
        if options.output:
            totals: Counter[str] = Counter()
            for counts in (counts for seeds in seen.values() for counts in seeds.values()):
                totals.update(counts)
            record = {"changes": sum(totals.values()), "totals": totals, "kinds": seen}
            options.output.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    print(json.dumps(outcome))
    return int(any(counts.get(key) for counts in outcome.values() for key in MUST_BE_0))


if __name__ == "__main__":
    sys.exit(main())
