"""What a gap cannot be measured of is said in one line; adapters of others take the place of ours."""

from __future__ import annotations

import numpy as np
import pytest

from embedkit import gap
from embedkit.errors import EmbedkitError
from tests.tables.table_samples import make_table


def labelled(path, labels, *, width=4, **head):
    make_table(len(labels), width, labels=labels, **head).write(path)


TWO = ["a"] * 6 + ["b"] * 6


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (("one.h5", "two.h5"), {}, "one.h5 has 1 class with two images or more (of a)"),
        (("two.h5", "other.h5"), {}, "have no classes in common"),
        (("two.h5", "single.h5"), {}, "single.h5 has 0 classes with two images or more"),
        (("flat.h5", "flat2.h5"), {}, "all features are constant"),
        (("two.h5", "wide.h5"), {}, "features of two kinds"),
        (("two.h5", "none.h5"), {}, "no labelled images"),
        (("two.h5",), {}, "--domain-column"),
        (("two.h5", "other.h5"), {"domain_column": "site"}, "leave the second one"),
        (("two.h5",), {"domain_column": "site"}, "has no column 'site'"),
        (("two.h5", "other.h5"), {"adapters": ["corral"]}, "adapter 'corral' is not known"),
        (("two.h5", "gone.h5"), {}, "gone.h5"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, monkeypatch, arguments, options, said):
    monkeypatch.chdir(tmp_path)
    labelled(tmp_path / "one.h5", ["a"] * 12)
    labelled(tmp_path / "two.h5", TWO)
    labelled(tmp_path / "other.h5", ["c"] * 6 + ["d"] * 6, seed=1)
    labelled(tmp_path / "single.h5", ["a", "b"], seed=2)
    labelled(tmp_path / "wide.h5", TWO, width=5)
    make_table(12, seed=4).write(tmp_path / "none.h5")
    for name, seed in (("flat.h5", 5), ("flat2.h5", 6)):
        table = make_table(12, labels=TWO, seed=seed)
        type(table)(table.metadata, np.ones((12, 4), np.float32)).write(tmp_path / name)
    with pytest.raises(EmbedkitError) as caught:
        gap(*arguments, **options, floors=False, store=tmp_path / "store")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def three_sites(seed=0):
    rng = np.random.default_rng(seed)
    site, of = np.repeat([0, 1, 2], 24), np.tile([0, 1], 36)
    X = 4 * of[:, None] * np.eye(4)[0] + 6 * (site == 1)[:, None] + rng.normal(size=(72, 4))
    table = make_table(
        72, labels=np.array(["a", "b"])[of].tolist(), columns={"site": np.array(["x", "y", "z"])[site].tolist()}
    )
    return type(table)(table.metadata, X.astype(np.float32))


def test_each_domain_of_a_column_is_left_out(tmp_path):
    three_sites().write(tmp_path / "sites.h5")
    found = gap(tmp_path / "sites.h5", domain_column="site", floors=False, folds=2, store=tmp_path / "store")
    assert found.domains == {"x": 24, "y": 24, "z": 24}
    assert len(found.pairs) == 6
    assert [one.domain for one in found.held_out] == ["x", "y", "z"]
    assert found.recommended is not None
    assert {row["verdict"] for row in found.table()} <= {"transfers", "negative", "adapt", "some-classes"}


def test_adapters_of_skada_take_the_place_of_ours(tmp_path):
    skada = pytest.importorskip("skada")
    three_sites().write(tmp_path / "sites.h5")
    options = {"domain_column": "site", "floors": False, "folds": 2, "store": tmp_path / "store"}
    found = gap(tmp_path / "sites.h5", adapters=["skada.CORALAdapter", "skada.LinearOTMappingAdapter"], **options)
    methods = {one.method: one for one in found.pooled}
    assert methods["skada.CORALAdapter"].value > methods["source-only"].value
    by_object = gap(tmp_path / "sites.h5", adapters={"mine": skada.CORALAdapter()}, **options)
    assert {one.method: one for one in by_object.pooled}["mine"].value == methods["skada.CORALAdapter"].value


def test_images_that_are_in_both_domains_are_counted(tmp_path):
    labelled(tmp_path / "one.h5", TWO)
    labelled(tmp_path / "two.h5", TWO, seed=1)
    same = gap(tmp_path / "one.h5", tmp_path / "one.h5", floors=False, store=tmp_path / "store")
    assert any("12 images are in more than one domain, byte for byte" in note for note in same.notes)
    apart = gap(tmp_path / "one.h5", tmp_path / "two.h5", floors=False, store=tmp_path / "store")
    assert not any("more than one domain" in note for note in apart.notes)
