from __future__ import annotations

import json
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedkit.errors import EmptySourceError, ManifestError
from embedkit.images import describe, open_source
from embedkit.images.labels import infer_labels
from tests.images.test_archives import tar, zipped


def labels_of(values, kind="written", target_type="auto"):
    notes: list[str] = []
    labels, classes = infer_labels(values, target_type, str, kind, notes)
    return labels, classes, notes


@given(st.lists(st.one_of(st.text(max_size=4), st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,2})?(e[0-9])?", fullmatch=True))))
def test_no_text_of_a_class_is_changed_and_no_two_are_merged(values):
    labels, classes, _ = labels_of(values, target_type="class")
    if labels is None:
        assert not any(value.strip() for value in values)
        return
    for value, label in zip(values, labels, strict=True):
        assert label == (value if value.strip() else "") or label == unicodedata.normalize("NFC", value)
    forms = {unicodedata.normalize("NFC", value) for value in values if value.strip()}
    assert {unicodedata.normalize("NFC", name) for name in classes} == forms
    assert len(classes) == len(forms)


def test_text_that_has_a_type_is_not_guessed_again():
    assert labels_of(["3.10", "3.1", "2.7"], "text")[0] == ["3.10", "3.1", "2.7"]
    labels, _, notes = labels_of(["3.10", "3.1", "2.7"])
    assert labels.tolist() == [3.1, 3.1, 2.7]
    assert "taken as values (--target-type class" in notes[0]
    assert labels_of(["3.10", "3.1"], target_type="class")[0] == ["3.10", "3.1"]
    assert labels_of(["1", "2"], "text", "value")[0].tolist() == [1, 2]
    assert labels_of(["1.0", "2.0"], "number")[0] == ["1", "2"]


def test_minus_one_is_no_label_where_classes_count_from_0():
    labels, classes, notes = labels_of(["0", "-1", "1", ""], "number")
    assert (labels, classes) == (["0", "", "1", ""], ["0", "1"])
    assert "label -1 (1 rows) is taken as no label" in notes[0]
    assert labels_of(["-1", "1"], "number")[1] == ["-1", "1"]
    assert labels_of(["0", "-1"])[1] == ["-1", "0"]  # written so in a CSV


@pytest.mark.parametrize(
    ("values", "words"),
    [(["Dog", "dog"], "differ only by case or spaces"), ([" cat", "dog"], "begin or end with spaces: ' cat'")],
)
def test_classes_that_look_alike_are_said(values, words):
    labels, _, notes = labels_of(values)
    assert labels == values
    assert any(words.partition(":")[0] in note for note in notes)


def parquet(folder, columns, features=None):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    table = pa.table(columns)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, folder / "m.parquet")
    return folder / "m.parquet"


def test_typed_text_in_every_container(tmp_path):
    texts = ["3.10", "3.1", "2.7"]
    path = [f"{row}.jpg" for row in range(3)]
    columns = {"path": path, "label": texts, "code": ["1.0", "1", "2"]}
    sources = [open_source(parquet(tmp_path, columns))]
    lines = [json.dumps({"file_name": p, "label": t, "code": "1"}) for p, t in zip(path, texts, strict=True)]
    (tmp_path / "m.jsonl").write_text("\n".join(lines) + "\n\n")
    sources.append(open_source(tmp_path / "m.jsonl"))
    members = dict.fromkeys(path, b"x")
    members |= {f"{row}.json": json.dumps({"label": text, "code": "1"}).encode() for row, text in enumerate(texts)}
    sources += [open_source(tar(tmp_path / "a.tar", members)), open_source(zipped(tmp_path / "a.zip", members))]
    sources.append(open_source([{"image": name, "label": text} for name, text in zip(path, texts, strict=True)]))
    folders = {f"{text}/1.jpg": b"x" for text in texts}
    sources.append(open_source(tar(tmp_path / "b.tar", folders)))
    for source in sources:
        assert source.labels == texts
        assert isinstance(source.columns.get("code", []), list)
    assert open_source(tmp_path / "m.jsonl", target_type="value").labels.tolist() == [3.1, 3.1, 2.7]


def test_class_names_of_parquet(tmp_path):
    columns = {"image": [b"a", b"b", b"c"], "label": [1, -1, None]}
    assert open_source(parquet(tmp_path, columns, {"label": {"names": ["x", "y"]}})).labels == ["y", "", ""]
    with pytest.raises(ManifestError, match="'x' names more than one class"):
        open_source(parquet(tmp_path, columns, {"label": {"names": ["x", "x"]}}))
    with pytest.raises(ManifestError, match="label 1, expected -1 to 0: it names 1 classes"):
        open_source(parquet(tmp_path, columns, {"label": {"names": ["x"]}}))


@pytest.mark.parametrize("name", ["filename", "Path", "image", "FILE"])
def test_columns_that_look_like_the_one_of_paths_are_offered(tmp_path, name):
    (tmp_path / "m.csv").write_text(f"{name},label\na.jpg,x\n")
    with pytest.raises(ManifestError, match=f"{name!r} looks like it: .* --image-column {name}"):
        open_source(tmp_path / "m.csv")
    assert open_source(tmp_path / "m.csv", image_column=name).keys == ["a.jpg"]


def test_columns_that_look_like_labels_are_offered(tmp_path):
    (tmp_path / "m.csv").write_text("path,Label,subset\na.jpg,x,train\n")
    source = open_source(tmp_path / "m.csv")
    assert source.labels is None
    assert source.notes == [
        "no column 'label'; 'Label' looks like it: if it is, name it by --label-column Label (label_column='Label')",
        "no column 'split'; 'subset' looks like it: if it is, rename it to 'split'",
    ]


def test_a_file_named_in_two_spellings_is_a_contradiction(tmp_path):
    (tmp_path / "m.csv").write_text("path,label\na.jpg,x\nb.jpg,x\n./a.jpg,y\n")
    source = open_source(tmp_path / "m.csv")
    assert "1 rows name a file that another row names too ('a.jpg' and './a.jpg'" in source.notes[0]
    found = describe(source)
    assert found.to_dict()["contradictions"] == [{"keys": ["a.jpg", "./a.jpg"], "labels": ["x", "y"]}]
    assert "contradictions: 1 image under several labels (a.jpg, ./a.jpg: x, y)" in found.line()
    digests = np.array([[1] * 32, [2] * 32, [2] * 32], np.uint8)
    assert describe(source, digests).contradictions[0].keys == ["b.jpg", "./a.jpg"]


ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"])
CELLS = st.text(st.sampled_from("ab,;\t\"'é \n\r0.5"), min_size=0, max_size=6)


@given(
    st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6),
    ENCODINGS,
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["minimal", "all", "none"]),
    st.sampled_from(["\n", "\r\n"]),
)
@settings(max_examples=150, deadline=None)
def test_a_manifest_is_read_as_pandas_reads_it_or_the_line_is_named(
    tmp_path_factory, rows, encoding, mark, quotes, end
):
    pandas = pytest.importorskip("pandas")

    def cell(text: str) -> str:
        quoted = quotes == "all" or (quotes == "minimal" and any(letter in text for letter in f'{mark}"\r\n'))
        return '"' + text.replace('"', '""') + '"' if quoted else text

    text = "".join(mark.join(map(cell, row)) + end for row in [("path", "label"), *rows])
    path = tmp_path_factory.mktemp("m") / ("m.tsv" if mark == "\t" else "m.csv")
    path.write_bytes(text.encode(encoding))
    try:
        source = open_source(path, target_type="class" if any(label.strip() for _, label in rows) else None)
    except EmptySourceError:
        return
    except ManifestError as error:
        message = str(error)
    else:
        message = ""
    if message:
        assert f"{path}, line " in message or "no column 'path'" in message
        return
    frame = pandas.read_csv(path, dtype=str, keep_default_na=False, sep=mark, encoding="utf-8-sig", engine="python")
    assert source.keys == frame["path"].tolist()
    labels = source.labels if source.labels is not None else [""] * len(source)
    assert labels == [label if label.strip() else "" for label in frame["label"]]
