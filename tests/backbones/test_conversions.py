"""Converted networks that are kept for the next process: read whole, or converted again."""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedkit.backbones import FeatureRequest, PreprocessOverrides, conversions, load_backbone
from embedkit.backbones.conversions import Conversion
from embedkit.backbones.drift import drift_images
from embedkit.files import seal


def test_what_is_kept_is_read_by_the_same_key_alone(tmp_path: Path) -> None:
    kept = Conversion(tmp_path / "memo", {"weights": "a", "libraries": {"torch": "1"}})
    assert kept.read() is None
    assert not kept.is_kept()
    kept.keep(b"<xml>", b"\0" * 1000)
    again = Conversion(tmp_path / "memo", {"libraries": {"torch": "1"}, "weights": "a"})
    assert again.is_kept()
    found = again.read()
    assert found is not None
    assert (found[0], bytes(found[1])) == (b"<xml>", b"\0" * 1000)
    assert not Conversion(tmp_path / "memo", {"weights": "a", "libraries": {"torch": "2"}}).is_kept()


@pytest.mark.parametrize("length", [0, 7, 40, 60, -1])
def test_what_is_damaged_is_converted_again(length: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = Conversion(tmp_path, {"weights": "a"})
    kept.keep(b"<xml>", bytes(range(200)))
    content = bytearray(kept.path.read_bytes())
    if length < 0:
        content[100] ^= 1
    kept.path.write_bytes(content[: length if length >= 0 else None])
    with caplog.at_level(logging.WARNING, "embedkit"):
        assert kept.read() is None
    assert "converted again" in caplog.text


def test_a_link_in_the_memo_is_not_followed(tmp_path: Path) -> None:
    kept = Conversion(tmp_path, {"weights": "a"})
    kept.keep(b"<xml>", b"w")
    os.rename(kept.path, tmp_path / "elsewhere")
    kept.path.symlink_to(tmp_path / "elsewhere")
    assert kept.read() is None


def test_the_oldest_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversions, "ROOM", 3000)
    kept = [Conversion(tmp_path, {"weights": name}) for name in "abc"]
    for number, one in enumerate(kept[:2]):
        one.keep(b"<xml>", b"\0" * 1000)
        os.utime(one.path, (1000 + number, 1000 + number))
    assert kept[0].read() is not None  # so that it is no longer the oldest
    kept[2].keep(b"<xml>", b"\0" * 1000)
    assert [one.is_kept() for one in kept] == [True, False, True]
    Conversion(tmp_path, {"weights": "large"}).keep(b"<xml>", b"\0" * 4000)
    assert [one.is_kept() for one in kept] == [True, False, True], "what cannot stay drives nothing out"


def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder")
    with caplog.at_level(logging.WARNING, "embedkit"):
        Conversion(tmp_path / "file", {"weights": "a"}).keep(b"<xml>", b"w")
    assert "is not kept" in caplog.text


def small(memo: Path, **changes: Any) -> Any:
    overrides = PreprocessOverrides(input_size=(64, 64))
    request = FeatureRequest("resnet10t", "random", engine="openvino", precision="fp32", preprocess=overrides)
    return load_backbone(dataclasses.replace(request, **changes), memo_folder=memo)


def test_the_second_time_nothing_is_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    from embedkit.backbones import openvino_engine

    traced: list[str] = []
    trace: Any = openvino_engine._trace  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(openvino_engine, "_trace", lambda *given: traced.append("traced") or trace(*given))
    pixels = drift_images(64, 64)[:8]
    first = small(tmp_path)(pixels)
    assert traced == ["traced"]
    np.testing.assert_allclose(small(tmp_path)(pixels), first, rtol=0, atol=1e-6 * np.abs(first).max())
    assert traced == ["traced"]
    small(tmp_path, layer=-1)
    assert len(traced) == 2, "another output is another network"

    [path] = [one for one in tmp_path.glob("network-*") if one.stat().st_mtime_ns == min(_times(tmp_path))]
    path.write_bytes(seal(b"\4\0\0\0\0\0\0\0<xml" + b"\0" * 100))  # whole, and not what OpenVINO wrote
    np.testing.assert_allclose(small(tmp_path)(pixels), first, rtol=0, atol=1e-6 * np.abs(first).max())
    assert len(traced) == 3


def _times(folder: Path) -> list[int]:
    return [path.stat().st_mtime_ns for path in folder.glob("network-*")]
