"""Extraction against every peer and against the limits of the machine, as ratios from one interleaved run.

    benchmarks/extraction_peers.sh ENVIRONMENTS                          once: each peer in an environment of its own
    python -m benchmarks.extraction --peers ENVIRONMENTS                 half an hour on four cores
    python -m benchmarks.extraction --memory                             peak memory at 1,000 to 100,000 images
    python -m benchmarks.extraction --warm                               a warm run against a loop of os.stat

Photos are generated: about 500x375 and 3000x2000 JPEGs; weights are random, the same for all. Every contender runs in a
process of its own, in turns; images/s are of the median round and leave out imports and the building of the network,
which stand beside them. Cosines are to timm's own transform and fp32 network, after the mean feature is subtracted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

RESULTS = Path(__file__).parent / "results" / "extraction.json"
PHOTOS = {"500x375": ((500, 375), 192), "3000x2000": ((3000, 2000), 48)}
ARCHITECTURES = ("resnet50", "vit_small_patch16_224")

# The best of what each peer documents, found by trying batches of 8, 32 and 64 and 0, 2 and 4 workers on four cores.
PEERS: dict[str, dict[str, Any]] = {
    "loop": {"batch_size": 32, "workers": 2},
    "embetter": {"batch_size": 1, "workers": 0},
    "img2vec": {"batch_size": 32, "workers": 0},
    "thingsvision": {"batch_size": 32, "workers": 0},
    "transformers": {"batch_size": 8, "workers": 0},
}
OURS: dict[str, tuple[str, dict[str, Any]]] = {
    "embedkit cold": ("embedkit", {"precision": "auto", "engine": "auto"}),
    "embedkit warm": ("warm", {"precision": "auto", "engine": "auto"}),
    "embedkit fp32": ("embedkit", {"precision": "fp32", "engine": "torch"}),
    "limit: decode": ("decode_only", {}),
    "limit: forward": ("forward_only", {"precision": "auto", "engine": "auto"}),
    "limit: forward fp32": ("forward_only", {"precision": "fp32", "engine": "torch"}),
}
GOALS = {("resnet50", "500x375"): 10.0, ("vit_small_patch16_224", "500x375"): 4.5, ("resnet50", "3000x2000"): 6.0}


def make_photos(folder: Path, size: tuple[int, int], count: int) -> list[str]:
    """Write JPEGs with the spectrum of photos: noise of all scales, coarse ones the strongest."""
    random = np.random.default_rng(0)
    (folder / "all").mkdir(parents=True)
    paths: list[str] = []
    for number in range(count):
        picture = np.zeros((size[1], size[0], 3), np.float32)
        for cells in (2, 4, 8, 16, 32, 64, 128):
            noise = random.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
            picture += np.asarray(Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC), np.float32) / cells
        picture *= 255 / picture.max()
        paths.append(str(folder / "all" / f"{number:05}.jpg"))
        Image.fromarray(picture.astype(np.uint8)).save(paths[-1], quality=90)
    return paths


def save_weights(architecture: str, path: Path) -> None:
    import timm
    import torch

    torch.manual_seed(0)
    torch.save(timm.create_model(architecture).state_dict(), path)


def python_of(contender: str, peers: Path | None) -> str | None:
    """Return the interpreter of a contender, None where its environment is not there."""
    if contender not in PEERS or contender == "loop":
        return sys.executable
    python = peers / contender / "bin" / "python" if peers else Path("missing")
    return str(python) if python.is_file() else None


def run_one(python: str, contender: str, job: dict[str, Any], folder: Path) -> dict[str, Any] | None:
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    command = [python, "-W", "ignore", "-m", "benchmarks.extraction_contender", contender, str(path)]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "USE_TF": "0"})
    if done.returncode:
        print(f"{contender} failed: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    outcome = json.loads(done.stdout.strip().splitlines()[-1])
    return {**outcome, "whole": time.perf_counter() - began}


def cosines(features: npt.NDArray[Any], reference: npt.NDArray[Any]) -> tuple[float, float] | None:
    """Return the worst and the mean centred cosine."""
    if features.shape != reference.shape:
        return None
    ours, theirs = features - reference.mean(axis=0), reference - reference.mean(axis=0)
    each = (ours * theirs).sum(axis=1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    return float(each.min()), float(each.mean())


def compare(architecture: str, photos: str, paths: list[str], folder: Path, peers: Path | None, rounds: int) -> Any:
    """Run all contenders in turns and print their table."""
    job: dict[str, Any] = {
        "architecture": architecture,
        "weights": str(folder / f"{architecture}.pth"),
        "paths": paths,
        "folder": str(Path(paths[0]).parents[1]),
        "cores": len(os.sched_getaffinity(0)),
    }
    contenders = {name: (name, options) for name, options in PEERS.items()} | OURS
    if architecture != "resnet50":
        del contenders["img2vec"]  # it does not know the architecture
    run_one(sys.executable, "reference", job, folder)
    reference = np.load(folder / "features.npy")
    outcomes: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, (contender, options) in contenders.items():
            python = python_of(contender, peers)
            store = folder / f"store-{name}-{number}" if contender != "warm" else folder / f"store-warm-{architecture}"
            outcome = python and run_one(python, contender, {**job, **options, "store": str(store)}, folder)
            if outcome:
                features = np.load(folder / "features.npy")
                outcomes[name].append({**outcome, "cosine": cosines(features, reference)})
    rates = {name: len(paths) / statistics.median(one["seconds"] for one in of) for name, of in outcomes.items() if of}
    rows: list[dict[str, Any]] = []
    print(f"\n{architecture}, {len(paths)} photos of {photos}")
    print(f"{'':22}{'images/s':>10}{'ratio':>8}{'build s':>9}{'peak GB':>9}   cosine worst, mean")
    for name, rate in rates.items():
        middle = sorted(outcomes[name], key=lambda one: one["seconds"])[len(outcomes[name]) // 2]
        cosine = middle["cosine"] if "limit" not in name else None
        rows.append(
            {
                "architecture": architecture,
                "photos": photos,
                "name": name,
                "images_per_second": rate,
                "embedkit_is_faster_by": rates["embedkit cold"] / rate,
                "cosine": cosine,
                "options": contenders[name][1],
                "build_s": middle["build"],
                "peak_bytes": middle["peak_bytes"],
                "choice": middle["said"],
            }  # fmt: skip
        )
        shown = f"   {cosine[0]:.4f}, {cosine[1]:.4f}" if cosine else ""
        ratio = rates["embedkit cold"] / rate
        print(
            f"{name:22}{rate:10.1f}{ratio:8.2f}{middle['build']:9.1f}{middle['peak_bytes'] / 1e9:9.2f}{shown}"
            + ("   " + json.dumps(contenders[name][1]) if name in PEERS else "")
        )
    for ours, forward in (("embedkit cold", "limit: forward"), ("embedkit fp32", "limit: forward fp32")):
        limit = 1 / (1 / rates["limit: decode"] + 1 / rates[forward])
        print(f"{ours}: {rates[ours] / limit:.2f} of 1 / (decode + forward), goal 0.85")
        rows.append(
            {"architecture": architecture, "photos": photos, "name": f"{ours} of limit", "ratio": rates[ours] / limit}
        )
    best = max((rate, name) for name, rate in rates.items() if name in PEERS)
    goal = GOALS.get((architecture, photos))
    print(
        f"embedkit cold: {rates['embedkit cold'] / best[0]:.2f} times {best[1]}, the fastest peer"
        + (f"; goal {goal} on CPUs with AMX" if goal else "")
    )
    print(f"embedkit fp32: {rates['embedkit fp32'] / best[0]:.2f} times {best[1]}")
    print(f"chosen: {rows[list(rates).index('embedkit cold')]['choice']}", flush=True)
    return rows


def measure_memory(folder: Path) -> list[dict[str, Any]]:
    """Extract 1,000, 10,000 and 100,000 small images, each in a process of its own, and print the peaks."""
    code = (
        "import sys, resource, embedkit; r = embedkit.extract(sys.argv[1], 'lcnet_050', weights='random',"
        " precision='fp32', engine='torch', store=sys.argv[2],"
        " preprocess=embedkit.PreprocessOverrides(input_size=(32, 32)));"
        " print(r.forward_passes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    picture.save(folder / "one.jpg")
    data = (folder / "one.jpg").read_bytes()
    rows: list[dict[str, Any]] = []
    for count in (1_000, 10_000, 100_000):
        photos = folder / f"photos-{count}"
        for number in range(count):
            where = photos / f"{number // 1000:03}"
            where.mkdir(parents=True, exist_ok=True)
            # Equal pixels; a comment makes each file another one.
            (where / f"{number}.jpg").write_bytes(data[:2] + b"\xff\xfe\x00\x0a" + b"%08d" % number + data[2:])
        command = [sys.executable, "-W", "ignore", "-c", code, str(photos), str(folder / f"store-{count}")]
        done = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        assert int(done[0]) == count
        rows.append({"name": "peak memory", "images": count, "peak_bytes": int(done[1]) * 1024})
        print(f"{count:8} images: peak {int(done[1]) / 1024:.0f} MiB", flush=True)
    return rows


def measure_warm(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Compare a run that finds 10,000 images in the store with os.stat of each and reading a file of their features."""
    import embedkit

    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    picture.save(folder / "one.jpg")
    data = (folder / "one.jpg").read_bytes()
    paths = [folder / "photos" / f"{number // 1000:03}" / f"{number}.jpg" for number in range(10_000)]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data[:2] + b"\xff\xfe\x00\x0a" + b"%08d" % number + data[2:])
    time.sleep(2.1)  # files as young as their memo are read again, by the rule of git
    options: dict[str, Any] = {"model": "lcnet_075", "weights": "random", "precision": "fp32", "engine": "torch"}
    small = embedkit.PreprocessOverrides(input_size=(32, 32))
    output = folder / "features.h5"
    embedkit.extract(folder / "photos", **options, preprocess=small, store=folder / "store", output=output)
    ours_code = (
        "import sys, time, embedkit; folder = sys.argv[1];"
        " e = embedkit.ImageEmbedder('lcnet_075', weights='random', precision='fp32', engine='torch',"
        " preprocess={'input_size': (32, 32)}, store=folder + '/store');"
        " paths = [f'{folder}/photos/{n // 1000:03}/{n}.jpg' for n in range(10000)];"
        " X = e.fit_transform(paths); began = time.perf_counter(); X = e.fit_transform(paths);"
        " print(time.perf_counter() - began, X.shape, 'torch' in sys.modules)"
    )
    bare_code = (
        "import os, sys, time, h5py; folder = sys.argv[1];"
        " paths = [f'{folder}/photos/{n // 1000:03}/{n}.jpg' for n in range(10000)];"
        " began = time.perf_counter(); [os.stat(path) for path in paths];"
        " X = h5py.File(folder + '/features.h5')['features'][:]; print(time.perf_counter() - began)"
    )
    runs: dict[str, list[tuple[float, float]]] = {"ours": [], "bare": []}
    for _ in range(rounds):
        for name, code in (("ours", ours_code), ("bare", bare_code)):
            began = time.perf_counter()
            command = [sys.executable, "-W", "ignore", "-c", code, str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split(maxsplit=1)
            runs[name].append((float(done[0]), time.perf_counter() - began))
            assert name == "bare" or done[1].strip() == "(10000, 1280) False", done
    inside, whole = (
        statistics.median(run[which] for run in runs["ours"]) / statistics.median(run[which] for run in runs["bare"])
        for which in (0, 1)
    )
    print(
        f"warm run over 10,000 images: {inside:.2f} times os.stat and reading the features, goal 5; no torch imported"
    )
    print(f"whole processes, imports and two warm runs against one loop: {whole:.2f} times")
    return [
        {"name": "warm run of 10,000", "ratio": inside, "goal": 5.0},
        {"name": "the same, whole processes", "ratio": whole},
    ]


def identity(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in ("architecture", "photos", "name", "images"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, help="the folder of the peers' environments")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--architecture", choices=ARCHITECTURES, action="append")
    parser.add_argument("--photos", choices=PHOTOS, action="append")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--warm", action="store_true")
    parser.add_argument("--quick", action="store_true", help="few small photos, one network, one round")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    sizes: dict[str, tuple[tuple[int, int], int]] = PHOTOS
    if arguments.quick:
        sizes, arguments.rounds, arguments.architecture = {"500x375": ((500, 375), 16)}, 1, ["resnet18"]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.memory:
            rows += measure_memory(folder)
        if arguments.warm:
            rows += measure_warm(folder, max(5, arguments.rounds))
        if not (arguments.memory or arguments.warm):
            for photos in arguments.photos or sizes:
                paths = make_photos(folder / photos, *sizes[photos])
                for architecture in arguments.architecture or ARCHITECTURES:
                    save_weights(architecture, folder / f"{architecture}.pth")
                    rows += compare(architecture, photos, paths, folder, arguments.peers, arguments.rounds)
    machine = {"cores": len(os.sched_getaffinity(0)), "processor": platform.processor(), "load": os.getloadavg()[0]}
    kept = json.loads(arguments.output.read_text())["rows"] if arguments.output.is_file() else []
    kept = [row for row in kept if identity(row) not in set(map(identity, rows))]
    arguments.output.write_text(
        json.dumps({"rows": kept + [{**row, "machine": machine} for row in rows]}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
