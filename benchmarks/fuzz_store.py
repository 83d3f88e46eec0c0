"""The files of a store, for `benchmarks.fuzz`: parts, what is beside them, feature files and plans."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.fault_rows import DIGESTS, FEATURES, SPEC
from benchmarks.fuzz import Kind
from embedkit.backbones import FeatureRequest
from embedkit.backbones.conversions import Conversion
from embedkit.errors import EmbedkitError
from embedkit.extraction.plan import PlanFile
from embedkit.extraction.resolution import RequestMemo, Resolution
from embedkit.files import TRAILER, seal
from embedkit.images import StatMemo
from embedkit.specs import canonical_json
from embedkit.store import FeatureStore
from embedkit.store.layout import committed_name
from embedkit.store.parts import write_part
from embedkit.tables import FeatureTable

_ROWS = 20


def kinds() -> list[Kind]:
    """Return the kinds of files that a store consists of, or is used with."""
    with tempfile.TemporaryDirectory() as folder:
        return _kinds(Path(folder))


def _kinds(folder: Path) -> list[Kind]:
    store = FeatureStore(folder / "store")
    features = store.features(SPEC)
    for row in range(_ROWS):
        with features.writer(commit_bytes=1) as writer:
            writer.add(DIGESTS[[row]], FEATURES[[row]])
            writer.add_undecodable(DIGESTS[100].tobytes(), "no image")
    time.sleep(0.05)
    with FeatureStore(store.path).features(SPEC).writer() as writer:
        writer.add(DIGESTS[_ROWS : 2 * _ROWS], FEATURES[_ROWS : 2 * _ROWS])
    FeatureStore(store.path).features(SPEC).get(DIGESTS[:_ROWS])
    parts = sorted(features.folder.glob("part-*"), key=lambda path: path.stat().st_size)
    undecodable = next(features.folder.glob("undecodable-*"))
    beside = {name: (features.folder / name).read_bytes() for name in ("checked.json", "last-use", "spec.json")}
    return [
        Kind("marker", (store.path / "embedkit-store.json").read_bytes(), _marker),
        *[Kind(name, content, _beside(name)) for name, content in beside.items()],
        Kind("parts.index", _part_index(), _read_part_index, _resealed),
        Kind("part", parts[-1].read_bytes(), _part, _resealed, owned=True),
        Kind("part_of_old_name", parts[-1].read_bytes(), _damaged_part),
        Kind("undecodable", undecodable.read_bytes(), _undecodable, owned=True),
        Kind("lease", _lease(folder), _read_lease, _resealed),
        Kind("memo", _memo(folder), _read_memo),
        Kind("memo of requests", _request_memo(folder), _read_request_memo),
        Kind("memo of networks", _network(folder), _read_network, _resealed),
        Kind("feature_file", _feature_file(folder), _read_feature_file, _resealed),
        Kind("plan", _plan(), _read_plan, _plan_resealed),
    ]


def _resealed(data: bytes) -> bytes:
    return seal(data[: -TRAILER.size])


def _filled(folder: Path) -> FeatureStore:
    store = FeatureStore(folder / "store")
    with store.features(SPEC).writer() as writer:
        writer.add(DIGESTS[:4], FEATURES[:4])
    return store


def _everything(store: FeatureStore) -> object:
    """Do all that a person does with a store; a row that is served wrongly is another result."""
    features = FeatureStore(store.path).features(SPEC)
    present = features.contains(DIGESTS[:64])
    right = bool((features.get(DIGESTS[:64][present]) == FEATURES[:64][present]).all())
    again = FeatureStore(store.path)
    again.info()
    again.verify()
    again.gc(grace=0.0, max_size=1 << 40)
    again.repair()
    again.pack()
    return right


def _marker(folder: Path, data: bytes) -> object:
    store = _filled(folder)
    (store.path / "embedkit-store.json").write_bytes(data)
    return _everything(FeatureStore(store.path))


def _beside(name: str) -> Callable[[Path, bytes], object]:
    def read(folder: Path, data: bytes) -> object:
        store = _filled(folder)
        (store.features(SPEC).folder / name).write_bytes(data)
        return _everything(store)

    return read


def _committed(store: FeatureStore, kind: str, data: bytes) -> None:
    """Put a file in with a name that is true of its bytes: the attacker owns that checksum."""
    name = committed_name("part" if kind == "part" else "undecodable", len(data), hashlib.sha256(data).hexdigest())
    (store.features(SPEC).folder / name).write_bytes(data)


# A store whose parts stay what they are, so that its index is believed; it goes with the process.
_INDEXED = tempfile.TemporaryDirectory()


def _part_index() -> bytes:
    features = FeatureStore(_INDEXED.name).features(SPEC)
    features.folder.mkdir(parents=True)
    for row in range(_ROWS):
        write_part(features.folder, SPEC, DIGESTS[[row]], [FEATURES[[row]]])
    time.sleep(0.1)  # what is as young as its index is looked at again
    FeatureStore(_INDEXED.name).features(SPEC).contains(DIGESTS[:_ROWS])
    return (features.folder / "parts.index").read_bytes()


def _read_part_index(folder: Path, data: bytes) -> object:
    """Read rows by the index; one that was made up may hide some, and never serves others in their place."""
    store = FeatureStore(_INDEXED.name)
    (store.features(SPEC).folder / "parts.index").write_bytes(data)
    features = FeatureStore(_INDEXED.name).features(SPEC)
    present = features.contains(DIGESTS[:32])
    try:
        right = bool((features.get(DIGESTS[:32][present]) == FEATURES[:32][present]).all())
    except EmbedkitError:  # rows that only the index has
        right = True
    store.info()
    store.verify()
    assert right, "rows of others"
    return present.tolist()


def _part(folder: Path, data: bytes) -> object:
    """Read a part whose name is true of its bytes; wrong rows of it are the attacker's own."""
    store = _filled(folder)
    _committed(store, "part", data)
    features = FeatureStore(store.path).features(SPEC)
    present = features.contains(DIGESTS[:64])
    features.get(DIGESTS[:64][present])
    _everything(store)
    return bool((features.get(DIGESTS[:4]) == FEATURES[:4]).all())


def _damaged_part(folder: Path, data: bytes) -> object:
    """Read a store, one part of which was changed under the name that it had."""
    store = _filled(folder)
    [part] = store.features(SPEC).folder.glob("part-*")
    position = len(data) % part.stat().st_size
    content = bytearray(part.read_bytes())
    content[position:] = data[: len(content) - position] or b"x"
    part.write_bytes(content)
    return _everything(store)


def _undecodable(folder: Path, data: bytes) -> object:
    store = _filled(folder)
    _committed(store, "undecodable", data)
    return _everything(store)


def _lease(folder: Path) -> bytes:
    writer = FeatureStore(folder / "store").features(SPEC).writer()
    writer.claim(DIGESTS[200:204])
    [lease] = (folder / "store" / "features" / SPEC.fingerprint / "leases").glob("*.lease")
    data = lease.read_bytes()
    writer.release(DIGESTS[200:204])
    return data


def _read_lease(folder: Path, data: bytes) -> object:
    store = _filled(folder)
    leases = store.features(SPEC).folder / "leases"
    leases.mkdir(exist_ok=True)
    (leases / f"{'0' * 32}.lease").write_bytes(data)
    with store.features(SPEC).writer() as writer:
        writer.claim(DIGESTS[300:304])
    return True


def _memo(folder: Path) -> bytes:
    memo = StatMemo(folder / "memo.npy")
    memo.record(json.__file__, os.stat(json.__file__), _digest_of_json())
    memo.save()
    return (folder / "memo.npy").read_bytes()


def _read_memo(folder: Path, data: bytes) -> object:
    (folder / "memo.npy").write_bytes(data)
    memo = StatMemo(folder / "memo.npy")
    digests, known = memo.lookup([json.__file__, str(folder / "memo.npy")])
    memo.record(json.__file__, os.stat(json.__file__), _digest_of_json())
    memo.save()
    return bool(known[1]) or (bool(known[0]) and digests[0].tobytes() != _digest_of_json())


_REQUEST = FeatureRequest("pixels32")


def _request_memo(folder: Path) -> bytes:
    memo = RequestMemo(folder / "requests")
    memo.record(_REQUEST, Resolution(spec=SPEC, choice="as asked", drift=0.999, provenance={"torch": "2"}), [])
    return next((folder / "requests").glob("request-*")).read_bytes()


def _read_request_memo(folder: Path, data: bytes) -> object:
    memo = RequestMemo(folder)
    memo.record(_REQUEST, Resolution(spec=SPEC, choice="as asked", drift=None, provenance={}), [])
    for path in folder.glob("request-*"):
        path.write_bytes(data)
    memo.lookup(_REQUEST)
    memo.others(_REQUEST)
    return None


def _network(folder: Path) -> bytes:
    conversion = Conversion(folder / "networks", {"model": "x"})
    conversion.keep(b"<net/>", bytes(200))
    return conversion.path.read_bytes()


def _read_network(folder: Path, data: bytes) -> object:
    conversion = Conversion(folder, {"model": "x"})
    conversion.path.write_bytes(data)
    read = conversion.read()
    return read is None or (read[0], bytes(read[1])) == (b"<net/>", bytes(200))  # without one, it is made again


def _digest_of_json() -> bytes:
    return hashlib.sha256(Path(json.__file__).read_bytes()).digest()


def _feature_file(folder: Path) -> bytes:
    golden = Path(__file__).parents[1] / "tests" / "golden" / "feature-file-1.0-class.h5"
    return golden.read_bytes()


def _read_feature_file(folder: Path, data: bytes) -> object:
    path = folder / "file.h5"
    path.write_bytes(data)
    table = FeatureTable.open(str(path))
    return np.asarray(table.X).tobytes(), list(table.keys), None if table.y is None else np.asarray(table.y).tolist()


def _plan() -> bytes:
    record = {
        "id": "0" * 32,
        "source": {
            "name": "images",
            "root": "images",
            "keys": ["a.jpg", "b.jpg"],
            "images": [None, None],
            "sizes": [1, 2],
            "labels": ["x", "y"],
            "label_classes": ["x", "y"],
            "split": None,
            "groups": None,
            "columns": {"age": {"dtype": "<f8", "shape": [2], "base64": "AAAAAAAA8D8AAAAAAAAAQA=="}},
            "failures": [["c.jpg", "no image"]],
        },
        "request": FeatureRequest("pixels32").to_dict(),
        "spec": SPEC.to_dict(),
        "choice": "as asked",
        "drift": None,
        "provenance": {},
        "store": "store",
        "units": 1,
    }
    return _envelope(canonical_json(record))


def _envelope(text: str) -> bytes:
    digest = hashlib.sha256(text.encode("ascii")).hexdigest()
    head = canonical_json({"content": "embedkit extraction plan", "format": 1, "sha256": digest})
    return f'{head[:-1]},"plan":{text}}}\n'.encode("ascii")


def _plan_resealed(data: bytes) -> bytes:
    try:
        return _envelope(canonical_json(json.loads(data)["plan"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return data


def _read_plan(folder: Path, data: bytes) -> object:
    path = folder / "plan.json"
    path.write_bytes(data)
    plan = PlanFile(path=str(path)).read()
    plan.unit(1, 2)
    return plan.source.keys, plan.sizes, plan.resolution.spec.fingerprint
