"""Tables of every kind are examined and searched: few rows, values, several labels, float16, hostile names."""

from __future__ import annotations

import numpy as np
import pytest

from embedkit import audit, load_result, search, write_page
from embedkit.auditing import Examination
from embedkit.evaluation import find_duplicates
from embedkit.results import KINDS
from tests.tables.table_samples import make_table

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=x>',
    "\u202egpj.exe",
    "n" * 1000,
    "a\nb\x1b[31m",
    "=cmd()",
    "' onload='x",
    "&lt;",
]
N = 48


def labels_of_kind(kind):
    if kind == "class":
        return [HOSTILE[row % 4] for row in range(N)]
    if kind == "some":
        return ["" if row % 3 == 0 else HOSTILE[row % 2] for row in range(N)]
    if kind == "value":
        return np.linspace(0, 1, N)
    if kind == "multilabel":
        return np.eye(4, dtype=bool)[np.arange(N) % 4]
    return None if kind == "none" else ["one"] * N


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("rows", [0, 1, 2, 3, 9])
def test_few_rows(rows, dtype):
    table = make_table(rows, dtype=dtype, labels=[("a", "b")[row % 2] for row in range(rows)])
    seen = Examination(table, None, find_duplicates(table, thorough=True))
    assert {one.kind for one in seen.findings()} <= set(KINDS)
    assert all(0 <= one.before <= 1 for one in seen.effects())
    assert (seen.labelled is None) == (rows < 2)


@pytest.mark.parametrize("kind", ["class", "some", "value", "multilabel", "none", "single"])
def test_labels_of_every_kind_and_hostile_names(tmp_path, kind):
    options = {"classes": HOSTILE[:4]} if kind == "multilabel" else {}
    keys = [f"{HOSTILE[row % len(HOSTILE)]}{row}" for row in range(N)]
    groups = [HOSTILE[row % 3] for row in range(N)]
    table = make_table(N, 6, keys=keys, labels=labels_of_kind(kind), groups=groups, **options)
    table.write(tmp_path / "a.h5")
    found = audit(tmp_path / "a.h5", output=tmp_path / "a.json", store=tmp_path / "store")
    assert any("findings that need pixels are missing" in note for note in found.notes)
    without_labels = any("findings about labels are missing" in note for note in found.notes)
    assert without_labels == (kind not in ("class", "some"))
    assert load_result(tmp_path / "a.json") == found
    near = search(tmp_path / "a.h5", keys[:8], k=3, store=tmp_path / "store")
    assert [len(one.hits) for one in near.results] == [3] * 8
    label = near.results[0].hits[0].label
    expected = {"class": str, "value": float, "multilabel": list, "none": type(None), "single": str}
    assert kind == "some" or isinstance(label, expected[kind])
    write_page([found, near], tmp_path / "page.html", store=tmp_path / "store")
    page = (tmp_path / "page.html").read_text("utf-8")
    for name in ("<script>alert", "<img src=x", "\u202e", "' onload='", "\x1b"):
        assert name not in page
    assert len(page) < 5 << 20


def test_copies_and_groups_are_one_unit():
    table = make_table(6, groups=["", "g", "", "g", "", ""])
    digests = table.digests.copy()
    digests[4] = digests[2]
    table.metadata.digests[:] = digests
    seen = Examination(table, None, find_duplicates(table, thorough=True))
    units = seen.units()
    assert units[1] == units[3]
    assert units[2] == units[4]
    assert len(set(units)) == 4
