"""Plans: what is in them comes out again, and nothing else is taken for one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedkit.backbones import FeatureRequest
from embedkit.errors import OutputExistsError, PlanFormatError, PlanNotFoundError, SourceError, UsageError
from embedkit.extraction import resolve
from embedkit.extraction.plan import PLAN_FORMAT, PlanFile, write_plan
from embedkit.images import open_source, read_bytes
from embedkit.specs import canonical_json
from embedkit.store import FeatureStore
from tests.photos import make_folder, make_manifest, make_photo

REQUEST = FeatureRequest("pixels32")


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "store")


@pytest.fixture
def make(tmp_path, store):
    def make(source, **options):
        resolution, _ = resolve(REQUEST, store)
        return write_plan(tmp_path / "P.json", source, REQUEST, resolution, store, **options)

    return make


def assert_same(one, other):
    assert (one.name, one.keys, one.label_classes) == (other.name, other.keys, other.label_classes)
    assert (one.split, one.groups, one.failures) == (other.split, other.groups, other.failures)
    np.testing.assert_equal(one.labels, other.labels)
    np.testing.assert_equal(one.columns, other.columns)
    assert {name: type(column) for name, column in one.columns.items()} == {
        name: type(column) for name, column in other.columns.items()
    }
    assert one.target_type == other.target_type
    for left, right in zip(one.images, other.images, strict=True):
        if isinstance(left, np.ndarray):
            np.testing.assert_array_equal(left, right)
        else:
            assert read_bytes(left) == read_bytes(right)


def test_a_folder_comes_out_as_it_was_listed(make, tmp_path):
    folder = make_folder(tmp_path / "photos", {"red": 2, "green": 3})
    source = open_source(folder)
    plan = make(source)
    assert_same(plan.source, source)
    assert plan.sizes == [os.path.getsize(path) for path in source.images]
    (folder / "red" / "new.png").write_bytes(b"")
    (folder / "green" / "000.png").unlink()
    assert plan.file.read().source.keys == source.keys


def test_everything_a_manifest_says(make, tmp_path):
    manifest = make_manifest(tmp_path / "photos", {"red": 4, "green": 4}, val=1)
    lines = manifest.read_text().splitlines()
    lines = [
        lines[0] + ",group,count,shot",
        *(f"{line},g{n},{n},{n / 3 if n else ''}" for n, line in enumerate(lines[1:])),
    ]
    manifest.write_text("\n".join(lines))
    for column in ("label", "shot"):
        source = open_source(manifest, label_column=column)
        assert_same(make(source, force=True).source, source)
    manifest.write_text("path,tags\nred/000.png,a|b\nred/001.png,b\n")
    source = open_source(manifest, label_column="tags", target_type="multilabel")
    assert_same(make(source, force=True).source, source)


def test_archives_arrays_lists_and_odd_names(make, tmp_path, monkeypatch):
    folder = make_folder(tmp_path / "photos", {"red": 2, "green": 1})
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(folder))
    np.save(tmp_path / "photos.npy", np.stack([np.asarray(make_photo(seed)) for seed in range(3)]))
    odd = os.path.join(os.fsencode(folder), b"red", b"\xff '\".png")
    shutil.copy(folder / "red" / "000.png", odd)
    monkeypatch.chdir(tmp_path)
    for target in ("photos.zip", "photos.npy", "photos", ["photos/red/000.png", str(folder / "red" / "001.png")]):
        source = open_source(target)
        plan = make(source, force=True)
        monkeypatch.chdir("/")
        assert_same(plan.file.read().source, source if target == "photos.npy" else plan.source)
        monkeypatch.chdir(tmp_path)
        assert_same(plan.source, source)


@pytest.mark.parametrize("target", ["photos", "photos/split.csv", "photos.zip", "photos.npy"])
def test_images_under_another_root(make, tmp_path, target):
    make_manifest(tmp_path / "here" / "photos", {"red": 2, "green": 2})
    with zipfile.ZipFile(tmp_path / "here" / "photos.zip", "w") as archive:
        archive.write(tmp_path / "here" / "photos" / "red" / "000.png", "a.png")
    np.save(tmp_path / "here" / "photos.npy", np.stack([np.asarray(make_photo(seed)) for seed in range(3)]))
    here = open_source(tmp_path / "here" / target)
    before = [image if isinstance(image, np.ndarray) else read_bytes(image) for image in here.images]
    plan = make(here)
    (tmp_path / "here").rename(tmp_path / "there")
    root = tmp_path / "there" / ("photos" if target.startswith("photos/") or target == "photos" else "")
    moved = PlanFile(path=plan.file.path, root=str(root)).read().source
    assert (moved.keys, moved.name) == (here.keys, here.name)
    for image, expected in zip(moved.images, before, strict=True):
        np.testing.assert_equal(image if isinstance(image, np.ndarray) else read_bytes(image), expected)


def test_images_in_memory_cannot_be_planned(make):
    for target in ([make_photo(0)], [b"bytes"], np.zeros((2, 8, 8, 3), np.uint8)):
        with pytest.raises(UsageError, match="in the memory of this process, expected files or URLs"):
            make(open_source(target))


def test_a_plan_is_not_replaced_unasked(make, tmp_path):
    source = open_source(make_folder(tmp_path / "photos", {"red": 2}))
    first = make(source)
    with pytest.raises(OutputExistsError, match="P.json exists.*--force"):
        make(source)
    assert make(source, force=True).id != first.id


def test_store_weights_and_paths_are_absolute(make, tmp_path, monkeypatch):
    folder = make_folder(tmp_path / "photos", {"red": 2})
    monkeypatch.chdir(tmp_path)
    plan = make(open_source("photos"))
    monkeypatch.chdir("/")
    again = PlanFile(path=plan.file.path, store="/elsewhere").read()
    monkeypatch.chdir(tmp_path)
    local = FeatureRequest("local-dir:models/mine", weights="mine.safetensors")
    resolution, store = resolve(REQUEST, FeatureStore(tmp_path / "store"))[0], FeatureStore("store")
    backbone = write_plan(tmp_path / "Q.json", open_source("photos"), local, resolution, store).request
    assert backbone.model == f"local-dir:{tmp_path}/models/mine"
    assert backbone.weights == str(tmp_path / "mine.safetensors")
    assert plan.store == tmp_path / "store"
    assert str(again.store) == "/elsewhere"
    assert plan.source.images == [str(folder / "red" / name) for name in ("000.png", "001.png")]


def test_whatever_byte_is_changed_the_plan_is_refused(make, tmp_path):
    plan = make(open_source(make_folder(tmp_path / "photos", {"red": 2})))
    path = tmp_path / "P.json"
    sound = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.choice(len(sound) - 2, 200, replace=False).tolist():  # the last two are } and a line feed
        damaged = bytearray(sound)
        damaged[place] ^= 1 << int(rng.integers(7))
        path.write_bytes(damaged)
        try:
            assert plan.file.read().id == plan.id  # as after a blank that became a tab
        except PlanFormatError:
            continue
    for length in range(0, len(sound) - 2, 97):
        path.write_bytes(sound[:length])
        with pytest.raises(PlanFormatError, match="not a plan, or was cut short"):
            plan.file.read()


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("pace", ["x", -1, 1e308, [], True]),
        ("memory", [None, "x", -1, 1.5, 10**30]),
        ("units", [0, None, "1", 1.5]),
        ("store", [None, "", 1, "a\0b"]),
        ("drift", ["x", []]),
        ("choice", [None, 1]),
        ("provenance", [None, "x"]),
        ("source", [None, []]),
        ("source.keys", [None, "ab", [1, 2], ["a"]]),
        ("source.images", ["ab", [1, 2], [{"archive": "a.zip"}, None], [{"archive": 1, "name": "x"}, None]]),
        ("source.images", [[{"archive": "a.zip", "name": "x", "offset": -1}, None]]),
        ("source.sizes", [None, [1], [-1, 1], ["a", "b"]]),
        ("source.labels", ["ab", [1, 2], {"dtype": "|O", "base64": "AAAA", "shape": [2]}, {"dtype": "<f8"}]),
        ("source.label_classes", [None, [1]]),
        ("source.split", ["ab", [None, None]]),
        ("source.groups", ["ab", [{}, {}]]),
        ("source.columns", [None, {"x": "ab"}, {"x": [1, 2]}]),
        ("source.failures", [None, [["a"]], ["ab"], [[1, 2]]]),
        ("source.name", [None, 1]),
        ("source.root", [None, "a\0b"]),
    ],
)
def test_a_plan_that_was_made_up(make, tmp_path, path, values):
    """Its digest fits: whoever makes up a plan makes that too."""
    plan = make(open_source(make_folder(tmp_path / "photos", {"red": 2})))
    for value in values:
        record = json.loads((tmp_path / "P.json").read_text())["plan"]
        at = record
        *above, last = path.split(".")
        for name in above:
            at = at[name]
        at[last] = value
        text = canonical_json(record)
        digest = hashlib.sha256(text.encode()).hexdigest()
        envelope = {"content": "embedkit extraction plan", "format": PLAN_FORMAT, "sha256": digest}
        made_up = tmp_path / "made-up.json"
        made_up.write_text(f'{canonical_json(envelope)[:-1]},"plan":{text}}}')
        with pytest.raises((PlanFormatError, SourceError)) as refused:
            dataclasses.replace(plan.file, path=str(made_up)).read()
        assert "\n" not in str(refused.value)


def test_other_files_are_no_plans(make, tmp_path):
    plan = make(open_source(make_folder(tmp_path / "photos", {"red": 2})))
    path = tmp_path / "P.json"
    envelope = json.loads(path.read_bytes())
    path.write_text(json.dumps({**envelope, "format": PLAN_FORMAT + 1}))
    with pytest.raises(PlanFormatError, match=f"a plan of format {PLAN_FORMAT + 1}.*reads format {PLAN_FORMAT}"):
        plan.file.read()
    path.write_text(json.dumps({**envelope, "plan": {**envelope["plan"], "units": 99}}))
    with pytest.raises(PlanFormatError, match="damaged: its content does not match its SHA-256"):
        plan.file.read()
    for content in (b"[]", b"{}", b'{"content": "something"}', b"\x89HDF"):
        path.write_bytes(content)
        with pytest.raises(PlanFormatError, match="not a plan"):
            plan.file.read()
    path.unlink()
    with pytest.raises(PlanNotFoundError, match="no plan at .*P.json"):
        plan.file.read()


@given(rows=st.integers(1, 500), count=st.integers(1, 600))
def test_units_divide_the_rows_evenly(rows, count):
    from embedkit.extraction.plan import Plan

    class Source:
        def __len__(self):
            return rows

    plan = Plan(
        id="", source=Source(), sizes=[], request=None, resolution=None, store=None, units=1, root="", file=None
    )
    units = [plan.unit(number, count) for number in range(1, count + 1)]
    assert [row for unit in units for row in unit] == list(range(rows))
    assert max(map(len, units)) - min(map(len, units)) <= 1


def test_units_that_do_not_exist(make, tmp_path):
    plan = make(open_source(make_folder(tmp_path / "photos", {"red": 2})))
    for number, count in ((0, 2), (3, 2), (1, 0)):
        with pytest.raises(UsageError, match=f"unit {number}/{count} does not exist"):
            plan.unit(number, count)
