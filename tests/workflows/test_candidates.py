"""What `compare --model auto` takes: all that is at hand, and what pays for this machine where there is a hub."""

from __future__ import annotations

import pytest

from embedkit import compare, extract, shortlist
from embedkit.errors import UsageError
from embedkit.images import open_source
from embedkit.workflows import candidates
from embedkit.workflows.candidates import find_candidates
from tests.photos import make_folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("photos"), {"red": 4, "blue": 4})


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch):
    """A second an image, so that expectations can be counted."""
    monkeypatch.setattr(candidates, "seconds_an_image", lambda *_: 1.0)


def found(photos, monkeypatch, *, online, device="cpu", floors=True):
    monkeypatch.setattr(candidates, "hub_answers", lambda: online)
    return find_candidates([open_source(photos)], device=device, floors=floors)


def test_without_a_hub_it_is_what_is_at_hand(photos, monkeypatch):
    got = found(photos, monkeypatch, online=False)
    at_hand = [one.name for one in shortlist() if one.weights_at_hand]
    assert [one.name for one in got.models] == at_hand
    assert at_hand[0] == "tf_efficientnet_lite0.in1k"
    assert (got.online, got.images, got.download_bytes) == (False, 8, 0)


def test_with_a_hub_those_come_besides_that_are_not_too_costly_here(photos, monkeypatch):
    got = found(photos, monkeypatch, online=True)
    fetched = [one for one in got.models if not one.weights_at_hand]
    assert fetched == [one for one in shortlist() if not one.weights_at_hand and one.cost is not None and one.cost <= 5]
    assert len(fetched) > 5
    assert got.download_bytes == sum(one.download_bytes for one in fetched)


def test_the_time_counts_each_image_and_network_twice_with_floors(photos, monkeypatch):
    seconds = found(photos, monkeypatch, online=False).seconds
    assert seconds == pytest.approx(2 * found(photos, monkeypatch, online=False, floors=False).seconds)
    assert seconds >= 16  # the bundled backbone alone: 8 images, a second each, twice


def test_feature_files_have_their_models(photos, tmp_path):
    extract(photos, "pixels32", store=tmp_path / "store", output=tmp_path / "p.h5")
    with pytest.raises(UsageError, match="feature files have their models already"):
        compare(tmp_path / "p.h5", "auto", store=tmp_path / "store")


def test_a_comparison_says_what_it_takes_before_it_starts(photos, monkeypatch, tmp_path):
    monkeypatch.setattr(candidates, "hub_answers", lambda: False)
    monkeypatch.setattr(candidates, "shortlist", lambda: shortlist()[:1])
    said = []
    comparison = compare(photos, "auto", floors=False, folds=2, store=tmp_path / "store", chosen=said.append)
    assert [one.name for one in said[0].models] == ["tf_efficientnet_lite0.in1k"]
    assert {row.model for board in comparison.leaderboards for row in board.rows} == {"tf_efficientnet_lite0.in1k"}
