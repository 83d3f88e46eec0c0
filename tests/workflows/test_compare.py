"""compare: from images to leaderboards, reproduced to the last bit, resumed where it was left."""

from __future__ import annotations

import csv
import io
import json

import pytest

from embedkit import FeatureRequest, FeatureTable, PreprocessOverrides, compare, extract
from embedkit.errors import LabelsError, SplitError, UsageError
from embedkit.render import as_csv, as_markdown, as_text
from embedkit.workflows import leaderboard_entries
from tests.photos import MODEL, make_manifest

FAST = {"precision": "fp32", "engine": "torch"}
MODELS = [FeatureRequest(MODEL, weights="random"), FeatureRequest("test_vit", weights="random")]


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return [
        make_manifest(folder / name, {"red": count, "green": count, "blue": count}, test=3)
        for name, count in (("one", 9), ("two", 8), ("three", 7))
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def runs(monkeypatch):
    """Count the probes that are really run."""
    seen: list[tuple[str, int]] = []
    run_protocol = leaderboard_entries.run_protocol

    def counting(name, table, **options):
        seen.append((name, options["random_state"]))
        return run_protocol(name, table, **options)

    monkeypatch.setattr(leaderboard_entries, "run_protocol", counting)
    return seen


def reproducible(comparison) -> list:
    """Everything but wall clocks."""
    record = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    for board in record["leaderboards"]:
        for row in board["rows"]:
            del row["fit_seconds"], row["images_per_second"]
    for result in record["results"]:
        del result["fit_seconds"]
    del record["origin"]  # says when
    return record


def test_a_leaderboard_of_each_data_set_and_protocol(manifests, store):
    comparison = compare(manifests, MODELS, protocols=("quick", "simpleshot"), store=store)
    assert [(board.data, board.protocol) for board in comparison.leaderboards] == [
        (data, protocol) for protocol in ("quick", "simpleshot") for data in ("one", "two", "three")
    ]
    for board in comparison.leaderboards:
        assert {row.model for row in board.rows} == {MODEL, "test_vit", "pixels32", "colour-histogram"}
        assert {row.model for row in board.rows if row.floor} == {"pixels32", "colour-histogram"}
        assert [row.value for row in board.rows] == sorted((row.value for row in board.rows), reverse=True)
        assert board.not_ranked == []
        for row in board.rows:
            assert row.interval[0] <= row.value <= row.interval[1]
            assert row.rank >= 1
            assert row.parameters is not None
            assert row.images_per_second > 0
            assert row.feature_bytes > 0
            assert row.fit_seconds > 0
    assert {(ranks.protocol, tuple(ranks.data)) for ranks in comparison.average_ranks} == {
        ("quick", ("one", "two", "three")),
        ("simpleshot", ("one", "two", "three")),
    }
    assert "average ranks over 3 data sets" in as_text(comparison)
    rows = list(csv.DictReader(io.StringIO(as_csv(comparison))))
    assert len(rows) == 2 * 3 * 4
    assert as_markdown(comparison).count("\n## ") == 2 * 3 + 2 - 1


def test_a_second_run_computes_nothing_and_says_the_same(manifests, store, runs):
    first = compare(manifests[:2], MODELS, store=store, seeds=2)
    runs.clear()
    second = compare(manifests[:2], MODELS, store=store, seeds=2)
    assert runs == []
    assert reproducible(second) == reproducible(first)
    clocks = [[row.fit_seconds for board in one.leaderboards for row in board.rows] for one in (first, second)]
    assert clocks[0] == clocks[1]  # remembered, too


def test_a_fresh_store_gives_the_same_bits(manifests, store, tmp_path):
    first = compare(manifests[:2], MODELS, protocols=("quick", "simpleshot"), store=store)
    second = compare(manifests[:2], MODELS, protocols=("quick", "simpleshot"), store=tmp_path / "fresh")
    assert reproducible(second) == reproducible(first)


def test_one_more_backbone_seed_or_protocol_costs_only_its_own_work(manifests, tmp_path, runs):
    store = tmp_path / "store"
    compare(manifests[0], MODELS[:1], floors=False, store=store)
    assert runs == [("quick", 0)]
    runs.clear()
    compare(manifests[0], MODELS, floors=False, store=store)
    assert runs == [("quick", 0)]
    runs.clear()
    compare(manifests[0], MODELS[:1], floors=False, store=store, seeds=3)
    assert runs == [("quick", 1), ("quick", 2)]
    runs.clear()
    compare(manifests[0], MODELS[:1], floors=False, store=store, protocols=("quick", "simpleshot"))
    assert runs == [("simpleshot", 0)]


def test_an_interrupted_comparison_goes_on_where_it_was(manifests, tmp_path, runs):
    class StopHereError(Exception):
        pass

    def interrupt(data, result):
        if len(runs) == 3:
            raise StopHereError

    store = tmp_path / "store"
    with pytest.raises(StopHereError):
        compare(manifests[:2], MODELS, floors=False, store=store, finished=interrupt)
    compare(manifests[:2], MODELS, floors=False, store=store)
    assert len(runs) == 4


@pytest.mark.parametrize("change", ["label", "split"])
def test_other_labels_and_splits_are_other_work(manifests, tmp_path, runs, change):
    store = tmp_path / "store"
    extract(manifests[0], MODEL, weights="random", store=store, output=tmp_path / "a.h5", **FAST)
    compare(tmp_path / "a.h5", floors=False, store=store)
    compare(tmp_path / "a.h5", floors=False, store=store)
    assert len(runs) == 1
    text = manifests[0].read_text().splitlines()
    changed = text[1].replace("red/", "RED/").replace("red", "green").replace("RED/", "red/")
    text[1] = changed if change == "label" else text[1].replace("train", "test")
    other = manifests[0].with_name("other.csv")
    other.write_text("\n".join(text))
    extract(other, MODEL, weights="random", store=store, output=tmp_path / "b.h5", **FAST)
    compare(tmp_path / "b.h5", floors=False, store=store)
    assert len(runs) == 2


def test_damaged_memories_are_computed_again(manifests, tmp_path, runs, caplog):
    store = tmp_path / "store"
    first = compare(manifests[0], MODELS[:1], floors=False, store=store)
    for path in (store / "memo" / "probes").glob("result-*.json"):
        path.write_text(path.read_text()[:50])
    second = compare(manifests[0], MODELS[:1], floors=False, store=store)
    assert len(runs) == 2
    assert reproducible(first) == reproducible(second)
    assert "it is computed again" in caplog.text


def test_feature_files_of_one_source_are_one_data_set(manifests, tmp_path):
    store = tmp_path / "store"
    for model in (MODEL, "test_vit"):
        extract(manifests[0], model, weights="random", store=store, output=tmp_path / f"{model}.h5", **FAST)
    comparison = compare([tmp_path / f"{MODEL}.h5", tmp_path / "test_vit.h5"], store=store)
    [board] = comparison.leaderboards
    assert {row.model for row in board.rows} == {MODEL, "test_vit", "pixels32", "colour-histogram"}
    assert board.not_ranked == []
    images = compare(manifests[0], MODELS, store=store)
    assert reproducible(images)["leaderboards"][0]["pairs"] == reproducible(comparison)["leaderboards"][0]["pairs"]


def test_models_are_for_images_and_refused_beside_feature_files_alone(manifests, store, tmp_path):
    path = tmp_path / "a.h5"
    extract(manifests[0], MODEL, weights="random", store=store, output=path, **FAST)
    with pytest.raises(UsageError, match=r"a\.h5 is a feature file and has its model already; leave the model out"):
        compare(path, MODELS[1], store=store, floors=False)
    mixed = compare([path, manifests[1]], MODELS[1], store=store, floors=False)
    assert [(board.data, [row.model for row in board.rows]) for board in mixed.leaderboards] == [
        ("one", [MODEL]),
        ("two", ["test_vit"]),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"protocols": ("clip", "hest-ridge")},
            "split.csv: the labels are one class an image, and hest-ridge needs values: ",
        ),
        (
            {"protocols": ("simpleshot", "quick"), "estimator": "sklearn.svm.SVR"},
            "split.csv: estimator SVR does not fit",
        ),
    ],
)
def test_what_does_not_suit_the_labels_is_refused_before_any_work(manifests, tmp_path, runs, options, message):
    extract(manifests[0], MODEL, weights="random", store=tmp_path / "other", output=tmp_path / "a.h5", **FAST)
    for targets, models in ((manifests[0], MODELS), (tmp_path / "a.h5", ())):
        with pytest.raises((LabelsError, UsageError)) as caught:
            compare(targets, models, store=tmp_path / "store", floors=False, **options)
        assert message.replace("split.csv", targets.name) in str(caught.value)
    assert runs == []
    assert list((tmp_path / "store").rglob("*.h5")) == []  # nothing was extracted either


def test_any_estimator_of_scikit_learn_and_its_parameters_are_part_of_what_is_remembered(manifests, tmp_path, runs):
    def asked(**options):
        store, quick = tmp_path / "store", ("quick", "simpleshot")
        boards = compare(manifests[0], MODELS, protocols=quick, store=store, floors=False, **options).leaderboards
        return {board.protocol: board.estimator for board in boards}

    options = {"estimator": "sklearn.naive_bayes.GaussianNB", "params": {"var_smoothing": (1e-9, 1e-3)}}
    expected = {"quick": "sklearn.naive_bayes.GaussianNB", "simpleshot": "nearest-class-mean"}
    assert asked(**options) == expected
    assert len(runs) == 4
    assert asked(**options) == expected
    assert len(runs) == 4
    asked(**options | {"params": {"var_smoothing": (1e-9, 1e-2)}})
    assert len(runs) == 6


def test_an_estimator_of_another_package_is_run_each_time(manifests, tmp_path, runs):
    for _ in range(2):
        compare(
            manifests[0],
            MODELS[:1],
            estimator="embedkit.estimators.NearestClassMean",
            store=tmp_path / "store",
            floors=False,
        )
    assert len(runs) == 2


def test_an_error_of_a_protocol_names_its_data_set(manifests, tmp_path):
    few = make_manifest(tmp_path / "few", {"red": 3, "green": 3}, test=2)
    with pytest.raises(SplitError, match="^few: no class has two training images"):
        compare([manifests[0], few], MODELS[:1], store=tmp_path / "store", floors=False)


def test_another_split_or_other_images_are_not_ranked(manifests, tmp_path):
    store = tmp_path / "store"
    manifest = make_manifest(tmp_path / "photos", {"red": 6, "green": 6}, test=2)
    extract(manifest, MODEL, weights="random", store=store, output=tmp_path / "a.h5", **FAST)
    manifest.write_text(manifest.read_text().replace("red/000.png,red,train", "red/000.png,red,test"))
    extract(manifest, "test_vit", weights="random", store=store, output=tmp_path / "b.h5", **FAST)
    comparison = compare([tmp_path / "a.h5", tmp_path / "b.h5"], store=store, floors=False)
    [board] = comparison.leaderboards
    [reason] = board.not_ranked
    assert "other test images" in reason
    assert "another split" in reason
    assert not comparison.ranked
    assert "not ranked: " in as_text(comparison)
    assert [row.rank for row in board.rows] == [None, None]


def test_other_preprocessing_overrides_are_not_ranked(manifests, store):
    large = FeatureRequest("test_vit", weights="random", preprocess=PreprocessOverrides(crop_pct=0.5))
    comparison = compare(manifests[0], [MODELS[0], large], store=store, floors=False)
    [board] = comparison.leaderboards
    assert len(board.not_ranked) == 1
    assert "other preprocessing overrides" in board.not_ranked[0]
    assert '"crop_pct":0.5' in board.not_ranked[0]


def test_seeds_vary_the_folds_of_data_without_splits(manifests, tmp_path):
    comparison = compare(manifests[0].parent / "..", MODELS[:1], floors=False, seeds=3, folds=3, store=tmp_path / "s")
    [board] = comparison.leaderboards
    [row] = board.rows
    assert board.seeds == 3
    assert row.seed_interval is not None
    assert row.n_test == 3 * (9 + 8 + 7)


def test_layers_of_one_model_are_told_apart_by_name(manifests, store):
    layers = [FeatureRequest(MODEL, weights="random", layer=layer) for layer in (0, 1)]
    [board] = compare(manifests[0], layers, store=store, floors=False).leaderboards
    assert {row.model for row in board.rows} == {f"{MODEL} layer 0", f"{MODEL} layer 1"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocols": "nonsense"}, "protocols are 'nonsense'"),
        ({"protocols": ()}, "expected distinct ones of"),
        ({"protocols": ("quick", "quick")}, "expected distinct ones of"),
        ({"estimator": "forest"}, "'forest' is not known"),
        ({"estimator": "knn", "protocols": "clip"}, "has an estimator of its own"),
        ({"estimator": "knn", "params": {"n_neighbors": [1]}}, "'knn' chooses from a grid of its own"),
        ({"params": {"C": [1]}}, "parameters are for an estimator, and none is named"),
        ({"estimator": "sklearn.svm.SVC", "params": {"D": [1]}}, "SVC has no parameter 'D'"),
        ({"estimator": "sklearn.svm.SVC", "params": {"kernel": [len]}}, "give numbers or words"),
        ({"seeds": 0}, "seeds=0, expected at least 1"),
        ({"targets": []}, "no target was given"),
        ({"targets": ["photos.h5", "./photos.h5"]}, "is named twice"),
        ({"models": [MODELS[0], MODELS[0]]}, "compared with itself"),
    ],
)
def test_what_cannot_be_honoured_is_refused(manifests, store, options, message):
    arguments = {"targets": manifests[0], "models": MODELS, "store": store, "floors": False, **options}
    with pytest.raises(UsageError, match=message):
        compare(**arguments)


def test_tables_are_untouched(manifests, tmp_path):
    """The floors of a feature file are beside it, not in it."""
    path = tmp_path / "a.h5"
    extract(manifests[0], MODEL, weights="random", store=tmp_path / "store", output=path, **FAST)
    before = path.read_bytes()
    compare(path, store=tmp_path / "store")
    assert path.read_bytes() == before
    assert FeatureTable.open(path).provenance["parameters"] > 0
