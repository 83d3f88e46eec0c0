"""The scikit-learn face: images in, classes out."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from embedkit import FineTunedClassifier, TuningSettings
from embedkit.adaptation import climb_ladder
from embedkit.adaptation import rungs as steps
from embedkit.errors import LabelsError, UsageError
from tests.adaptation.scenes import ARGS, MODEL, Scene, pictures, request

SMALL: dict[str, Any] = {"depths": (1,), "rates": (1e-3,), "epochs": 2, "trial_epochs": 2, "views": 1}


def classifier(store: Any, **parts: Any) -> FineTunedClassifier:
    return FineTunedClassifier(
        MODEL, weights="random", model_args=ARGS, preprocess={"input_size": (64, 64)}, store=store, **{**SMALL, **parts}
    )


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[FineTunedClassifier, list[Any], np.ndarray]:
    source, y = pictures()
    images, names = list(source.images), np.array(["red", "green", "blue"])[y]
    return classifier(tmp_path_factory.mktemp("store")).fit(images[:27], names[:27]), images[27:], names[27:]


def test_classes_come_out(fitted: Any) -> None:
    tuned, images, names = fitted
    assert tuned.classes_.tolist() == ["blue", "green", "red"]
    assert tuned.rung_ in tuned.validation_scores_
    assert set(tuned.validation_scores_) == {"frozen", "head", "cached"}
    assert tuned.score(images, names) > 0.6
    chances = tuned.predict_proba(images)
    assert chances.shape == (9, 3)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert (tuned.classes_[chances.argmax(1)] == tuned.predict(images)).all()


def test_copies_predict_the_same_and_clones_are_unfitted(fitted: Any) -> None:
    tuned, images, _ = fitted
    again = pickle.loads(pickle.dumps(tuned))
    np.testing.assert_array_equal(again.decision_function(images), tuned.decision_function(images))
    with pytest.raises(NotFittedError):
        clone(tuned).predict(images)
    assert clone(tuned).get_params() == tuned.get_params()


def test_tuned_blocks_are_kept_with_the_classifier(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    source, y = pictures()
    scene_store = tmp_path / "store"
    tuned = classifier(scene_store, epochs=1)
    monkeypatch.setattr(steps, "is_better", lambda tried, than: True)
    monkeypatch.setattr(steps, "_supports", lambda best, start, trials: True)
    tuned.fit(list(source.images), y)
    assert (tuned.rung_, tuned.depth_) == ("cached", 1)
    assert {name.split(".")[0] for name in tuned.state_} == {"blocks", "norm", "head"}
    again = pickle.loads(pickle.dumps(tuned))
    np.testing.assert_array_equal(again.predict_proba(list(source.images)), tuned.predict_proba(list(source.images)))


def test_a_whole_network_predicts_from_pixels(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "is_better", lambda tried, than: True)
    monkeypatch.setattr(steps, "_supports", lambda best, start, trials: True)
    source, y = pictures(18)
    images = list(source.images)
    only = classifier(tmp_path, until="full", skip=("head", "cached", "lora", "bias", "gradual"), epochs=1)
    only.fit(images, y)
    assert (only.rung_, only.depth_) == ("full", ARGS["depth"])
    assert "patch_embed.proj.weight" in only.state_
    again = pickle.loads(pickle.dumps(only))
    np.testing.assert_array_equal(again.predict_proba(images), only.predict_proba(images))
    assert clone(only).get_params() == only.get_params()


def test_where_nothing_gains_the_start_stays(tmp_path: Any) -> None:
    scene = Scene(tmp_path, depths=(1,), views=0)
    settings = TuningSettings(depths=(1,), rates=(1e-9,), epochs=1, trial_epochs=1, views=0)
    ladder = climb_ladder(scene.X, scene.problem, scene.judged, scene.source, request(), scene.store, settings=settings)
    assert [one.tuned.supported for one in ladder.rungs] == [True, False, False]
    assert all(not one.tuned.state and not one.tuned.parameters for one in ladder.rungs[1:])
    assert ["nothing is tuned: stop at frozen" in note for note in ladder.notes] == [True, True]
    frozen, head, cached = (one.logits for one in ladder.rungs)
    assert (head == frozen).all()
    assert (cached == frozen).all()
    assert len({one.tuned.validation for one in ladder.rungs}) == 1
    assert not list(scene.store.memo_folder.glob("finetune-*"))  # nothing to go on from


def test_bad_input(tmp_path: Any) -> None:
    source, y = pictures(9)
    images = list(source.images)
    with pytest.raises(LabelsError, match="holds 1 class"):
        classifier(tmp_path).fit(images, np.zeros(9))
    with pytest.raises(LabelsError, match=r"shape \(8,\), expected \(9,\)"):
        classifier(tmp_path).fit(images, y[:8])
    with pytest.raises(UsageError, match="rung 'most' is not known, expected frozen, head, cached"):
        classifier(tmp_path, until="most").fit(images, y)
    with pytest.raises(UsageError, match="views is -1, expected a whole number of at least 0"):
        classifier(tmp_path, views=-1).fit(images, y)
    with pytest.raises(UsageError, match=r"depths are \(1, 1\), expected each once"):
        classifier(tmp_path, depths=(1, 1)).fit(images, y)
    with pytest.raises(UsageError, match="rates is empty"):
        classifier(tmp_path, rates=()).fit(images, y)
