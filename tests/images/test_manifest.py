from __future__ import annotations

import csv
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedkit.errors import EmptySourceError, ManifestError, SourceNotFoundError, UnreadableImageError, UsageError
from embedkit.images import ArchiveMember, open_source, read_bytes


def manifest(folder: Path, text: str | bytes, name: str = "split.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(path: Path, **options) -> str:
    with pytest.raises(ManifestError) as raised:
        open_source(path, **options)
    message = str(raised.value)
    assert str(path) in message
    assert "\n" not in message
    return message.removeprefix(str(path))


def test_path_label_split_and_further_columns(tmp_path):
    source = open_source(
        manifest(
            tmp_path,
            "path,label,split,coarse,age,weight,code\nb.jpg,cat,train,x,3,1.5,007\na/c.jpg,dog,test,y,-4,,008\n",
        )
    )
    assert source.name == str(tmp_path / "split.csv")
    assert source.keys == ["b.jpg", "a/c.jpg"]  # as listed
    assert source.images == [str(tmp_path / "b.jpg"), str(tmp_path / "a/c.jpg")]
    assert source.labels == ["cat", "dog"]
    assert source.label_classes == ["cat", "dog"]
    assert source.split == ["train", "test"]
    assert list(source.columns) == ["coarse", "age", "weight", "code"]
    assert source.columns["coarse"] == ["x", "y"]
    assert source.columns["age"].dtype == np.int64
    assert source.columns["age"].tolist() == [3, -4]
    assert source.columns["weight"].dtype == np.float64
    np.testing.assert_array_equal(source.columns["weight"], [1.5, np.nan])
    assert source.columns["code"] == ["007", "008"]


def test_another_label_column(tmp_path):
    path = manifest(tmp_path, "path,label,coarse\na,x,y\nb,x,z\n")
    source = open_source(path, label_column="coarse")
    assert source.labels == ["y", "z"]
    assert source.columns == {"label": ["x", "x"]}
    message = refused(path, label_column="fine")
    assert message == ": no column 'fine' for the labels; further columns found: label, coarse"


def test_the_split_may_be_predicted_too(tmp_path):
    source = open_source(manifest(tmp_path, "path,split\na,train\nb,test\n"), label_column="split")
    assert source.labels == source.split == ["train", "test"]


def test_only_paths(tmp_path):
    source = open_source(manifest(tmp_path, "path\na.jpg\nb\n"))
    assert source.labels is None
    assert source.split is None
    assert source.keys == ["a.jpg", "b"]  # whatever the extension


@pytest.mark.parametrize("name", ["group", "groups"])
def test_groups(tmp_path, name):
    source = open_source(manifest(tmp_path, f"path,{name}\na,1\nb,1\n"))
    assert source.groups == ["1", "1"]
    assert source.columns == {}


def test_paths_are_relative_to_the_manifest_or_to_a_root(tmp_path, monkeypatch):
    (tmp_path / "lists").mkdir()
    (tmp_path / "x.jpg").write_bytes(b"x")
    path = manifest(tmp_path / "lists", f"path\n../x.jpg\n{tmp_path}/x.jpg\n")
    source = open_source(path)
    assert source.keys == ["../x.jpg", f"{tmp_path}/x.jpg"]
    assert [read_bytes(ref) for ref in source.images] == [b"x", b"x"]
    monkeypatch.chdir(tmp_path)
    assert [read_bytes(ref) for ref in open_source("lists/split.csv").images] == [b"x", b"x"]
    (tmp_path / "sub").mkdir()
    assert read_bytes(open_source(path, root=tmp_path / "sub").images[0]) == b"x"
    with pytest.raises(UnreadableImageError):
        read_bytes(open_source(path, root="/").images[0])


@pytest.mark.parametrize(
    ("labels", "options", "kind", "expected"),
    [
        (["1", "2", "2"], {}, "class", ["1", "2", "2"]),
        (["1.0", "2.0", "10.0"], {}, "class", ["1.0", "2.0", "10.0"]),
        (["1e5", "100000", "1e5"], {}, "class", ["1e5", "100000", "1e5"]),
        (["red", "red ", " "], {}, "class", ["red", "red ", ""]),
        (["01", "2", "3"], {}, "class", ["01", "2", "3"]),
        (["1.5", "2", "-3e-2"], {}, "value", [1.5, 2, -0.03]),
        (["1.5", "", "2"], {}, "value", [1.5, np.nan, 2]),
        (["1", "", "2"], {}, "class", ["1", "", "2"]),
        (["1", "2", "3"], {"target_type": "value"}, "value", [1, 2, 3]),
        (["1.5", "2.5", "2.5"], {"target_type": "class"}, "class", ["1.5", "2.5", "2.5"]),
        (["1.0", "2", "nan"], {"target_type": "class"}, "class", ["1.0", "2", "nan"]),
        (["inf", "nan", "1_0"], {}, "class", ["inf", "nan", "1_0"]),
        (["", "", ""], {}, "none", None),
        (["b|a", "", "a"], {"target_type": "multilabel"}, "multilabel", [[True, True], [False, False], [True, False]]),
        (["b|a", "a", "a|b"], {}, "class", ["b|a", "a", "a|b"]),
    ],
)
def test_what_labels_are(tmp_path, labels, options, kind, expected):
    rows = "".join(f"{i}.jpg,{label}\n" for i, label in enumerate(labels))
    source = open_source(manifest(tmp_path, "path,label\n" + rows), **options)
    assert source.target_type == kind
    if kind == "class":
        assert source.labels == expected
        assert source.label_classes == sorted(set(expected) - {""})
    elif kind == "none":
        assert source.labels is None
    else:
        np.testing.assert_array_equal(source.labels, expected)
        assert source.labels.dtype == (np.float64 if kind == "value" else np.bool_)
        assert source.label_classes == (["a", "b"] if kind == "multilabel" else [])


def test_labels_that_are_no_values(tmp_path):
    path = manifest(tmp_path, "path,label\na,1\nb,two\n")
    assert refused(path, target_type="value") == ", line 3: label 'two', expected a number (--target-type value)"
    with pytest.raises(UsageError, match="target_type='value' without labels"):
        open_source(manifest(tmp_path, "path\na\n"), target_type="value")


@pytest.mark.parametrize(
    "text",
    [
        "path,label\na.jpg,x\nb.jpg,y\n",
        "path,label\r\na.jpg,x\r\nb.jpg,y\r\n",
        "path,label\ra.jpg,x\rb.jpg,y\r",
        "path,label\na.jpg,x\nb.jpg,y",
        "\ufeffpath,label\na.jpg,x\nb.jpg,y\n",
        '"path","label"\n"a.jpg","x"\n\n\n"b.jpg","y"\n\n',
        " path , label\na.jpg,x\nb.jpg,y\n",
    ],
    ids=["LF", "CRLF", "CR", "no last newline", "BOM", "quotes and blank lines", "spaces in the header"],
)
def test_ways_to_write_it(tmp_path, text):
    source = open_source(manifest(tmp_path, text))
    assert source.keys == ["a.jpg", "b.jpg"]
    assert source.labels == ["x", "y"]


def test_tabs(tmp_path):
    source = open_source(manifest(tmp_path, "path\tlabel\na,b.jpg\tx\n", "split.TSV"))
    assert source.keys == ["a,b.jpg"]


def test_what_spreadsheets_write_where_commas_are_decimal(tmp_path):
    path = tmp_path / "split.csv"
    path.write_bytes('\ufeffpath;label;weight\r\n"a;1.jpg";Äpfel;100,5\r\nb.jpg;Kiwi, gelb;99\r\n'.encode())
    source = open_source(path)
    assert source.keys == ["a;1.jpg", "b.jpg"]
    assert source.labels == ["Äpfel", "Kiwi, gelb"]
    assert source.columns["weight"].tolist() == [100.5, 99.0]
    assert "semicolons" in source.notes[0]
    assert "'weight' have decimal commas" in source.notes[1]
    values = open_source(path, label_column="weight")
    assert values.target_type == "value"
    assert open_source(path, label_column="weight", target_type="class").labels == ["100,5", "99"]


def test_a_header_with_commas_is_read_with_commas(tmp_path):
    (tmp_path / "m.csv").write_text("path,a;b,label\n1.jpg,x;y,c\n")
    source = open_source(tmp_path / "m.csv")
    assert (source.labels, source.columns, source.notes) == (["c"], {"a;b": ["x;y"]}, [])


def test_quoted_newlines_commas_and_quotes(tmp_path):
    source = open_source(manifest(tmp_path, 'path,label\n"new\nline.jpg","a, ""b"""\nlast.jpg,c\n'))
    assert source.keys == ["new\nline.jpg", "last.jpg"]
    assert source.labels == ['a, "b"', "c"]


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), min_size=1, max_size=8, unique_by=lambda row: row[0]))
@settings(max_examples=60)
def test_whatever_csv_can_say_comes_back(tmp_path_factory, rows):
    rows = [(path, label) for path, label in rows if path.strip() and "\0" not in path + label and "://" not in path]
    rows = [(path, label) for path, label in rows if not any("\ud800" <= c <= "\udfff" for c in path + label)]
    if not rows:
        return
    path = tmp_path_factory.mktemp("m") / "split.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        writer.writerows(rows)
    source = open_source(path, target_type="class" if any(label.strip() for _, label in rows) else "auto")
    assert source.keys == [path for path, _ in rows]
    if source.labels is not None:
        assert source.labels == [label if label.strip() else "" for _, label in rows]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", ", line 1: empty, expected a header with a column 'path'"),
        (b"\n", ", line 1: empty, expected a header with a column 'path'"),
        ("file,label\na,x\n", ": no column 'path', expected one; columns found: 'file', 'label'"),
        ("path|label\na|x\n", ": no column 'path', expected one; columns found: 'path|label'; is another delimiter"),
        ("path,label,label\na,x,y\n", ", line 1: column 'label' more than once, expected each name once"),
        ("path,,label\na,x,y\n", ", line 1: a column without a name; columns found: path, , label"),
        ("path,label\na,x\nb\n", ", line 3: 1 fields, expected 2 as in the header"),
        ('path,label\n"a\nb",x\nb,y,z\n', ", line 4: 3 fields, expected 2 as in the header"),
        ("path,label\na,x\n ,y\n", ", line 3: the path is blank; name a file, or remove the row"),
        ("path,label\na,x\nb,y\na,x\n", ", line 4: path 'a' was listed before (%s, line 2); remove one"),
        ("path,label\na\0b,x\n", ", line 2: the path 'a\\x00b' holds a NUL"),
        ('path,label\na,x\n"b,y\n', ", line 3: not CSV: unexpected end of data"),
        ("path,label\na,x\n".encode("utf-16"), ", line 1: not UTF-8; save the file as UTF-8"),
        ("path,label\na,x\nb,ä\n".encode("latin-1"), ", line 3: not UTF-8; save the file as UTF-8"),
    ],
)
def test_bad_manifests_name_the_file_and_the_line(tmp_path, text, message):
    path = tmp_path / "split.csv"
    found = refused(manifest(tmp_path, text))
    assert found.startswith(message % path if "%s" in message else message)


def test_no_rows(tmp_path):
    with pytest.raises(EmptySourceError, match="a header and no rows"):
        open_source(manifest(tmp_path, "path,label\n"))
    with pytest.raises(SourceNotFoundError):
        open_source(tmp_path / "absent.csv")


def test_members_of_archives(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"inside")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "x.jpg", "deep/x.jpg")
    (tmp_path / "b.tar").mkdir()
    (tmp_path / "b.tar" / "y.jpg").write_bytes(b"a folder")
    source = open_source(manifest(tmp_path, "path\na.tar/deep/x.jpg\na.tar/gone.jpg\nb.tar/y.jpg\nc.tar/z.jpg\n"))
    assert isinstance(source.images[0], ArchiveMember)
    assert read_bytes(source.images[0]) == b"inside"
    with pytest.raises(UnreadableImageError, match="^no such member of a.tar$"):
        read_bytes(source.images[1])
    assert read_bytes(source.images[2]) == b"a folder"
    with pytest.raises(UnreadableImageError, match="^no such file$"):
        read_bytes(source.images[3])


@pytest.mark.assets
def test_real_manifests(assets):
    grocery = open_source(assets / "data" / "grocery" / "split.csv", label_column="coarse_label")
    assert (len(grocery), len(grocery.label_classes), sorted(set(grocery.split))) == (
        1518,
        43,
        ["test", "train", "val"],
    )
    cifar = open_source(assets / "data" / "cifar10_wds" / "split.csv")
    shards = open_source(assets / "data" / "cifar10_wds")
    assert len(cifar) == 4000
    assert cifar.split.count("train") == 3000
    assert sorted(cifar.keys) == sorted(shards.keys)
    assert shards.label_classes == [str(number) for number in range(10)]
    number = dict(zip(shards.keys, shards.labels, strict=True))
    assert [str(cls) for cls in cifar.columns["cls"]] == [number[key] for key in cifar.keys]
    same = dict(zip(shards.keys, shards.images, strict=True))
    assert all(
        read_bytes(ref) == read_bytes(same[key]) for key, ref in list(zip(cifar.keys, cifar.images, strict=True))[::37]
    )


def test_cells_that_are_all_json_lists_are_several_classes_an_image(tmp_path):
    manifest = tmp_path / "m.csv"
    manifest.write_text('path,label\na.jpg,"[""dog"", ""photo""]"\nb.jpg,\nc.jpg,"[""dog""]"\n')
    source = open_source(manifest)
    assert source.label_classes == ["dog", "photo"]
    assert source.labels.tolist() == [[True, True], [False, False], [True, False]]
    manifest.write_text('path,label\na.jpg,"[""dog""]"\nb.jpg,cat\nc.jpg,[1]\n')
    assert open_source(manifest).label_classes == ['["dog"]', "[1]", "cat"]
