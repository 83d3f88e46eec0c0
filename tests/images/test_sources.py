from __future__ import annotations

import os
import subprocess
import sys

import pytest

from embedkit.errors import SourceNotFoundError, UsageError
from embedkit.images import open_source, read_bytes


def test_one_image(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"a")
    source = open_source(tmp_path / "a.jpg")
    assert source.keys == ["a.jpg"]
    assert source.name == str(tmp_path / "a.jpg")
    assert read_bytes(source.images[0]) == b"a"


def test_names_are_absolute_whatever_was_given(tmp_path, monkeypatch):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.jpg").write_bytes(b"a")
    (tmp_path / "m.csv").write_text("path\nx/a.jpg\n")
    monkeypatch.chdir(tmp_path)
    for given in ("x", "x/", "./x", "m.csv", "x/a.jpg"):
        source = open_source(given)
        assert source.name == os.path.abspath(given)
        assert source.memo_name == open_source(os.path.abspath(given)).memo_name
    assert open_source("x").memo_name != open_source("m.csv").memo_name


def test_lists_share_one_memo(tmp_path):
    memo = open_source(["a"]).memo_name
    assert open_source(["a", "b"]).memo_name == memo
    assert memo.startswith("stat-")
    assert memo.endswith(".npy")


def test_what_is_no_source(tmp_path):
    (tmp_path / "notes.md").write_text("")
    with pytest.raises(UsageError, match="notes.md: not a source of images, expected a folder, .csv"):
        open_source(tmp_path / "notes.md")
    with pytest.raises(SourceNotFoundError, match="absent: no such file or folder"):
        open_source(tmp_path / "absent")
    with pytest.raises(UsageError, match="input='key', expected 'path'"):
        open_source(["a"], input="key")


def test_opening_imports_nothing_heavy(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"a")
    code = (
        "import sys; from embedkit.images import open_source; open_source(sys.argv[1]);"
        "heavy = {'torch', 'timm', 'h5py', 'sklearn', 'scipy', 'pyarrow', 'pandas'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_a_list_has_no_columns(tmp_path):
    with pytest.raises(UsageError, match="a list of images has no columns"):
        open_source([str(tmp_path / "a.png")], label_column="label")
