"""Teaching a student: what it learns, what stops it, and that a kill changes nothing."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from embedkit import DistillSettings, FeatureRequest
from embedkit.adaptation import Lesson, Student, Taught, build_student, normalised, one_hot, teach
from embedkit.adaptation.lessons import Rows
from embedkit.errors import AdaptationError, UsageError

ROOT = Path(__file__).resolve().parents[2]
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
IMAGES, VIEWS, WIDTH, SIDE = 24, 1, 8, 32
SETTINGS = DistillSettings(epochs=4, views=VIEWS, batch_size=8)

draws = np.random.default_rng(3)
PIXELS = draws.integers(0, 256, (VIEWS + 1, IMAGES, SIDE, SIDE, 3), dtype=np.uint8)
# What a teacher says is a function of what it sees, so that there is something to learn.
FEATURES = PIXELS.reshape(VIEWS + 1, IMAGES, -1)[..., :: SIDE * SIDE * 3 // WIDTH][..., :WIDTH].astype(np.float32)
CODES = np.arange(IMAGES) % 3


def read(rows: Rows, views: Rows) -> np.ndarray:
    return PIXELS[views, rows]


def lesson(classes: int = 0) -> Lesson:
    chances = one_hot(np.where(CODES < 2, CODES, -1), classes, VIEWS) if classes else None
    return Lesson(targets=normalised(list(FEATURES)), classes=classes, chances=chances)


def make(classes: int = 0) -> Student:
    request = FeatureRequest("test_resnet", "random")
    made = build_student(request, MEAN, STD, (SIDE, SIDE), outputs=WIDTH, classes=classes)
    made.trained = True  # so that the projection is fitted before the first step
    return made


def run(checkpoint: Path | None = None) -> tuple[Student, Taught]:
    pause = float(os.environ.get("PAUSE", "0"))
    return teach(make, read, lesson(), SETTINGS, checkpoint=checkpoint, of="pixels", step=lambda: time.sleep(pause))


def tensors(student: Student) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in student.changing()}


def test_targets_have_the_mean_and_deviation_of_all_views_together() -> None:
    features = [draws.normal(3, 2, (50, 4)).astype(np.float32), draws.normal(5, 1, (50, 4)).astype(np.float32)]
    features[0][:, 3] = features[1][:, 3] = 7.0
    found = normalised(features)
    columns = np.concatenate(features).astype(np.float64)
    expected = (columns - columns.mean(0)) / np.where(columns.std(0) > 0, columns.std(0), 1)
    np.testing.assert_allclose(found.reshape(100, 4), expected, atol=1e-5)
    assert not found[..., 3].any()  # a column that never varies says nothing


def test_the_loss_is_that_of_the_formulas() -> None:
    settings = DistillSettings(epochs=1, views=VIEWS, batch_size=IMAGES, rate=1e-9, coarse=0)
    _, taught = teach(functools.partial(make, 2), read, lesson(2), settings)
    start, rng = make(2), np.random.default_rng([0, 0])
    turns = np.arange(IMAGES) % (VIEWS + 1)
    targets = torch.from_numpy(lesson(2).targets[turns, np.arange(IMAGES)])
    start.fit_projection([(PIXELS[turns, np.arange(IMAGES)], targets)])
    start.train()
    order, views = rng.permutation(IMAGES), rng.integers(0, VIEWS + 1, IMAGES)
    mirrored = rng.random(1) < 0.5
    pixels = PIXELS[views[order], order]
    with torch.no_grad():
        outputs = start(pixels[:, :, ::-1] if mirrored[0] else pixels)
    said, logits = (part.numpy().astype(np.float64) for part in outputs)
    wanted = lesson().targets[views[order], order].astype(np.float64)
    said, wanted = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (said, wanted))
    known = CODES[order] < 2
    surprise = np.log(np.exp(logits).sum(1)) - logits[np.arange(IMAGES), np.minimum(CODES[order], 1)]
    expected = 1 - (said * wanted).sum(1).mean() + 10 * ((said @ said.T - wanted @ wanted.T) ** 2).mean()
    assert taught.losses[0] == pytest.approx(expected + surprise[known].mean(), rel=1e-4)


def test_the_projection_is_a_ridge_regression_before_the_first_step() -> None:
    student, targets = make(), torch.from_numpy(lesson().targets[0])
    student.fit_projection([(PIXELS[0, :16], targets[:16]), (PIXELS[0, 16:], targets[16:])])
    with torch.no_grad():
        features = student.network(student.normalised(PIXELS[0])).double().numpy()
    centred, wanted = features - features.mean(0), targets.numpy() - targets.numpy().mean(0)
    # A ridge is a regression with a row for each weight that asks it to be zero.
    strength = np.sqrt(0.1 * centred.var(0).mean() * IMAGES) * np.eye(features.shape[1])
    rows, asked = np.concatenate([centred, strength]), np.concatenate([wanted, np.zeros((len(strength), WIDTH))])
    expected = np.linalg.lstsq(rows, asked, rcond=None)[0].T
    np.testing.assert_allclose(student.projection.weight.detach().numpy(), expected, rtol=1e-3, atol=1e-5)
    said = centred @ expected.T + targets.numpy().mean(0)
    with torch.no_grad():
        np.testing.assert_allclose(student(PIXELS[0])[0].numpy(), said, atol=1e-4)


def test_killed_while_it_is_taught(tmp_path: Path) -> None:
    checkpoint = tmp_path / "student.pt"
    whole, told = run()
    code = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}]\nfrom pathlib import Path\n"
        f"from tests.adaptation.test_distilling import run\nrun(Path({str(checkpoint)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PAUSE": "60"}, cwd=ROOT)
    for _ in range(1200):
        if checkpoint.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    assert process.poll() is None, "it ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed, taught = run(checkpoint)
    assert taught.passes < told.passes, "it began anew"
    assert taught.losses == told.losses
    assert told.losses[-1] < told.losses[0]
    expected = tensors(whole)
    assert all(np.array_equal(one, expected[name]) for name, one in tensors(resumed).items())


def test_a_checkpoint_of_another_lesson_or_a_damaged_one_is_not_taken_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = tmp_path / "student.pt"
    _, first = run(checkpoint)
    other = DistillSettings(epochs=4, views=VIEWS, batch_size=8, rate=1e-3)
    _, second = teach(make, read, lesson(), other, checkpoint=checkpoint, of="pixels")
    assert second.passes == first.passes
    assert second.losses != first.losses
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    _, third = run(checkpoint)
    assert third.losses == first.losses
    assert "training begins anew" in caplog.text


def test_a_diverging_loss_says_step_rate_and_what_to_do() -> None:
    with pytest.raises(AdaptationError, match=r"in step \d+ of 12, at a rate of 1e\+30: .* take a smaller rate"):
        teach(make, read, lesson(), DistillSettings(epochs=4, views=VIEWS, batch_size=8, rate=1e30))


def test_a_batch_that_memory_does_not_hold_is_halved(caplog: pytest.LogCaptureFixture) -> None:
    def scarce(most: int, rows: Rows, views: Rows) -> np.ndarray:
        if len(rows) > most:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")
        return read(rows, views)

    settings = DistillSettings(epochs=1, views=VIEWS, batch_size=24)
    _, taught = teach(make, functools.partial(scarce, 12), lesson(), settings)
    _, small = teach(make, read, lesson(), DistillSettings(epochs=1, views=VIEWS, batch_size=12))
    assert (taught.batch_size, taught.losses) == (12, small.losses)
    assert "out of memory: the batch size is now 12" in caplog.text
    with pytest.raises(AdaptationError, match="no memory to teach with 12 images at once"):
        teach(make, functools.partial(scarce, 8), lesson(), settings)


def test_trained_weights_are_taught_at_a_smaller_rate_unless_one_is_named() -> None:
    assert DistillSettings().peak_rate(trained=True) < DistillSettings().peak_rate(trained=False)
    assert (
        DistillSettings(rate=0.5).peak_rate(trained=True) == DistillSettings(rate=0.5).peak_rate(trained=False) == 0.5
    )
    named = DistillSettings(epochs=1, views=VIEWS, batch_size=8, rate=DistillSettings().peak_rate(trained=True))
    _, by_default = teach(make, read, lesson(), DistillSettings(epochs=1, views=VIEWS, batch_size=8))
    assert by_default.losses == teach(make, read, lesson(), named)[1].losses


def test_settings_out_of_range() -> None:
    for wrong in (
        {"epochs": 0},
        {"batch_size": 1},
        {"rate": 0.0},
        {"relational": -1.0},
        {"views": -1},
        {"coarse": 1.5},
    ):
        with pytest.raises(UsageError, match=f"{next(iter(wrong))} is "):
            DistillSettings(**wrong)  # pyright: ignore[reportArgumentType]
