"""All benchmarks that a machine can run, one after another; a page of their results; and what got slower.

    python -m benchmarks.all                     an hour on two cores: `make benchmarks`
    python -m benchmarks.all --only store,gpu    some of them
    python -m benchmarks.all --page              only write docs/benchmarks.md from benchmarks/results

Each is a process of its own that writes benchmarks/results/NAME.json. `machine.json` beside them says where each ran,
and how busy the machine was. Numbers of one name, in the last stored results and the new ones, are compared: seconds
and images a second further apart than `NOISE` are listed as slower, and nothing is if the machine is another one.
OPENBLAS_CORETYPE makes BLAS take kernels for another processor: it is unset here, which is said.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
MACHINES = RESULTS / "machine.json"

NOISE = 1.5
"""Factor between two runs on a quiet machine that nothing but chance explains; on a busy one there may be more."""

ASSETS = Path(os.environ.get("EMBEDKIT_TEST_ASSETS", Path(__file__).parent.parent.parent / "shared"))

_OF_ASSETS = ("--assets", str(ASSETS), "--json", "{file}")
COMMANDS: dict[str, tuple[str, ...]] = {
    "extraction": (),
    "store": (),
    "probes": (),
    "selection": _OF_ASSETS,
    "audit": _OF_ASSETS,
    "search": ("--json", "{file}"),
    "finetune": _OF_ASSETS,
    "coverage": (),
    "store_faults": (),
    "host_path": (),
    "gpu": (),
}
"""What each is given beside its name."""

FASTER = ("images_per_second", "per_second", "rate", "mb_per_s")
SLOWER = ("seconds", "_s", "_ms", "ms_under_lock_at_most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(COMMANDS), help="by commas")
    parser.add_argument("--page", action="store_true")
    options = parser.parse_args()
    wanted = options.only.split(",")
    if unknown := [name for name in wanted if name not in COMMANDS]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(COMMANDS)}")
    if os.environ.pop("OPENBLAS_CORETYPE", None):
        print("OPENBLAS_CORETYPE was set, and is unset for the benchmarks", flush=True)
    failed: list[str] = []
    if not options.page:
        for name in wanted:
            if name == "gpu" and not has_gpu():
                print("gpu: there is none; `python -m benchmarks.gpu --device cpu --quick` runs what a CPU can")
                continue
            failed += [] if benchmark(name) else [name]
    PAGE.write_text(page())
    print(f"{PAGE.name} written", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def benchmark(name: str) -> bool:
    """Run one, compare it with what was stored, and say whether it came to an end."""
    file = RESULTS / f"{name}.json"
    before, machines = read(file), read(MACHINES) or {}
    print(f"== {name}", flush=True)
    facts = machine()
    arguments = [argument.format(file=file) for argument in COMMANDS[name]]
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    done = subprocess.run(command, check=False, cwd=RESULTS.parent.parent)
    if done.returncode:
        return False
    same = same_machine(machines.get(name), facts)
    for line in slower(before, read(file)) if same else []:
        print(f"slower: {name}: {line}", flush=True)
    if not same:
        print(f"{name}: the last results are of another machine, or say none: not compared", flush=True)
    MACHINES.write_text(json.dumps({**machines, name: facts}, indent=1) + "\n")
    return True


def machine() -> dict[str, Any]:
    """Say what numbers depend on."""
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
        "load_before": round(os.getloadavg()[0], 1),
    }


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def same_machine(one: Any, other: dict[str, Any]) -> bool:
    return one is not None and all(one.get(fact) == other[fact] for fact in ("processor", "cores", "system"))


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def read(file: Path) -> Any:
    return json.loads(file.read_text()) if file.is_file() else None


def numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Yield all numbers of a record by their place; rows by what names them, so that their order does not matter."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from numbers(inner, f"{name}[{label(inner, place)}]")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield name, float(value)


def label(row: Any, place: int) -> str:
    if not isinstance(row, dict):
        return str(place)
    texts = [str(inner) for key, inner in row.items() if isinstance(inner, str) or key in ("threads", "images")]
    return ", ".join(texts) or str(place)


def slower(before: Any, now: Any) -> list[str]:
    """Name what takes longer than before by more than noise."""
    known = dict(numbers(before))
    lines: list[str] = []
    for name, value in numbers(now):
        last, old = name.rsplit(".", 1)[-1], known.get(name)
        if not old or not value:
            continue
        ratio = old / value if last.endswith(FASTER) else value / old if last.endswith(SLOWER) else 1.0
        if ratio > NOISE:
            lines.append(f"{name}: {old:.4g} before, {value:.4g} now ({ratio:.2f} times)")
    return lines


_ROWS = 16


def page() -> str:
    """Render what is stored: one table a file, its largest lists of rows, and the machine where it is known."""
    machines = read(MACHINES) or {}
    parts = [
        "# Benchmarks\n",
        "Written by `python -m benchmarks.all --page` from `benchmarks/results/*.json`; `make benchmarks` makes those",
        "anew. Ratios are of one interleaved run and tell more than seconds.\n",
    ]
    for file in sorted(RESULTS.glob("*.json")):
        if file == MACHINES:
            continue
        parts.append(f"## {file.stem}\n")
        facts = machines.get(file.stem)
        parts.append(", ".join(f"{key} {value}" for key, value in facts.items()) + "\n" if facts else "")
        record = read(file)
        if isinstance(record, dict):
            parts += [f"* {key}: {value}" for key, value in record.items() if isinstance(value, (str, int, float))]
        for name, rows in tables(record):
            parts += ["", f"{name}:" if name else "", "", *table(rows)]
        parts.append("")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)) + "\n"


def tables(record: Any, name: str = "") -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the lists and dicts of records that there are, however deep, with their names."""
    if isinstance(record, list):
        rows = [row for row in record if isinstance(row, dict)]
        if rows:
            yield name, rows
    elif isinstance(record, dict):
        if len(record) > 1 and all(isinstance(inner, dict) and scalars(inner) for inner in record.values()):
            yield name, [{"": key, **inner} for key, inner in record.items()]
            return
        for key, inner in record.items():
            yield from tables(inner, f"{name} / {key}" if name else key)


def scalars(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if isinstance(value, (str, int, float)) or value is None}


def table(rows: list[dict[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys(key for row in rows for key in scalars(row)))[:10]
    if not columns:
        return []
    lines = ["| " + " | ".join(columns) + " |", "| " + " | ".join("---" for _ in columns) + " |"]
    lines += ["| " + " | ".join(cell(row.get(column)) for column in columns) + " |" for row in rows[:_ROWS]]
    return [*lines, *([f"\nand {len(rows) - _ROWS} more in the file"] if len(rows) > _ROWS else [])]


def cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "/").replace("\n", " ")


if __name__ == "__main__":
    main()
