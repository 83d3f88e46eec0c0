"""Small files that others may have damaged, and files recognised as untouched."""

from __future__ import annotations

import json
import logging
import math
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedkit.errors import UnreadableFileError
from embedkit.files import (
    TICK_NS,
    FileIdentity,
    Witness,
    parse_json,
    read_json,
    read_small,
    recall_json,
    remember_json,
    write_small,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(VALUES)
def test_what_json_says_is_read(value):
    assert parse_json(json.dumps(value)) == value


@given(st.binary() | st.text().map(str.encode))
def test_bytes_are_json_or_a_value_error(text):
    try:
        parse_json(text)
    except ValueError:
        return


@pytest.mark.parametrize(
    "text", [b"", b"{", b'"\xff"', b"NaN", b"[-Infinity]", b"1e999", b"[" * 65 + b"]" * 65, b"[" * 10**6, b"9" * 5000]
)
def test_what_is_no_json_of_ours(tmp_path, text, caplog):
    path = tmp_path / "memo.json"
    path.write_bytes(text)
    with pytest.raises(UnreadableFileError, match="memo.json holds no JSON"):
        read_json(path)
    with caplog.at_level(logging.WARNING, "embedkit"):
        assert recall_json(path, "everything is read again") is None
    assert "everything is read again" in caplog.text


def test_levels_are_counted_not_brackets(tmp_path):
    assert parse_json(b"[" * 64 + b"]" * 64)
    assert parse_json(json.dumps(["[" * 999] * 99)) == ["[" * 999] * 99


def test_what_is_absent_is_no_damage(tmp_path, caplog):
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "memo.json")
    assert recall_json(tmp_path / "memo.json", "x") is None
    assert not caplog.text


@pytest.mark.parametrize("kind", ["folder", "pipe", "large", "below a file"])
def test_what_is_no_small_file(tmp_path, kind):
    path = tmp_path / "file"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "large":
            path.write_bytes(b"12345")
        case _:
            path.write_bytes(b"")
            path /= "file"
    with pytest.raises(UnreadableFileError, match="file"):
        read_small(path, 4)


def test_small_files_are_replaced_whole(tmp_path, caplog):
    path = tmp_path / "folder" / "memo.json"
    with pytest.raises(FileNotFoundError):
        write_small(path, b"1")
    for value in ({"a": 1.5}, [None]):
        remember_json(path, value)
        assert read_json(path) == value
    assert os.listdir(path.parent) == ["memo.json"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    with caplog.at_level(logging.WARNING, "embedkit"):
        remember_json(path / "below", 1)
    assert "is not remembered" in caplog.text
    with pytest.raises(ValueError, match="JSON"):
        remember_json(path, math.nan)


def test_a_witness_of_a_young_file_reads_it_again(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"first")
    young = Witness.of(path)
    assert young.identity is None  # it may be written again within one tick, unseen
    assert young.again() == young
    path.write_bytes(b"other")
    assert young.again() is None
    path.unlink()
    assert young.again() is None


def test_a_witness_of_an_old_file_trusts_its_times(tmp_path, monkeypatch):
    path = tmp_path / "weights"
    path.write_bytes(b"first")
    now = FileIdentity.at(path)
    assert now is not None
    assert now.older_than(max(now.modified, now.changed) + 1)
    assert not now.older_than(max(now.modified, now.changed))
    monkeypatch.setattr("time.time_ns", lambda: now.changed + TICK_NS + 1)
    old = Witness.of(path)
    assert old.identity == now
    assert Witness.from_dict(json.loads(json.dumps(old.to_dict()))) == old
    unreadable = Witness(old.path, old.identity, "another digest")
    assert unreadable.again() is unreadable  # not read
    os.utime(path)
    assert unreadable.again() is None
    renewed = old.again()
    assert renewed is not None
    assert renewed.sha256 == old.sha256


def test_what_is_at_no_path():
    assert FileIdentity.at("a\x00b") is None
    assert FileIdentity.at("") is None
