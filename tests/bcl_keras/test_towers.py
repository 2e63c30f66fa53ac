"""Encoders, the feature table and both towers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
import small_catalogue as small
from keras import ops

from bcl_keras import BCLConfig, Field
from bcl_keras.layers import FeatureTable, FieldEncoder
from bcl_keras.models import CandidateTower, SongTower


def tensors(features: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: ops.convert_to_tensor(values) for name, values in features.items()}


def encoded(encoder: FieldEncoder, values: Any) -> np.ndarray:
    return ops.convert_to_numpy(encoder(ops.convert_to_tensor(np.asarray(values))))


def randomised(encoder: FieldEncoder, seed: int = 0) -> FieldEncoder:
    encoder.build()
    rng = np.random.default_rng(seed)
    for weight in encoder.weights:
        weight.assign(rng.normal(size=weight.shape))
    return encoder


def test_set_of_categories_is_pooled_with_learned_weights() -> None:
    encoder = randomised(FieldEncoder(Field("tags", "multi_category", 8), 3))
    table, weights = (ops.convert_to_numpy(w) for w in (encoder.table, ops.exp(encoder.log_weights)))
    expected = (weights[2] * table[2] + weights[5] * table[5]) / np.sqrt(weights[2] ** 2 + weights[5] ** 2)
    result = encoded(encoder, np.array([[2, 5, 0, 0], [5, 0, 2, 0]], "int32"))
    np.testing.assert_allclose(result, [expected, expected], rtol=1e-5)  # padding and order do not count


def test_category_number_and_vector() -> None:
    category = randomised(FieldEncoder(Field("g", "category", 4), 3))
    np.testing.assert_allclose(encoded(category, np.array([3], "int32"))[0], ops.convert_to_numpy(category.table)[3])
    for field, value in (
        (Field("n", "number"), np.array([2.5], "float32")),
        (Field("v", "vector", 2), np.ones((1, 2), "float32")),
    ):
        encoder = randomised(FieldEncoder(field, 3))
        kernel, bias = (ops.convert_to_numpy(w) for w in (encoder.kernel, encoder.bias))
        np.testing.assert_allclose(encoded(encoder, value), value.reshape(1, -1) @ kernel + bias, rtol=1e-5)


@pytest.mark.parametrize(
    ("field", "missing"),
    [
        (Field("g", "category", 4), np.array([0], "int32")),
        (Field("t", "multi_category", 4), np.zeros((1, 3), "int32")),
        (Field("n", "number"), np.array([np.nan], "float32")),
        (Field("v", "vector", 2), np.array([[1.0, np.nan]], "float32")),
    ],
)
def test_missing_values_give_the_learned_vector(field: Field, missing: np.ndarray) -> None:
    encoder = randomised(FieldEncoder(field, 3))
    np.testing.assert_allclose(encoded(encoder, missing)[0], ops.convert_to_numpy(encoder.missing_vector))
    assert not ops.convert_to_numpy(encoder.presence(ops.convert_to_tensor(missing))).any()


def test_song_tower_is_encode_then_aggregate() -> None:
    tower = SongTower(small.FIELDS, small.SMALL)
    features = tensors(small.features(10))
    whole = ops.convert_to_numpy(tower(features))
    halves = tower.finish(tower.aggregate(*tower.encode_fields(features)))
    np.testing.assert_allclose(whole, ops.convert_to_numpy(halves), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1.0, rtol=1e-5)


def test_hidden_field_counts_as_missing() -> None:
    tower = SongTower(small.FIELDS, small.SMALL)
    features = small.features(10, missing=0.0)
    vectors, presence = tower.encode_fields(tensors(features))
    hidden = ops.convert_to_numpy(presence).copy()
    hidden[:, 0] = False
    by_presence = tower.aggregate(vectors, ops.convert_to_tensor(hidden))
    by_value = tower.aggregate(*tower.encode_fields(tensors({**features, "attribute_genre": np.zeros(10, "int32")})))
    np.testing.assert_allclose(ops.convert_to_numpy(by_presence), ops.convert_to_numpy(by_value), atol=1e-6)


def test_longer_padding_changes_nothing() -> None:
    tower = SongTower(small.FIELDS, small.SMALL)
    features = small.features(5)
    longer = {**features, "attribute_tags": np.pad(features["attribute_tags"], ((0, 0), (0, 4)))}
    np.testing.assert_allclose(
        ops.convert_to_numpy(tower(tensors(features))), ops.convert_to_numpy(tower(tensors(longer))), atol=1e-6
    )


def test_song_without_any_field_has_an_embedding() -> None:
    tower = SongTower(small.FIELDS, small.SMALL)
    assert np.isfinite(ops.convert_to_numpy(tower(tensors(small.features(3, missing=1.1))))).all()


def test_candidate_without_plays_is_its_content() -> None:
    tower = SongTower(small.FIELDS, small.SMALL)
    candidate = CandidateTower(tower, 4, small.SMALL)
    candidate.build()
    candidate.plays_table.assign(np.random.default_rng(0).normal(size=(5, 8)))
    features = tensors(small.features(4))
    content = ops.convert_to_numpy(tower(features))
    result = ops.convert_to_numpy(candidate({**features, "song_index": ops.convert_to_tensor([0, 0, 3, 4])}))
    np.testing.assert_allclose(result[:2], content[:2], atol=1e-6)
    joined = content[2:] + ops.convert_to_numpy(candidate.plays_table)[3:5]
    np.testing.assert_allclose(result[2:], joined / np.linalg.norm(joined, axis=1, keepdims=True), atol=1e-5)


def test_plays_are_dropped_for_the_stated_share_in_training() -> None:
    candidate = CandidateTower(
        SongTower(small.FIELDS, small.SMALL), 4, BCLConfig(**{**small.SMALL.to_dict(), "plays_dropout": 0.3})
    )
    candidate.build()
    candidate.plays_table.assign(np.ones((5, 8)))
    content = ops.ones((4000, 8)) * ops.convert_to_tensor([1.0] + [0.0] * 7)
    result = ops.convert_to_numpy(candidate.add_plays(content, ops.full((4000,), 2, dtype="int32"), training=True))
    assert (result[:, 1] == 0).mean() == pytest.approx(0.3, abs=0.03)


def test_given_plays_vectors_are_mapped() -> None:
    config = BCLConfig(**{**small.SMALL.to_dict(), "plays_part": "vector", "normalize": False})
    candidate = CandidateTower(SongTower(small.FIELDS, config), 4, config, plays_dim=3)
    given = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    candidate.set_plays_vectors(given)
    result = candidate.add_plays(ops.zeros((2, 8)), ops.convert_to_tensor([0, 4]))
    expected = np.stack([np.zeros(8), given[3] @ ops.convert_to_numpy(candidate.plays_kernel)])
    np.testing.assert_allclose(ops.convert_to_numpy(result), expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"`vectors` must have shape \(4, 3\). Received: \(4, 2\)"):
        candidate.set_plays_vectors(given[:, :2])


def test_tower_messages() -> None:
    tower = SongTower(small.FIELDS, small.SMALL)
    with pytest.raises(ValueError, match=r"`fields` must hold at least 2 fields. Received: 1"):
        SongTower(small.FIELDS[:1], small.SMALL)
    with pytest.raises(ValueError, match=r"must hold every field. Received: nothing for \['audio_timbre'\]"):
        tower({name: v for name, v in tensors(small.features(3)).items() if name != "audio_timbre"})
    with pytest.raises(ValueError, match=r"`num_songs` must be an integer of at least 1. Received: 0"):
        CandidateTower(tower, 0, small.SMALL)
    with pytest.raises(ValueError, match=r"`features` must hold `song_index`. Received: "):
        CandidateTower(tower, 3, small.SMALL)(tensors(small.features(3)))
    with pytest.raises(ValueError, match=r"`config.plays_part` must be 'vector' to set vectors. Received: 'id'"):
        CandidateTower(tower, 3, small.SMALL).set_plays_vectors(np.zeros((3, 64)))
    with pytest.raises(ValueError, match=r"`dim` must be at least 1. Received: 0"):
        FieldEncoder(Field("n", "number"), 0)


def filled(**kwargs: Any) -> FeatureTable:
    table = FeatureTable(small.FIELDS, **kwargs)
    table.set_features(small.features(20))
    return table


def test_table_returns_the_rows_asked_for() -> None:
    features = small.features(20)
    result = filled()(ops.convert_to_tensor([3, 3, 17]))
    for name, values in features.items():
        expected = values[[3, 3, 17]]
        if name == "attribute_tags":  # the table moves padding to the end
            expected = np.stack([sorted(row, key=lambda v: v == 0) for row in expected])
        np.testing.assert_array_equal(ops.convert_to_numpy(result[name]), expected)


def test_table_trims_padding_and_cuts_long_rows(caplog: pytest.LogCaptureFixture) -> None:
    features = small.features(20, missing=0.0)
    features["attribute_tags"] = np.pad(features["attribute_tags"], ((0, 0), (2, 5)))
    table = FeatureTable(small.FIELDS)
    table.set_features(features)
    assert table.columns["attribute_tags"].shape == (20, 3)
    table = FeatureTable([replace(field, max_values=2) for field in small.FIELDS])
    table.set_features(features)
    assert table.columns["attribute_tags"].shape == (20, 2)
    assert "Field `attribute_tags`: 20 songs cut to 2 values" in caplog.text


def test_table_can_be_filled_again() -> None:
    table = filled()
    table.set_features(small.features(20, seed=1))
    table.set_features(small.features(33, seed=2))
    assert table.num_rows == 33 and len(table.non_trainable_variables) == 4
    result = table(ops.convert_to_tensor([32]))
    expected = small.features(33, seed=2)["attribute_genre"][32:]
    np.testing.assert_array_equal(ops.convert_to_numpy(result["attribute_genre"]), expected)


def test_table_is_a_state_that_does_not_learn() -> None:
    table = filled()
    assert len(table.non_trainable_variables) == 4 and not table.trainable_variables
    assert {keras.backend.standardize_dtype(c.dtype) for c in table.columns.values()} == {"int32", "float32"}


def test_table_messages() -> None:
    features = small.features(20)
    with pytest.raises(ValueError, match=r"must hold every field. Received: nothing for \['audio_tempo'\]"):
        FeatureTable(small.FIELDS).set_features({k: v for k, v in features.items() if k != "audio_tempo"})
    with pytest.raises(ValueError, match=r"must hold one row per song in every field. Received: .*'audio_tempo': 19"):
        FeatureTable(small.FIELDS).set_features({**features, "audio_tempo": features["audio_tempo"][1:]})
    with pytest.raises(
        ValueError, match=r"must be filled by `set_catalogue` before rows are looked up. Received: no rows"
    ):
        FeatureTable(small.FIELDS)(ops.convert_to_tensor([0]))
