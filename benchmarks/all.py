"""All benchmarks that a machine can run, one after another; a page of their results; and what got slower.

    python -m benchmarks.all                     hours on two cores: `make benchmarks`
    python -m benchmarks.all --quick             each at a small size, ten minutes in all: to see that it runs
    python -m benchmarks.all --only store,gpu    some of them
    python -m benchmarks.all --page              only write docs/benchmarks.md from benchmarks/results

Each is a process of its own that writes NAME.json into --output, benchmarks/results where nothing else is said, and
benchmarks.md besides (docs/benchmarks.md for benchmarks/results). `machine.json` there says where each ran, and how
busy the machine was. Numbers of one name, in the last results of that folder and the new ones, are compared: seconds
and images a second further apart than `NOISE` are listed as slower, and nothing is if the machine is another one.
OPENBLAS_CORETYPE makes BLAS take kernels for another processor: it is unset here, which is said.

Those that need photos or weights take them from --assets; those that need features, from --store, which is filled.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
MACHINES = "machine.json"

NOISE = 1.5
"""Factor between two runs on a quiet machine that nothing but chance explains; on a busy one there may be more."""

ASSETS = Path(os.environ.get("EMBEDKIT_TEST_ASSETS", Path(__file__).parent.parent.parent / "shared"))

_OUTPUT, _JSON = "--output {file}", "--json {file}"
_ONE_SEED = "--seeds 1 --thorough-seeds 1 --probed-seeds 1 --splits 1"
_OF_ASSETS = f"--assets {{assets}} --store {{store}} {_JSON}"
COMMANDS: dict[str, tuple[str, str]] = {
    "extraction": (_OUTPUT, "--quick"),
    "store": (_OUTPUT, "--repeats 3"),
    "probes": (_OUTPUT, "--quick"),
    "selection": (_OF_ASSETS, f"--data pacs --networks tf_efficientnet_lite0,mobilenetv2_100 {_ONE_SEED}"),
    "audit": (_OF_ASSETS, "--sets pacs --models mobilenetv2_100 --seeds 2 --labels"),
    "search": (_JSON, "--rows 20000 --repeats 2"),
    "finetune": (_OF_ASSETS, "--quick"),
    "coverage": (_OUTPUT, "--sizes 50 --kinds values,shares --minutes 0.2"),
    "store_faults": (_OUTPUT, "--short"),
    "host_path": (_OUTPUT, "--images 1000 --rounds 2"),
    "decoding_processes": (_OUTPUT, "--tiny 1000 --photos 64 --workers 1,2 --rounds 2"),
    "gpu": (_OUTPUT, ""),
}
"""What each is given beside its name: always, and with --quick."""

WITHOUT_GPU = "--device cpu --quick"

FASTER = ("images_per_second", "per_second", "rate", "mb_per_s")
SLOWER = ("seconds", "_s", "_ms", "ms_under_lock_at_most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(COMMANDS), help="by commas")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--page", action="store_true")
    parser.add_argument("--output", type=Path, help="a folder; with --quick a temporary one, unless it is named")
    parser.add_argument("--assets", type=Path, default=ASSETS)
    parser.add_argument("--store", type=Path, help="a temporary one, unless it is named")
    options = parser.parse_args()
    wanted = options.only.split(",")
    if unknown := [name for name in wanted if name not in COMMANDS]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(COMMANDS)}")
    if os.environ.pop("OPENBLAS_CORETYPE", None):
        print("OPENBLAS_CORETYPE was set, and is unset for the benchmarks", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.output or (Path(scratch) / "results" if options.quick else RESULTS)
        folder.mkdir(parents=True, exist_ok=True)
        store = options.store or Path(scratch) / "store"
        failed: list[str] = []
        for name in () if options.page else wanted:
            places = {"file": folder / f"{name}.json", "assets": options.assets.resolve(), "store": store.resolve()}
            always, quick = COMMANDS[name]
            arguments = f"{always} {quick if options.quick else ''}".split()
            if name == "gpu" and not has_gpu():
                print("gpu: there is none; what a CPU can run of it is run, and says nothing of GPUs", flush=True)
                arguments += WITHOUT_GPU.split()
            began = time.monotonic()
            failed += [] if benchmark(name, [one.format(**places) for one in arguments], folder) else [name]
            print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
        written = PAGE if folder.resolve() == RESULTS.resolve() else folder / PAGE.name
        written.write_text(page(folder))
        print(f"{written} written", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def benchmark(name: str, arguments: list[str], folder: Path) -> bool:
    """Run one, compare it with what was stored, and say whether it came to an end."""
    file = folder / f"{name}.json"
    before, machines = read(file), read(folder / MACHINES) or {}
    print(f"== {name} {' '.join(arguments)}", flush=True)
    facts = machine()
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments], check=False, cwd=RESULTS.parent.parent
    )
    if done.returncode or not file.is_file():
        return False
    same = before is not None and same_machine(machines.get(name), facts)
    if same and (lines := slower(before, read(file))):
        then, now = machines[name]["load_before"], facts["load_before"]
        print(f"{name}: the load was {then} before the last results and {now} before these")
        print("\n".join(f"slower: {name}: {line}" for line in lines), flush=True)
    if not same:
        print(f"{name}: the last results are of another machine, or say none, or there are none: not compared")
    (folder / MACHINES).write_text(json.dumps({**machines, name: facts}, indent=1) + "\n")
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


def page(folder: Path = RESULTS) -> str:
    """Render what is stored: one table a file, its largest lists of rows, and the machine where it is known."""
    machines = read(folder / MACHINES) or {}
    parts = [
        "# Benchmarks\n",
        "Written by `python -m benchmarks.all --page` from `benchmarks/results/*.json`; `make benchmarks` makes those",
        "anew. Ratios are of one interleaved run and tell more than seconds.\n",
    ]
    for file in sorted(folder.glob("*.json")):
        if file.name == MACHINES:
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
