"""coop-fewshot and mteb-fewshot against their texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from embedkit.errors import SplitError
from embedkit.probes.protocols import coop_fewshot, run_protocol
from tests.probes.protocols.samples import names, rows_of, solved, stopped, table_of

MODES = pytest.mark.parametrize("as_published", [False, True])
Fit = Callable[[Any, Any, float], Any]


@MODES
def test_mteb_fewshot(as_published: bool) -> None:
    rows = rows_of(classes=4, n=480, validation=True, seed=1)
    index = list(range(len(rows.X)))
    draws: list[Any] = []
    for _ in range(5):
        np.random.RandomState(42).shuffle(index)
        counter: dict[int, int] = defaultdict(int)
        chosen: list[int] = []
        for i in index:
            if counter[rows.y[i]] < 16:
                chosen.append(i)
                counter[rows.y[i]] += 1
        X, y = rows.X[chosen], rows.y[chosen]
        model = stopped(X, y, 1.0, max_iter=100, dtype=np.float32) if as_published else solved(X, y, 1.0)
        draws.append(model.predict(rows.X_test))
    run = run_protocol("mteb-fewshot", rows.table, model="m", as_published=as_published)
    assert run.predictions.T.tolist() == [names(predicted) for predicted in draws]
    assert run.result.value == pytest.approx(np.mean([(p == rows.y_test).mean() for p in draws]))
    f1 = np.mean([f1_score(rows.y_test, p, average="macro") for p in draws])
    assert run.result.metrics["macro_f1"]["value"] == pytest.approx(f1)
    np.testing.assert_allclose(run.per_image, np.mean([p == rows.y_test for p in draws], axis=0))


def reference_coop(rows: Any, shots: int, seed: int, fit: Fit) -> tuple[float, Any]:
    """lpclip/linear_probe.py for one seed: the last step's C and predictions."""
    np.random.seed(seed)
    val_shots = {1: 1, 2: 2, 4: 4, 8: 4, 16: 4}[shots]
    labels = np.unique(rows.y)
    train = [i for k in labels for i in np.random.choice(np.where(rows.y == k)[0], size=shots, replace=False)]
    val = [i for k in labels for i in np.random.choice(np.where(rows.y_val == k)[0], size=val_shots, replace=False)]
    X, y, X_val, y_val = rows.X[train], rows.y[train], rows.X_val[val], rows.y_val[val]

    def accuracy(model: Any) -> float:
        return sum(model.predict(X_val) == y_val) / len(y_val)

    search = [1e6, 1e4, 1e2, 1, 1e-2, 1e-4, 1e-6]
    peak = search[int(np.argmax([accuracy(fit(X, y, C)) for C in search]))]
    left, right = 1e-1 * peak, 1e1 * peak
    C_final, final = 0.0, None
    for _ in range(8):
        model_left, model_right = fit(X, y, left), fit(X, y, right)
        if accuracy(model_left) < accuracy(model_right):
            C_final, final = right, model_right
            left = 10 ** (0.5 * (np.log10(right) + np.log10(left)))
        else:
            C_final, final = left, model_left
            right = 10 ** (0.5 * (np.log10(right) + np.log10(left)))
    assert final is not None
    return C_final, final.predict(rows.X_test)


@MODES
def test_coop_fewshot(as_published: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coop_fewshot, "SEEDS", 3)
    monkeypatch.setattr(coop_fewshot, "SELECTION_SHOTS", {4: 4, 16: 4})
    rows = rows_of(classes=3, n=480, validation=True, seed=3)
    fit: Fit = (lambda X, y, C: stopped(X, y, C, max_iter=1000)) if as_published else solved
    run = run_protocol("coop-fewshot", rows.table, model="m", as_published=as_published)
    expected = [reference_coop(rows, 16, seed, fit) for seed in (1, 2, 3)]
    # A few examples are separable: at C = 1e6 their optimum lies far out, and single images may be decided by rounding.
    got = run.predictions.T
    for draw, (_, predicted) in zip(got, expected, strict=True):
        assert np.mean(draw == np.array(names(predicted))) > 0.99
    Cs = [C for C, _ in expected]
    assert run.result.params["C_smallest"] == pytest.approx(min(Cs), rel=1e-6)
    assert run.result.params["C_largest"] == pytest.approx(max(Cs), rel=1e-6)
    accuracies = [(predicted == rows.y_test).mean() for _, predicted in expected]
    assert run.result.value == pytest.approx(np.mean(accuracies), abs=2e-3)
    four = [reference_coop(rows, 4, seed, fit)[1] for seed in (1, 2, 3)]
    assert run.result.metrics["accuracy (4 shots)"]["value"] == pytest.approx(
        np.mean([(predicted == rows.y_test).mean() for predicted in four]), abs=1e-2
    )


def test_coop_has_ten_seeds_and_five_numbers_of_shots() -> None:
    assert coop_fewshot.SEEDS == 10
    assert coop_fewshot.SELECTION_SHOTS == {1: 1, 2: 2, 4: 4, 8: 4, 16: 4}


def test_coop_leaves_out_shots_that_a_class_has_too_few_images_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coop_fewshot, "SEEDS", 2)
    split = ["train"] * 5 + ["val"] * 4 + ["test"] * 4
    X = np.random.default_rng(0).standard_normal((39, 4))
    table = table_of(X, np.repeat(["a", "b", "c"], 13).tolist(), split * 3)
    result = run_protocol("coop-fewshot", table, model="m").result
    assert result.params["shots"] == 4
    assert set(result.metrics) >= {"accuracy (1 shot)", "accuracy (2 shots)"}
    assert any("1, 2, 4 shots only" in note for note in result.notes)


def test_coop_needs_an_image_of_each_class_to_choose_on() -> None:
    X = np.random.default_rng(0).standard_normal((9, 4))
    labels, split = ["a", "a", "a", "b", "a", "b", "a", "b", "a"], ["train"] * 4 + ["test"] * 5
    with pytest.raises(SplitError, match="another to choose on"):
        run_protocol("coop-fewshot", table_of(X, labels, split), model="m")
