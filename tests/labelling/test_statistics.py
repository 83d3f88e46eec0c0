"""Statistics of sites: exact in any order, whole through their files, and read as if a stranger had made these."""

from __future__ import annotations

import base64
import contextlib
import json
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedkit.backbones import FeatureRequest
from embedkit.errors import EmbedkitError, LabelsError, SpecMismatchError, StatisticsFileError, UsageError
from embedkit.estimators import StreamingLDA, StreamingRidgeClassifier, SufficientStatistics, standardised
from embedkit.labelling import FourierFeatures, chosen_alpha, collect, merged, read_statistics, write_statistics
from embedkit.specs import FeatureSpec
from embedkit.workflows.fit_statistics import fit_statistics
from tests.probes.samples import blobs, table_of
from tests.results.any_record import JSON
from tests.results.test_hostile import PACKED, places, put

REQUEST = {"request": FeatureRequest("resnet18", "/home/somebody/resnet18.pth", device="cuda:1").to_dict()}


def site_table(rows=30, width=6, classes="abc", seed=0, **head):
    X, y = blobs(rows, classes, width, seed=seed)
    return table_of(X, y, provenance=REQUEST, **head)


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(1, 89), min_size=1, max_size=4, unique=True), order=st.randoms(), lda=st.booleans())
def test_sites_in_any_order_are_the_batch_of_all_rows(tmp_path_factory, cuts, order, lda):
    folder, table = tmp_path_factory.mktemp("sites"), site_table()
    mixed = np.random.default_rng(0).permutation(90)
    edges, sites = [0, *sorted(cuts), 90], []
    for number, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        write_statistics(collect(table[np.sort(mixed[low:high])])[0], folder / f"{number}.stats")
        sites.append((f"{number}", read_statistics(folder / f"{number}.stats")))
    order.shuffle(sites)
    total = merged(sites).statistics
    kind = StreamingLDA if lda else StreamingRidgeClassifier
    batch = kind().fit(table.X, table.y)
    fitted = kind().fit_statistics(total)
    np.testing.assert_array_equal(fitted.classes_, batch.classes_)
    np.testing.assert_allclose(fitted.coef_, batch.coef_, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(fitted.intercept_, batch.intercept_, rtol=1e-6, atol=1e-6)


def test_the_file_holds_sums_to_the_last_bit_and_no_row_key_or_path(tmp_path):
    table = site_table(columns={"camera": ["Leica"] * 90}, groups=["patient"] * 90)
    site, left_out = collect(table)
    write_statistics(site, tmp_path / "a.stats")
    again = read_statistics(tmp_path / "a.stats")
    assert left_out == {}
    for name, value in site.statistics.to_arrays().items():
        if name != "mean":  # follows from those of the classes
            np.testing.assert_array_equal(again.statistics.to_arrays()[name], value)
    np.testing.assert_allclose(again.statistics.mean, site.statistics.mean, rtol=1e-12)
    assert again.spec == table.spec
    text = (tmp_path / "a.stats").read_text()
    for private in ("somebody", "cuda", "0.jpg", "Leica", "patient", "source"):
        assert private not in text
    record = json.loads(text)
    numbers = sum(np.prod(record[name]["shape"]) for name in ("rows", "means", "scatter"))
    assert numbers == 3 + 3 * 6 + 6 * 7 // 2


def test_test_rows_and_rows_without_a_label_are_in_no_sum():
    X, y = blobs(10)
    y = y.astype(object)
    y[[0, 29]] = ""
    split = ["Test" if row % 3 == 0 else "train" for row in range(30)]
    site, left_out = collect(table_of(X, y, split=split, provenance=REQUEST))
    kept = [row for row in range(30) if row % 3 and y[row]]
    np.testing.assert_allclose(site.statistics.mean, X[kept].mean(axis=0), rtol=1e-6)
    assert left_out == {"test split": 10, "no label": 1}
    assert site.statistics.n == len(kept)
    with pytest.raises(LabelsError, match="nothing to add up"):
        collect(table_of(X, y, split=["test"] * 30, provenance=REQUEST))
    with pytest.raises(LabelsError, match="type 'value'"):
        collect(table_of(X, np.arange(30.0), provenance=REQUEST))
    with pytest.raises(UsageError, match="does not record the request"):
        collect(table_of(X, y))


def test_other_features_do_not_add_up():
    one, other = collect(site_table())[0], collect(site_table(architecture="resnet50"))[0]
    with pytest.raises(SpecMismatchError, match="b holds statistics of other features than a: backbone.architecture"):
        merged([("a", one), ("b", other)])
    behind = collect(site_table(), FourierFeatures(components=6, gamma=1.0))[0]
    with pytest.raises(SpecMismatchError, match="6 Fourier features with gamma 1 and seed 0, a of the features"):
        merged([("a", one), ("b", behind)])


def test_the_penalty_is_that_of_cross_validation_by_the_rows():
    X, y = blobs(12, width=10, spread=2.0)
    steps, known = standardised(SufficientStatistics("classes").update(X, y))
    alphas = (1e3, 10.0, 0.1)
    chosen, scores = chosen_alpha(known, alphas)
    Z = np.column_stack([np.ones(len(X)), steps[0][1].transform(X.astype(float))])
    targets = 2.0 * (y[:, None] == np.unique(y)) - 1
    for alpha, score in zip(alphas, scores, strict=True):
        penalty = alpha * np.diag([0.0, *np.ones(10)])
        hat = Z @ np.linalg.solve(Z.T @ Z + penalty, Z.T)
        expected = len(X) * np.square(targets - hat @ targets).sum() / (len(X) - np.trace(hat)) ** 2
        assert score == pytest.approx(expected, rel=1e-9)
    assert chosen == alphas[int(np.argmin(scores))]
    with pytest.raises(LabelsError, match="at least 2"):
        chosen_alpha(SufficientStatistics("classes").update(X, ["a"] * len(X)))


def test_fourier_features_are_the_kernel_and_the_same_everywhere():
    fourier = FourierFeatures(components=4000, gamma=1.5)
    X = np.random.default_rng(0).standard_normal((20, 5)).astype(np.float32)
    mapped = [X, X]
    for place in range(2):
        for _, step in fourier.steps(5):
            mapped[place] = step.transform(mapped[place])
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    kernel = np.exp(-1.5 * np.square(unit[:, None] - unit).sum(axis=2))
    np.testing.assert_allclose(mapped[0] @ mapped[0].T, kernel, atol=0.08)
    np.testing.assert_array_equal(mapped[0], mapped[1])
    for wrong in (
        {"components": 0, "gamma": 1.0},
        {"components": 5, "gamma": 0.0},
        {"components": 5, "gamma": 1.0, "seed": -1},
    ):
        with pytest.raises(UsageError, match="expected"):
            FourierFeatures(**wrong)
    with pytest.raises(UsageError, match="at most"):
        FourierFeatures(components=1 << 14, gamma=1.0).steps(1 << 14)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    file = tmp_path_factory.mktemp("statistics") / "a.stats"
    write_statistics(collect(site_table(width=3), FourierFeatures(components=4, gamma=1.0))[0], file)
    return file


def packed(array):
    array = np.asarray(array)
    data = base64.b64encode(zlib.compress(array.tobytes())).decode()
    return {"dtype": array.dtype.str, "shape": list(array.shape), "zlib": data}


def read_or_refused(file) -> bool:
    try:
        read_statistics(file)
    except StatisticsFileError as refused:
        said = str(refused)
    else:
        return True
    assert str(file) in said
    return False


def test_anything_in_any_place_is_refused_or_fitted(written, tmp_path_factory):
    folder = tmp_path_factory.mktemp("changed")
    value = json.loads(written.read_bytes())
    every = list(places(value))

    @settings(max_examples=150, deadline=None)
    @given(
        place=st.sampled_from(every),
        new=JSON | st.sampled_from([PACKED, 10**400, -1, [[1], [2, 3]], "python:os.system"]),
    )
    def check(place, new):
        file = folder / "changed.stats"
        changed = put(value, place, new)
        with contextlib.suppress(Exception):  # a stranger writes the fingerprint that belongs to a spec
            changed = {**changed, "fingerprint": FeatureSpec.from_dict(changed["spec"]).fingerprint}
        file.write_text(json.dumps(changed))
        if read_or_refused(file):
            with contextlib.suppress(EmbedkitError):
                fit_statistics([file], output=folder / "m.skops", weights="w.pth", force=True)

    check()


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_byte_may_be_another(written, tmp_path_factory, data):
    content = bytearray(written.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.mktemp("bytes") / "a.stats"
    file.write_bytes(content)
    read_or_refused(file)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("means", lambda means: means * np.nan, "not finite"),
        ("means", lambda means: means * 1e300, "larger than any feature"),
        ("means", lambda means: means[:, :3], "arrays are shaped"),
        ("means", lambda means: means * 50, "less than that of its class means"),
        ("scatter", lambda scatter: -scatter, "less than that of its class means"),
        ("scatter", lambda scatter: scatter * np.inf, "less than that of its class means"),
        ("scatter", lambda scatter: scatter + 1e6 * (np.arange(10) == 1), "by more than 1"),
        ("scatter", lambda scatter: scatter[:-1], "arrays are shaped"),
        ("rows", lambda rows: rows * 0, "0 to 0 rows"),
        ("rows", lambda rows: -rows, "-30 to -30 rows"),
        ("rows", lambda rows: rows.astype(np.float64), "numbers of the type"),
    ],
)
def test_what_no_rows_add_up_to_is_refused(written, tmp_path, name, change, said):
    record = json.loads(written.read_bytes())
    stored = record[name]
    array = np.frombuffer(zlib.decompress(base64.b64decode(stored["zlib"])), stored["dtype"]).reshape(stored["shape"])
    file = tmp_path / "a.stats"
    with np.errstate(invalid="ignore"):
        file.write_text(json.dumps({**record, name: packed(change(array))}))
    with pytest.raises(StatisticsFileError, match=said):
        read_statistics(file)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fingerprint": "0" * 64}, "is not that of its spec"),
        ({"format": 2}, "reads up to 1; upgrade embedkit"),
        ({"embedkit": "result"}, "holds no statistics of a site"),
        ({"classes": ["b", "a", "c"]}, "not in order"),
        ({"classes": ["a", "a", "c"]}, "not in order"),
        ({"classes": ["", "b", "c"]}, "named by 1 to 1024"),
        ({"drift": -1.0}, "drift is -1.0"),
        ({"fourier": {"components": 1 << 14, "gamma": 1.0, "seed": 0}}, "arrays are shaped"),
        ({"fourier": {"components": -4, "gamma": 1.0, "seed": 0}}, "-4 Fourier features"),
    ],
)
def test_what_does_not_fit_is_named(written, tmp_path, change, said):
    file = tmp_path / "a.stats"
    file.write_text(json.dumps({**json.loads(written.read_bytes()), **change}))
    with pytest.raises(StatisticsFileError, match=said):
        read_statistics(file)
