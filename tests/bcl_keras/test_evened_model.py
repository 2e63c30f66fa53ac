"""Evened candidates: the reach worked out song by song, a planted hub, candidates without plays, files and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from bcl_keras import Field
from bcl_keras.models import EvenedModel, JoinedModel, SongModel

LONG, SONGS = 300, 90
FIELDS = (Field("audio_vector", "vector", LONG),)


@keras.saving.register_keras_serializable(package="tests")
class Planted(SongModel):
    """Queries are the songs' vectors; candidates the same, with the first one a hub: long and near to all."""

    fields, num_songs, embedding_dim = FIELDS, SONGS, LONG

    def build(self, input_shape: Any = None) -> None:
        self.songs = self.add_weight(shape=(SONGS, LONG), initializer="zeros", name="songs")
        self.songs.assign(candidates())

    def embed_features(self, features: Any) -> Any:
        if "song_index" not in features:
            return features["audio_vector"]
        index = ops.convert_to_tensor(features["song_index"])
        known = ops.take(self.songs, ops.maximum(index - 1, 0), axis=0)
        return ops.where((index > 0)[:, None], known, features["audio_vector"])

    def warm_candidates(self) -> np.ndarray:
        return np.asarray(ops.convert_to_numpy(self.songs))


def catalogue(seed: int = 0) -> np.ndarray:
    common = np.random.default_rng(99).normal(size=LONG)
    return (np.random.default_rng(seed).normal(size=(SONGS, LONG)) + 1.5 * common).astype("float32")


def candidates() -> np.ndarray:
    songs = catalogue()
    songs[0] = 3 * songs.mean(axis=0)
    return songs


def evened(strength: float) -> EvenedModel:
    model = EvenedModel(Planted())
    assert model.adapt({"audio_vector": catalogue()}, strength=strength)["strength"] == strength
    return model


def reach_by_hand() -> np.ndarray:
    scores = catalogue().astype(float) @ candidates().astype(float).T
    scores /= scores.std(axis=1, keepdims=True)
    found = []
    for place in range(SONGS):
        others = sorted(np.delete(scores[:, place], place), reverse=True)
        found.append(sum(others[:50]) / 50)
    return np.array(found)


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_candidates_are_divided_by_a_power_of_their_reach(strength: float) -> None:
    reach = reach_by_hand()
    assert reach.min() > 0.1 * np.median(reach)
    expected = candidates() / reach[:, None] ** strength
    expected *= np.linalg.norm(candidates(), axis=1).max() / np.linalg.norm(expected, axis=1).max()
    np.testing.assert_allclose(evened(strength).warm_candidates(), expected, rtol=2e-3, atol=1e-4)


def test_a_hub_is_matched_less_often_and_queries_stay() -> None:
    asked, model = catalogue(seed=3), evened(1.0)
    queries = model.embed_songs({"audio_vector": asked})
    np.testing.assert_array_equal(queries, asked)

    def firsts(songs: np.ndarray) -> int:
        return int((np.argmax(asked @ songs.T, axis=1) == 0).sum())

    assert firsts(candidates()) == SONGS
    assert firsts(model.warm_candidates()) < SONGS / 2


def test_without_strength_every_bit_stays() -> None:
    model = EvenedModel(Planted())
    assert model.adapt({"audio_vector": catalogue()}) == {"strength": 0.0, "recalls": {}}
    np.testing.assert_array_equal(model.warm_candidates(), candidates())


def test_warm_candidates_are_those_by_their_index_and_others_are_no_longer() -> None:
    model = evened(0.5)
    songs = {"audio_vector": catalogue(), "song_index": np.arange(1, SONGS + 1)}
    np.testing.assert_allclose(model.embed_songs(songs, candidate=True), model.warm_candidates(), rtol=1e-6)
    new = catalogue(seed=5)
    new[0], new[1] = 0.0, 1e4
    found = model.embed_songs({"audio_vector": new}, candidate=True)
    lengths = np.linalg.norm(found, axis=1)
    assert np.isfinite(found).all() and lengths[0] == 0
    assert lengths.max() <= np.linalg.norm(candidates(), axis=1).max() * (1 + 1e-5)
    # A song like the warm ones gets a factor like theirs.
    factors = lengths[2:] / np.linalg.norm(new[2:], axis=1)
    warm = np.linalg.norm(model.warm_candidates(), axis=1)[1:] / np.linalg.norm(candidates(), axis=1)[1:]
    assert np.median(factors) == pytest.approx(np.median(warm), rel=0.2)


def test_validation_songs_choose_the_largest_power_that_costs_no_more() -> None:
    asked = catalogue(seed=3)
    hub = np.zeros((SONGS, 1), int)  # the truth is the hub: large powers cost
    model = EvenedModel(Planted())
    told = model.adapt({"audio_vector": catalogue()}, ({"audio_vector": asked}, hub), k=1)
    assert told["recalls"][told["strength"]] == told["recalls"][0.0] == 1.0
    assert all(recall < 1 for power, recall in told["recalls"].items() if power > told["strength"])
    assert told["strength"] < 1.0
    told = model.adapt({"audio_vector": catalogue()}, ({"audio_vector": asked}, hub), k=1, most_cost=1.0)
    assert told["strength"] == 1.0
    never = np.argsort(asked @ candidates().T, axis=1)[:, -2:-1]  # the best song behind the hub: no power costs
    told = model.adapt({"audio_vector": catalogue()}, ({"audio_vector": asked}, never), k=1)
    assert told["recalls"][0.0] == 0.0
    assert told["strength"] == 1.0


def test_it_is_saved_and_wraps_a_joined_model(tmp_path: Path) -> None:
    joined = JoinedModel([Planted(name="first"), Planted(name="second")])
    joined.adapt()
    model = EvenedModel(joined)
    model.adapt({"audio_vector": catalogue()}, strength=0.75)
    assert model.evidence_names == joined.evidence_names
    songs = {"audio_vector": catalogue(seed=7), "song_index": np.array([0, 3] * (SONGS // 2))}
    expected = model.embed_songs(songs, candidate=True)
    assert np.linalg.norm(expected, axis=1).max() <= 1 + 1e-5
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.embed_songs(songs, candidate=True), expected, rtol=1e-5)


def test_a_model_without_evidence_has_none() -> None:
    assert not hasattr(EvenedModel(Planted()), "evidence")


def test_messages() -> None:
    model, songs = EvenedModel(Planted()), {"audio_vector": catalogue()}
    with pytest.raises(ValueError, match=r"`strength` must be a finite number of at least 0\. Received: -1"):
        model.adapt(songs, strength=-1)
    with pytest.raises(ValueError, match=r"`strength` and `validation` must not both be given"):
        model.adapt(songs, (songs, np.zeros((SONGS, 1), int)), strength=0.5)
    with pytest.raises(ValueError, match=r"at least 90 warm songs\. Received: 2"):
        model.adapt({"audio_vector": catalogue()[:2]})
