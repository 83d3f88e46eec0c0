"""What a source means: the same files as a folder, a tar, a zip, a URL and a manifest have one meaning."""

from __future__ import annotations

import logging
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedkit.errors import EmptySourceError, ManifestError, UsageError
from embedkit.images import describe, open_source
from tests.images.trees import KINDS, pack

CONTAINERS = KINDS[:-1]


def images(pattern: str, n: int = 2) -> list[str]:
    """``"{train,test}/{dog,cat}"`` -> n images in each folder."""
    folders = [""]
    for part in pattern.split("/") if pattern else []:
        names = part.strip("{}").split(",")
        folders = [f"{folder}{name}/" for folder in folders for name in names]
    return [f"{folder}{number}.jpg" for folder in folders for number in range(n)]


# (files, layout) -> classes, splits, rows, passed over, a word of each note
TABLE = {
    "classes": (images("{dog,cat}"), None, {"cat": 2, "dog": 2}, {}, 4, {}, []),
    "flat": (images(""), None, {}, {}, 2, {}, []),
    "splits of classes": (
        images("{train,test}/{dog,cat}"),
        None,
        {"cat": 4, "dog": 4},
        {"train": 4, "test": 4},
        8,
        {},
        [],
    ),
    "spelled splits": (
        images("{training_set,test_set}/{dog,cat}"),
        None,
        {"cat": 4, "dog": 4},
        {"train": 4, "test": 4},
        8,
        {},
        ["read as splits"],
    ),
    "train and eval": (
        images("{train,eval}/{dog,cat}"),
        None,
        {"cat": 4, "dog": 4},
        {"train": 4, "val": 4},
        8,
        {},
        ["read as splits"],
    ),
    "folds": (
        images("fold{0,1,2,3}/{dog,cat}".replace("fold{0,1,2,3}", "{fold0,fold1,fold2,fold3}")),
        None,
        {"cat": 8, "dog": 8},
        {"fold0": 4, "fold1": 4, "fold2": 4, "fold3": 4},
        16,
        {},
        [],
    ),
    "splits that hold themselves": (
        images("{seg_train}/{seg_train}/{dog,cat}")
        + images("{seg_test}/{seg_test}/{dog,cat}")
        + images("seg_pred/seg_pred"),
        None,
        {"cat": 4, "dog": 4},
        {"train": 4, "test": 4, "pred": 2},
        10,
        {},
        ["read as splits", "no class folders"],
    ),
    "an unlabelled split": (
        images("{train,test}/{dog,cat}") + images("unlabeled"),
        None,
        {"cat": 4, "dog": 4},
        {"train": 4, "test": 4, "unlabeled": 2},
        10,
        {},
        ["no class folders"],
    ),
    "one folder around all": (
        images("photos/{train,test}/{dog,cat}"),
        None,
        {"cat": 4, "dog": 4},
        {"train": 4, "test": 4},
        8,
        {},
        ["all images lie in the folder 'photos'"],
    ),
    "classes of splits": (
        images("{dog,cat}/{train,test}"),
        None,
        {"cat": 4, "dog": 4},
        {"train": 4, "test": 4},
        8,
        {},
        ["inside the classes are read as splits"],
    ),
    "a class that is named like a split": (
        images("{train,bus,car}"),
        None,
        {"bus": 2, "car": 2, "train": 2},
        {},
        6,
        {},
        ["'train' look like splits"],
    ),
    "domains of classes": (
        images("{art,photo}/{dog,cat}"),
        None,
        {"art": 4, "photo": 4},
        {},
        8,
        {},
        ["the same folders ('cat', 'dog') lie in each"],
    ),
    "domains of classes, said": (
        images("{art,photo}/{dog,cat}"),
        "split/class",
        {"cat": 4, "dog": 4},
        {"art": 4, "photo": 4},
        8,
        {},
        [],
    ),
    "splits as classes, said": (
        images("{train,test}/{dog,cat}"),
        "class",
        {"test": 4, "train": 4},
        {},
        8,
        {},
        [],
    ),
    "classes of anything, said": (
        images("{dog,cat}/{a,b}"),
        "class/split",
        {"cat": 4, "dog": 4},
        {"a": 4, "b": 4},
        8,
        {},
        [],
    ),
    "flat, said": (images("{dog,cat}"), "flat", {}, {}, 4, {}, []),
    "loose images": (
        ["dog/1.jpg", "cat/1.jpg", "1.jpg"],
        None,
        {},
        {},
        3,
        {},
        ["1 of 3 images lie in no class folder"],
    ),
    "loose images, said": (
        ["dog/1.jpg", "cat/1.jpg", "1.jpg"],
        "class",
        {"cat": 1, "dog": 1},
        {},
        3,
        {},
        ["have no label"],
    ),
    "what systems leave behind": (
        [
            *images("{dog,cat}"),
            *("__MACOSX/dog/._0.jpg", "__MACOSX/dog/0.jpg", "dog/.ipynb_checkpoints/0.jpg", "dog/._0.jpg"),
            *("dog/@eaDir/0.jpg", "cat/thumbnails/0.jpg", "cat/.DS_Store"),
        ],
        None,
        {"cat": 2, "dog": 2},
        {},
        4,
        {"hidden": 2, "hidden folder": 1, "__MACOSX folder": 1, "@eaDir folder": 1, "thumbnails folder": 1},
        [],
    ),
    "names that do not say it": (
        ["dog/one", "dog/x.jpg?w=400", "cat/1.jpg", "cat/notes.txt", "cat/1.dng", "cat/1.jpg.part"],
        None,
        {"cat": 1, "dog": 2},
        {},
        3,
        {"no image: .txt": 1, "no image: .dng": 1, "no image: .part": 1},
        [],
    ),
    "a class that vanishes": (
        [*images("dog"), "cat/1.dng", "cat/2.dng", "cat/3.tga"],
        None,
        {"dog": 2},
        {},
        2,
        {"no image: .dng": 2, "no image: .tga": 1},
        [
            "1 folder gives no image, whatever lies there is passed over: 'cat' (.dng 2, .tga 1)",
            "'dog' is the only class",
        ],
    ),
    "forms of one name": (
        ["caf\u00e9/1.jpg", "cafe\u0301/2.jpg", "dog/1.jpg"],
        None,
        {"caf\u00e9": 2, "dog": 1},
        {},
        3,
        {},
        ["one in Unicode's normal form"],
    ),
}


@pytest.mark.parametrize("kind", CONTAINERS)
@pytest.mark.parametrize("case", TABLE)
def test_table(tmp_path, kind, case, caplog):
    files, layout, labels, splits, rows, passed_over, notes = TABLE[case]
    if kind == "url":
        pytest.importorskip("fsspec")
    with caplog.at_level(logging.WARNING, "embedkit"):
        source = open_source(pack(tmp_path, kind, files), layout=layout)
    found = describe(source)
    assert (found.labels, found.splits, found.rows, found.passed_over) == (labels, splits, rows, passed_over)
    assert len(found.notes) == len(notes), found.notes
    for note, words in zip(found.notes, notes, strict=True):
        assert words in note
        assert note in caplog.text
    assert found.unlabelled == (rows - sum(labels.values()) if labels else 0)


@pytest.mark.parametrize("kind", ["folder", "tar", "zip", "manifest"])
def test_a_doubt_that_is_too_great_is_an_error(tmp_path, kind):
    files = images("{train,more}/{dog,cat}")
    path = pack(tmp_path, kind, files, rows=[["path"], *([name] for name in files)])
    if kind == "manifest":
        assert open_source(path).labels is None  # its paths say nothing unless asked
    else:
        with pytest.raises(
            ManifestError, match=r"'train' look like splits, 'more' do not.*--layout class.*split/class"
        ):
            open_source(path)
    assert set(open_source(path, layout="split/class").labels) == {"dog", "cat"}
    assert open_source(path, layout="class").label_classes == ["more", "train"]
    with pytest.raises(UsageError, match="layout='classes', expected one of class, split/class"):
        open_source(path, layout="classes")


@pytest.mark.parametrize("kind", CONTAINERS)
def test_nothing_but_passed_over_files_says_which(tmp_path, kind):
    with pytest.raises(EmptySourceError, match=r"passed over: hidden folder 1, no image: .dng 2"):
        open_source(pack(tmp_path, kind, ["a/1.dng", "a/2.DNG", "a/.x/1.jpg"]))


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_tar_of_a_folder_from_inside(tmp_path, kind):
    source = open_source(pack(tmp_path, kind, ["./dog/1.jpg", "./cat/./2.jpg"]))
    assert source.keys == [f"x.{kind}/dog/1.jpg", f"x.{kind}/cat/2.jpg"]
    assert source.labels == ["dog", "cat"]
    (tmp_path / "m.csv").write_text(f"path\nx.{kind}/./dog/1.jpg\nx.{kind}/cat/2.jpg\n")
    assert open_source(tmp_path / "m.csv").images == source.images


def test_backslashes_separate_folders_where_nothing_else_does(tmp_path):
    source = open_source(pack(tmp_path, "zip", ["train\\dog\\1.jpg", "test\\cat\\2.jpg", "train\\dog\\.h\\1.jpg"]))
    assert source.keys == ["x.zip/train\\dog\\1.jpg", "x.zip/test\\cat\\2.jpg"]  # as the archive has them
    assert source.labels == ["dog", "cat"]
    assert source.split == ["train", "test"]
    assert source.passed_over == {"hidden folder": 1}


NAMES = st.sampled_from(
    ["dog", "cat", "Dog", "train", "test", "val", "training_set", "3.10", "ü", "a b", ".h", "thumbs"]
)
FILES = st.sampled_from(["1.jpg", "2.PNG", "3", "n.txt", "x.dng", ".DS_Store", "a.b.webp", "q.jpg?w=4"])
TREES = st.lists(
    st.tuples(st.lists(NAMES, max_size=4), FILES).map(lambda parts: "/".join([*parts[0], parts[1]])),
    min_size=1,
    max_size=12,
    unique=True,
)


def meaning(path, **options):
    """What a source says of each image, by the path inside it; or that it is in doubt, or empty."""
    try:
        source = open_source(path, **options)
    except (ManifestError, EmptySourceError) as error:
        return type(error).__name__
    name = path.rpartition("/")[2] + "/"
    keys = [key.removeprefix(name) for key in source.keys]
    labels = source.labels if source.labels is not None else [None] * len(keys)
    split = source.split if source.split is not None else [None] * len(keys)
    return dict(zip(keys, zip(labels, split, strict=True), strict=True)), source.passed_over, sorted(source.notes)


@given(TREES, st.sampled_from([None, "class", "split/class", "class/split", "flat"]), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_any_tree_means_the_same_however_it_is_packed_and_ordered(tmp_path_factory, files, layout, order):
    folder = tmp_path_factory.mktemp("tree")
    expected = meaning(pack(folder, "folder", files), layout=layout)
    for kind in ("tar", "zip"):
        shuffled = list(files)
        order.shuffle(shuffled)
        assert meaning(pack(folder, kind, shuffled), layout=layout) == expected
    if isinstance(expected, str):
        return
    found = expected[0]
    listed = random.Random(0).sample(sorted(found), len(found))
    rows = [["path", "label", "split"], *([name, *(text or "" for text in found[name])] for name in listed)]
    manifest = open_source(
        pack(folder, "manifest", files, rows=rows), target_type="class" if any(r[1] for r in rows[1:]) else None
    )
    assert manifest.keys == listed
    labels = manifest.labels if manifest.labels is not None else [""] * len(listed)
    assert labels == [found[name][0] or "" for name in listed]
    assert manifest.split == [found[name][1] or "" for name in listed]
    assert Counter(describe(manifest).labels) == Counter(label for label, _ in found.values() if label)
