"""With --json an error is JSON, too, and the exit code stays."""

from __future__ import annotations

import json

import pytest


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [(("probe", "absent.h5"), 1, None), (("probe", "absent.h5", "--folds", "many"), 2, "BadParameter")],
)
def test_errors_are_json(cli, arguments, code, kind):
    plain, ran = cli(*arguments), cli(*arguments, "--json")
    assert (plain.code, plain.out, ran.code) == (code, "", code)
    error = json.loads(ran.out)["error"]
    assert set(error) == {"type", "message"}
    assert error["message"] in " ".join(ran.err.split())
    assert kind is None or error["type"] == kind
