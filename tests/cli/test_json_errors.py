"""With --json an error is JSON, too, and the exit code stays."""

from __future__ import annotations

import json

import pytest


@pytest.mark.parametrize(
    ("arguments", "kind", "code"),
    [
        (("probe", "--json"), "MissingParameter", 2),
        (("probe", "x.h5", "--jsom", "--json"), "NoSuchOption", 2),
        (("extract", "photos", "--unit", "1/2", "--json"), "UsageError", 2),
        (("probe", "x.h5", "--folds", "many", "--json"), "BadParameter", 2),
        (("info", "gone.h5", "--json"), "FeatureFileNotFoundError", 1),
        (("store", "info", "gone", "--json"), "StoreNotFoundError", 1),
    ],
)
def test_an_error_is_json_where_json_was_asked_for(cli, arguments, kind, code):
    ran = cli(*arguments)
    assert ran.code == code
    said = json.loads(ran.out)
    assert said["error"]["type"] == kind
    assert said.keys() == {"error"}
    assert said["error"]["message"] in " ".join(ran.err.split())  # people still read it there
    plain = cli(*[one for one in arguments if one != "--json"])
    assert (plain.code, plain.out) == (code, "")
