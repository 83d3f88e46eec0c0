"""The shape of the house: no module reaches itself through its imports."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

grimp = pytest.importorskip("grimp")
ROOT = Path(__file__).resolve().parents[1]


def test_no_circle_between_modules():
    graph = grimp.build_graph("embedkit", exclude_type_checking_imports=True, cache_dir=None)
    # A package's front door imports what stands behind it; that is no circle until something behind it comes back.
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 100
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_no_module_over_400_lines():
    files = [file for package in (ROOT / "embedkit", ROOT / "cli") for file in package.rglob("*.py")]
    assert len(files) > 100
    assert {file.name: lines for file in files if (lines := len(file.read_text("utf-8").splitlines())) > 400} == {}
