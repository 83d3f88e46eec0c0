"""embedkit diff."""

from __future__ import annotations

import json

from tests.tables.table_samples import make_table


def test_files_differ_by_a_row(cli, tmp_path):
    table = make_table(6)
    table.write(tmp_path / "a.h5")
    table[1:].write(tmp_path / "b.h5")
    ran = cli("diff", "a.h5", "b.h5", "--json", "-o", "d.json", without=("torch", "timm", "sklearn"))
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert (found["removed"], found["compared"], found["unequal"]) == (["images/0.jpg"], 5, 0)
    assert (tmp_path / "d.json").exists()
    ran = cli("diff", "a.h5", "none.h5")
    assert (ran.code, "Traceback" in ran.err) == (1, False)
