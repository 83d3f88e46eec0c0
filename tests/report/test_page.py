"""A page says what its results say, holds to its budget, and lets no name out of its place."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from embedkit.report import page
from embedkit.report.outcomes import class_outcomes, mistakes
from embedkit.results import FineTuneReport, Origin, RungResult
from tests.report.samples import (
    HOSTILE,
    make_comparison,
    make_curves,
    make_gap,
    make_layers,
    make_probe,
    make_result,
    make_rows,
    make_selection,
    thumbnails_of,
)

VOID = {"meta", "img", "input", "br", "link"}


class Outline(HTMLParser):
    """The elements of a page; fails on one that is closed out of order."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"{tag} is closed and was not open"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)


def outline(html: str) -> Outline:
    parser = Outline()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


@pytest.mark.parametrize(
    "record",
    [make_probe(), make_comparison(), make_curves(), make_selection(), make_layers(), make_gap()],
    ids=lambda one: one.kind,
)
def test_a_page_is_whole_in_itself(record):
    found = outline(page([record]))
    for tag, attributes in found.elements:
        for name in ("src", "href", "xlink:href", "action", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:image/jpeg;base64,")), (tag, value)
        assert not any(name.startswith("on") for name in attributes)
    links = {a["href"][1:] for tag, a in found.elements if tag in ("a", "use") and a.get("href")}
    ids = [a["id"] for _, a in found.elements if a.get("id")]
    assert links <= set(ids)
    assert len(ids) == len(set(ids))


def test_what_a_page_of_a_probe_says():
    report = make_probe()
    rows = report.results[0].rows
    said = " ".join(outline(page([report], thumbnails_of(rows.keys))).text)
    share = round(100 * report.results[0].value)
    assert f"{share} are named right" in said
    assert "raw pixels 20" in said
    wrong = int((rows.y_true != rows.y_pred).sum())
    assert f"{wrong} of {len(rows)} tested images are named wrong" in said
    assert "embedkit probe photos.h5 --protocol quick" in said
    assert "broken.jpg: cut short" in said
    assert "no some_net random weights: the source is gone" in said
    for title in ("Results", "The surest mistakes", "Which classes are confused", "What was chosen from"):
        assert title in said


def test_what_pages_of_comparisons_and_curves_say():
    said = " ".join(outline(page([make_comparison(), make_curves()])).text)
    assert "photos: a is best by quick (accuracy 80.0 %), the nearest being b (p = 0.02, corrected)" in said
    assert "Friedman p = 0.05" in said
    assert "1 photo a class gives 40 %, 16 photos a class give 80 %" in said


def test_what_pages_of_selections_layers_and_gaps_draw():
    said = " ".join(outline(page([make_selection()])).text)
    for word in ("some_net, 192: 80", "take some_net: ", "80 % are named right", "embedkit extract <photos>"):
        assert word in said
    found = outline(page([make_layers()]))
    assert [a["class"] for tag, a in found.elements if tag == "circle"] == ["dot series-1"] * 3
    assert "layer; 2 is the model's own output" in " ".join(found.text)
    found = outline(page([make_gap()]))
    assert [a["class"] for tag, a in found.elements if tag == "circle"] == ["mark", "mark", "mark muted"]
    assert "Negative transfer from photos" in " ".join(found.text)


@pytest.mark.parametrize("make", [make_selection, make_layers, make_gap], ids=lambda make: make.__name__)
def test_hostile_names_of_models_and_domains_stay_text(make):
    html = page([make("<script>x</script>\u202e")])
    assert [tag for tag, _ in outline(html).elements].count("script") == 1
    assert "\u202e" not in html


def test_hostile_names_stay_text():
    report = make_probe(HOSTILE, n=200)
    html = page([report], thumbnails_of(report.results[0].rows.keys), title=HOSTILE[0])
    found = outline(html)
    assert [tag for tag, _ in found.elements].count("script") == 1
    assert not [tag for tag, _ in found.elements if tag == "img"]
    assert not any(name.startswith("on") for _, attributes in found.elements for name in attributes)
    assert "\u202e" not in html
    assert "\x1b" not in html
    assert "n" * 500 not in html
    assert "<script>document" not in html
    assert "&lt;script&gt;document" in html
    assert "&amp;lt;b&amp;gt;" in html


def test_thumbnails_are_in_a_page_once_and_within_its_budget():
    rows = make_rows([f"class {place}" for place in range(20)], 10_000)
    report = make_probe([f"class {place}" for place in range(20)], n=10_000)
    rng = np.random.default_rng(0)
    files = {key: rng.bytes(2_000) for key in rows.keys}
    html = page([report], files)
    assert len(html.encode()) <= 5 << 20
    shown, available = map(int, re.search(r"(\d+) of (\d+) thumbnails are in this page", html).groups())
    assert available == 10_000
    assert 500 < shown < 10_000
    assert html.count("data:image/jpeg") == shown
    first = mistakes(report.results[0].rows)[0].key
    assert f'aria-label="{first}"><use' in html  # the surest mistakes are served first


def test_a_script_of_twenty_kilobytes_at_most():
    html = page([make_curves()])
    script = re.search(r"<script>(.*)</script>", html, re.DOTALL).group(1)
    assert len(script.encode()) <= 20 << 10


def test_classes_that_cost_most_come_first():
    rows = make_rows(["a", "b", "c"], 300, seed=3)
    found = class_outcomes(rows)
    assert sum(one.gain for one in found) == pytest.approx(1 - (rows.y_true == rows.y_pred).mean())
    assert [one.gain for one in found] == sorted((one.gain for one in found), reverse=True)
    for one in found:
        assert one.tested == (rows.y_true == one.name).sum()
        assert one.claimed == (rows.y_pred == one.name).sum()
        assert one.right == ((rows.y_true == one.name) & (rows.y_pred == one.name)).sum()


def test_values_and_undefined_intervals_have_a_page_too():
    values = make_result(None, metric="r2", value=0.4, interval=(-0.2, 0.7), params={"alpha": 1.0})
    report = make_probe()
    said = " ".join(outline(page([type(report)(results=[values])])).text)
    assert "40 % of the variance of the values is explained" in said


def test_a_result_without_pictures_of_its_own_is_shown_as_it_is_printed():
    network = {"model": "vit_tiny", "weights": "<w>.pth", "device": "auto"}
    report = FineTuneReport(
        origin=Origin(request={"command": "finetune", "target": "photos", "model": network}),
        rungs=[RungResult(rung="frozen", value=0.8125, interval=(0.7, 0.9), p=None, validation=0.8)],
        recommended="frozen",
        model="vit_tiny",
        n_train=80,
        n_test=16,
        classes=2,
        selected_on="a part of <train>",
        reported_on="test",
    )
    written = page([report])
    shown = written[written.index("<h2>Results</h2>") :]
    assert "81.2 %" in shown
    assert "a part of &lt;train&gt;" in shown
    assert "embedkit finetune photos --model &#x27;vit_tiny=&lt;w&gt;.pth&#x27;" in shown
    assert "u000a" not in written  # lines stay lines
