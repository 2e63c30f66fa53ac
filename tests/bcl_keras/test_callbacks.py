"""What training shows while it runs."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

import keras
import matplotlib.image
import numpy as np
import pytest
import small_catalogue as small
from keras import ops

from bcl_keras.callbacks import TrainingBoard, ValidationRecall, encode_png, heatmap

POSITIVES = np.array([[0, 5], [7, -1], [-1, -1]])


def validation() -> ValidationRecall:
    return ValidationRecall(small.features(3, seed=5), POSITIVES, k=10)


@pytest.mark.slow
def test_board_holds_losses_recall_and_the_matrix(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    model, stream = small.model_and_stream()
    model.compile()
    history = model.fit(stream, epochs=3, verbose=0, callbacks=[validation(), TrainingBoard(tmp_path)]).history
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    tags = {"loss", "supervised_loss", "contrastive_loss", "val_recall_at_10"}
    assert set(events.Tags()["scalars"]) == tags
    for tag in tags:
        written = [(event.step, event.value) for event in events.Scalars(tag)]
        np.testing.assert_allclose(written, list(enumerate(history[tag])), rtol=1e-5)
    images = events.Images("feature_correlation")
    assert [image.step for image in images] == [0, 1, 2]
    pixels = matplotlib.image.imread(io.BytesIO(images[-1].encoded_image_string), format="png")
    matrix = ops.convert_to_numpy(model.contrastive_views.correlation.matrix)
    np.testing.assert_allclose(pixels[8::16, 8::16, 0], 1 - matrix * (255 - 8) / 255, atol=0.005)


def test_recall_equals_a_count_by_hand() -> None:
    model, _ = small.model_and_stream()
    watch = validation()
    watch.set_model(model)
    queries = model.predict(small.features(3, seed=5), verbose=0)
    scores = queries @ model.embed_songs(np.arange(64), candidate=True).T
    best = [set(row) for row in np.argsort(-scores, axis=1)[:, :10]]
    expected = (len(best[0] & {0, 5}) / 2 + len(best[1] & {7})) / 2  # the third song has no positives
    assert watch.measure() == pytest.approx(expected)


@pytest.mark.slow
def test_recall_can_be_measured_less_often() -> None:
    model, stream = small.model_and_stream(steps=1)
    model.compile()
    watch = ValidationRecall(small.features(3, seed=5), POSITIVES, k=10, every=2)
    history = model.fit(stream, epochs=4, verbose=0, callbacks=[watch]).history
    assert len(history["val_recall_at_10"]) == 2
    with pytest.raises(ValueError, match=r"`every` must be at least 1. Received: 0"):
        ValidationRecall({}, POSITIVES, every=0)
    with pytest.raises(ValueError, match=r"`positives` must hold a positive of at least one song. Received: none"):
        ValidationRecall({}, np.full((3, 2), -1))


def test_best_weights_are_restored() -> None:
    model, stream = small.model_and_stream(replace(small.SMALL, learning_rate=0.5), steps=2)
    model.compile()
    truth = np.random.default_rng(1).integers(0, 64, (8, 3))
    watch = ValidationRecall(small.features(8, seed=5), truth, k=10, restore_best=True)
    recalls = model.fit(stream, epochs=5, verbose=0, callbacks=[watch]).history["val_recall_at_10"]
    assert recalls[-1] < max(recalls) == pytest.approx(watch.best)
    assert watch.measure() == pytest.approx(max(recalls))


def test_png_is_read_back_as_written() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype("uint8")
    read = matplotlib.image.imread(io.BytesIO(encode_png(pixels)), format="png")
    np.testing.assert_array_equal(np.rint(read * 255).astype("uint8"), pixels)


def test_heatmap_runs_from_white_to_dark() -> None:
    picture = heatmap(np.array([[0.0, 1.0], [0.5, np.nan]]), cell=2)
    assert picture.shape == (4, 4, 3)
    np.testing.assert_array_equal(picture[0, 0], [255, 255, 255])
    np.testing.assert_array_equal(picture[0, 2], [8, 48, 107])
    np.testing.assert_array_equal(picture[2, 2], [255, 255, 255])


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.summary_pb2", None)
    with pytest.raises(ImportError, match="must have the package `tensorboard`"):
        TrainingBoard("unused")


def test_works_without_the_contrastive_task(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    model, stream = small.model_and_stream(replace(small.SMALL, contrast_weight=0.0), steps=1)
    model.compile()
    model.fit(stream, verbose=0, callbacks=[TrainingBoard(tmp_path), keras.callbacks.TerminateOnNaN()])
    assert list(tmp_path.iterdir())
