"""Files that version 0.1.0 saved before the losses and metrics had their present names still load.

`saved_before/` has a compiled `BCLModel` and a `JoinedModel`, with what they predicted for the songs below.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import small_catalogue as small

from bcl_keras import losses, metrics

FOLDER = Path(__file__).with_name("saved_before")
EXPECTED: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text())
SONGS = small.features(5, seed=4)
INDEX = np.array([0, 1, 2, 0, 64])


@pytest.mark.parametrize("name", ["towers", "joined"])
def test_a_model_saved_before_predicts_the_same(name: str) -> None:
    model = keras.saving.load_model(FOLDER / f"{name}.keras")
    np.testing.assert_allclose(model.predict(SONGS, verbose=0), EXPECTED[name], atol=1e-5)
    candidates = model.embed_songs({**SONGS, "song_index": INDEX}, candidate=True)
    np.testing.assert_allclose(candidates, EXPECTED[f"{name}_candidates"], atol=1e-5)


def test_training_goes_on_where_it_was_saved_before() -> None:
    model = keras.saving.load_model(FOLDER / "towers.keras")
    assert int(model.optimizer.iterations) == 4
    model.set_catalogue(small.features(72))
    _, stream = small.model_and_stream(model.config)
    assert np.isfinite(model.fit(stream, initial_epoch=1, epochs=2, verbose=0).history["loss"]).all()


def test_losses_and_metrics_saved_before_are_restored() -> None:
    restored = [keras.saving.deserialize_keras_object(config) for config in EXPECTED["objects"]]
    assert [type(each) for each in restored] == [
        losses.BPR,
        losses.SampledSoftmax,
        losses.InfoNCE,
        metrics.RecallAtK,
        metrics.NDCG,
        metrics.MeanReciprocalRank,
    ]
    assert [restored[0].temperature, restored[3].k, restored[4].k] == [0.5, 7, 7]
