"""A disk that will be full is named before the first forward pass."""

from __future__ import annotations

import logging
import shutil
from types import SimpleNamespace

import pytest

from embedkit import extract
from tests.photos import MODEL, make_manifest


@pytest.mark.parametrize(("free", "said"), [(100, True), (10_000_000, False)])
def test_too_little_space_is_said_first(tmp_path, monkeypatch, caplog, free, said):
    manifest = make_manifest(tmp_path / "photos", {"red": 3, "green": 3}, test=1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    with caplog.at_level(logging.WARNING, logger="embedkit"):
        done = extract(manifest, MODEL, weights="random", store=tmp_path / "store", precision="fp32", engine="torch")
    assert done.forward_passes == 6
    assert any("6 images need up to" in record.message for record in caplog.records) == said
