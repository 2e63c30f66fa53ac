"""The served model learns from all songs, with the settings that the judged model chose."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest

import bcl_keras
from tests.tfx_pipeline.models.test_trainer import FIELDS, GENRES, WARM, songs, table
from tfx_pipeline.models.closed_form import content_sketch, solve_ridge
from tfx_pipeline.models.trainer import VALIDATION_RECALL, best_epoch, train, what_was_learnt
from tfx_pipeline.models.training_songs import TrainingSongs, validation_truth
from tfx_pipeline.refit.trainer import chosen_towers, refit

pytestmark = pytest.mark.slow  # every test fits models

TOWERS = bcl_keras.BCLConfig(epochs=3, batch_size=16, embedding_dim=8, field_dim=8, hidden_dims=(8,), field_dropout=0.3)
RIDGE = bcl_keras.models.RidgeConfig(k=6)
DRAWN: dict[str, Any] = {"positives": 5, "anchor_popularity_power": 0.5}


def judged_model(given: TrainingSongs) -> tuple[bcl_keras.models.JoinedModel, dict, TrainingSongs]:
    """The model as the Trainer makes it, and what it says of it."""
    ridge, chosen, kept = solve_ridge(FIELDS, RIDGE, given)
    keras.utils.set_random_seed(TOWERS.seed)
    towers = train(FIELDS, TOWERS, kept, **DRAWN)
    model = bcl_keras.models.JoinedModel([ridge, towers])
    learnt = {"ridge": chosen, "joined": model.adapt(validation_truth(kept), 6)} | what_was_learnt(towers)
    return model, learnt, kept


def scores(model: bcl_keras.models.SongModel, given: TrainingSongs) -> np.ndarray:
    features = {name: keras.ops.convert_to_tensor(values) for name, values in given.validation.features.items()}
    return keras.ops.convert_to_numpy(model(features)) @ model.warm_candidates().T


def test_fitted_on_the_same_songs_it_is_the_judged_model() -> None:
    judged, learnt, kept = judged_model(songs(0, sparse=40))
    again, found = refit(FIELDS, kept, learnt, ridge=RIDGE, **DRAWN)
    np.testing.assert_allclose(scores(again, kept), scores(judged, kept), atol=1e-4)
    assert found["joined"]["weights"] == learnt["joined"]["weights"]
    for name in ("ridge", "own_share", "power", "spread"):
        assert found["ridge"][name] == learnt["ridge"][name]
    assert found["ridge"]["block_weights"] == pytest.approx(learnt["ridge"]["block_weights"])
    assert VALIDATION_RECALL not in found["history"] and found["ridge"]["validation_recall"] is None
    assert len(found["history"]["loss"]) == learnt["best_epoch"]


def test_songs_that_were_held_out_are_learnt_from_and_found() -> None:
    given = songs(0, sparse=0)
    _, learnt, _ = judged_model(given)
    genres = np.arange(WARM + GENRES) % GENRES
    everyone = dataclasses.replace(given, warm=table("w", "warm", genres, genres))
    model, found = refit(FIELDS, everyone, learnt, ridge=RIDGE, **DRAWN)
    assert model.num_songs == WARM + GENRES == len(model.warm_candidates())
    # Every genre has one song more, and those of a song's genre score above those of others.
    by_song = scores(model, everyone)
    same = (np.arange(12) % GENRES)[:, None] == genres[None, :]
    assert by_song[same].reshape(12, -1)[:, -1].min() > by_song[~same].mean()
    assert found["ridge"]["power"] == learnt["ridge"]["power"]


def test_candidates_are_evened_as_the_judged_model_was() -> None:
    judged, learnt, kept = judged_model(songs(0, sparse=0))
    expected = bcl_keras.models.EvenedModel(judged)
    expected.adapt(kept.warm.features, strength=0.5)
    again, found = refit(FIELDS, kept, learnt | {"evened": {"strength": 0.5}}, ridge=RIDGE, **DRAWN)
    np.testing.assert_allclose(scores(again, kept), scores(expected, kept), atol=1e-4)
    assert found["evened"]["strength"] == 0.5


def test_the_sketch_of_content_is_made_again_with_its_weight() -> None:
    judged, learnt, kept = judged_model(songs(0, sparse=0))
    sketch = content_sketch(FIELDS, kept, 32, learnt["ridge"]["block_weights"])
    expected = bcl_keras.models.JoinedModel([*judged.models, sketch])
    weights = [1.0, 0.5, 2.0]
    chosen = {"weights": weights, "content_sketch": 32}
    expected.adapt(weights=weights)
    again, found = refit(FIELDS, kept, learnt | {"joined": chosen}, ridge=RIDGE, **DRAWN)
    np.testing.assert_allclose(scores(again, kept), scores(expected, kept), atol=1e-4)
    assert found["joined"]["weights"] == weights and found["joined"]["content_sketch"] == 32


def test_towers_alone_are_fitted_too() -> None:
    given = songs(0, sparse=0)
    towers = train(FIELDS, TOWERS, given, **DRAWN)
    model, found = refit(FIELDS, given, what_was_learnt(towers), ridge=None, **DRAWN)
    assert isinstance(model, bcl_keras.models.BCLModel) and set(found) >= {"history", "best_epoch"}


@pytest.mark.parametrize(
    ("history", "epochs"),
    [
        ({"loss": [3.0, 2.0, 1.0]}, 3),
        ({"loss": [3.0, 2.0, 1.0], VALIDATION_RECALL: [0.1, 0.4, 0.3]}, 2),
        ({"loss": [3.0, 2.0, 1.0], VALIDATION_RECALL: [0.4, 0.40001, 0.4]}, 1),  # equal, but for rounding
        ({}, 0),
    ],
)
def test_as_many_epochs_as_were_best(history: dict, epochs: int) -> None:
    assert best_epoch(history) == epochs
    learnt = {"settings": TOWERS.to_dict(), "best_epoch": epochs}
    assert chosen_towers(learnt) == dataclasses.replace(TOWERS, epochs=max(1, epochs))
