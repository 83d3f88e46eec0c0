"""embedkit select and layers, as a user types them."""

from __future__ import annotations

import json

import pytest

from tests.photos import make_manifest


@pytest.fixture
def photos(tmp_path):
    return make_manifest(tmp_path / "photos", {"red": 9, "green": 9, "blue": 9}, test=3)


def test_a_selection_is_printed_saved_and_gone_on_with(cli, photos, tmp_path):
    two = ("--model", "pixels32", "--model", "colour-histogram")
    ran = cli("select", photos, *two, "--budget", "10m", "--advise", "--json", "-o", "found.json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert {one["model"] for one in found["candidates"]} == {"pixels32", "colour-histogram"}
    assert found["chosen"] in ("pixels32", "colour-histogram")
    assert set(found["scores"]["parc"]) >= {"tau", "regret", "top3"}
    assert 0 < found["cost_share"] <= 1
    assert found["advice"]
    assert json.loads((tmp_path / "found.json").read_text())["kind"] == "select"
    assert "round 1, 18 images" in ran.err
    again = cli("select", photos, *two)
    assert again.out.startswith(f"chosen: {found['chosen']}")
    command = again.out.split("Next: ")[1].split("\n")[0].split()
    assert command[:3] == ["embedkit", "extract", str(photos)]
    assert cli(*command[1:]).code == 0
    assert (tmp_path / "features.h5").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["select", "photos/split.csv", "--model", "pixels32"], "the only candidate"),
        (["select", "photos/split.csv", "--model", "auto", "--budget", "soon"], "90s, 10m or 2h"),
        (["select", "photos/split.csv", "--model", "pixels32", "--tolerance", "0", "--layer", "1"], "tolerance"),
        (["layers", "photos/split.csv", "--layer", "2"], "leave --layer out"),
        (["layers", "photos/split.csv", "--model", "pixels32"], "has no layers"),
        (["layers", "photos/split.csv", "--model", "pixels32", "--model", "test_vit"], "layers takes one"),
        (["gap", "photos", "photos", "--model", "pixels32", "--model", "test_vit"], "gap takes one"),
        (["fit", "photos", "--model", "pixels32", "--model", "test_vit", "-o", "m.skops"], "fit takes one"),
    ],
)
def test_what_cannot_be_done_is_one_line(cli, photos, arguments, said):
    ran = cli(*arguments)
    assert ran.code in (1, 2)
    assert said in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("command", ["select", "layers"])
def test_rows_without_a_label_are_left_out_as_the_error_says(cli, photos, command):
    rows = photos.read_text().splitlines()
    column = rows[0].split(",").index("label")
    cells = rows[1].split(",")
    cells[column] = ""
    photos.write_text("\n".join([rows[0], ",".join(cells), *rows[2:]]) + "\n")
    several = ("--model", "pixels32", "--model", "colour-histogram")
    models = several if command == "select" else ("--model", "test_efficientnet", "--weights", "random")
    ran = cli(command, photos, *models)
    assert ran.code == 1
    assert "1 of 27 rows have no label" in ran.err
    assert "--drop-unlabelled" in ran.err
    ran = cli(command, photos, *models, "--drop-unlabelled")
    assert ran.code == 0, ran.err
    assert "1 rows without a label are left out" in ran.err + ran.out
