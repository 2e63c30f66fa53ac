"""Vectors of any length in the library: table, towers, closed form, joined model, as notebooks use them."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from bcl_keras import BCLConfig, Field
from bcl_keras.data import PairStream
from bcl_keras.fields import MAX_VALUES
from bcl_keras.models import AudienceRidge, BCLModel, JoinedModel, SongModel

LENGTHS = (1, 32, 33, 64, 384, 1024)
SONGS = 30
FIELDS = [Field(f"v{length}", "vector", length) for length in LENGTHS] + [Field("tags", "multi_category", 200)]
PAIRS = (np.arange(SONGS), (np.arange(SONGS) + 5) % SONGS, np.ones(SONGS))


def features(songs: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    vectors = {f"v{length}": rng.normal(size=(songs, length)).astype("float32") for length in LENGTHS}
    vectors["v64"][1, 63] = np.nan  # missing
    return {**vectors, "tags": rng.integers(0, 200, (songs, 90)).astype("int32")}


def embed(model: SongModel, given: dict[str, np.ndarray]) -> np.ndarray:
    return model.embed_songs(given)


@pytest.fixture(scope="module")
def joined() -> JoinedModel:
    keras.utils.set_random_seed(0)
    config = BCLConfig(embedding_dim=8, field_dim=4, hidden_dims=(8,), batch_size=10, correlation_songs=16)
    towers = BCLModel(FIELDS, SONGS, config)
    towers.set_catalogue(features(SONGS))
    table = towers.feature_table(ops.convert_to_tensor(np.arange(SONGS, dtype="int32")))
    for name, values in features(SONGS).items():
        kept = ops.convert_to_numpy(table[name])
        assert kept.shape[1] == (MAX_VALUES if name == "tags" else values.shape[1])
        if name != "tags":
            np.testing.assert_array_equal(kept, values)
    towers.compile()
    towers.fit(PairStream(PAIRS, SONGS, batch_size=10, steps_per_epoch=2), epochs=1, verbose=0)
    ridge = AudienceRidge(FIELDS, SONGS, {"rank": 8})
    ridge.adapt(features(SONGS), PAIRS)
    model = JoinedModel([ridge, towers])
    model.adapt((features(10, seed=1), np.tile([0, 1], (10, 1))), k=5)
    return model


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("part", [0, 1])
def test_the_last_number_of_a_vector_counts(joined: JoinedModel, part: int, length: int) -> None:
    given = features(6, seed=2)
    changed = {**given, f"v{length}": given[f"v{length}"].copy()}
    changed[f"v{length}"][:, -1] *= -40.0
    model = joined.models[part]
    moved = np.abs(embed(model, given) - embed(model, changed)).max(axis=1)
    assert (np.delete(moved, 1) if length == 64 else moved).min() > 1e-6
    if length == 64:
        assert moved[1] == 0.0  # still missing


def test_a_saved_model_takes_them_too(joined: JoinedModel, tmp_path: Path) -> None:
    joined.save(tmp_path / "joined.keras")
    restored = keras.saving.load_model(tmp_path / "joined.keras")
    np.testing.assert_allclose(embed(restored, features(6, seed=2)), embed(joined, features(6, seed=2)), atol=1e-6)


@pytest.mark.parametrize("length", [31, 33, 1023, 1025])
def test_a_vector_of_another_length_is_refused_by_name(joined: JoinedModel, length: int) -> None:
    wanted = 32 if length < 1000 else 1024
    given = {**features(SONGS), f"v{wanted}": np.zeros((SONGS, length), "float32")}
    with pytest.raises(ValueError, match=rf"`v{wanted}` .* of length {wanted}. Received: shape \({SONGS}, {length}\)"):
        joined.models[1].set_catalogue(given)
