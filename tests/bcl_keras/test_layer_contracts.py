"""Keras' own contract test for every layer: config, shapes, symbolic calls, saving, training, mixed precision."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras.src import testing

from bcl_keras import BCLConfig, Field
from bcl_keras.layers import (
    CorrelationGrouping,
    CorruptViews,
    FeatureCorrelation,
    FeatureTable,
    FieldDropout,
    FieldEncoder,
    RandomMask,
    SpanMask,
    SplitViews,
    UniformNoise,
)
from bcl_keras.models import CandidateTower, SongTower
from bcl_keras.models.contrast import ContrastiveViews

RNG = np.random.default_rng(0)
FIELDS = [Field("genre", "category", 6), Field("tags", "multi_category", 9), Field("tempo", "number")]
SMALL = BCLConfig(field_dim=4, embedding_dim=5, hidden_dims=(6,), projection_dim=3)


def features(songs: int = 4) -> dict[str, np.ndarray]:
    return {
        "genre": RNG.integers(0, 6, songs).astype("int32"),
        "tags": RNG.integers(0, 9, (songs, 3)).astype("int32"),
        "tempo": RNG.normal(size=songs).astype("float32"),
    }


class ListedSongTower(SongTower):
    """The contract test passes a dict as keyword arguments, so here the values come as a list."""

    def call(self, values: Any, training: bool = False) -> Any:
        return super().call(dict(zip([field.name for field in FIELDS], values, strict=True)), training=training)

    def compute_output_shape(self, values_shape: list[tuple[int, ...]]) -> tuple[int, int]:
        return super().compute_output_shape({FIELDS[0].name: values_shape[0]})


class ListedCandidateTower(CandidateTower):
    """As `ListedSongTower`, the song index last."""

    def call(self, values: Any, training: bool = False) -> Any:
        names = [*(field.name for field in FIELDS), "song_index"]
        return super().call(dict(zip(names, values, strict=True)), training=training)

    def compute_output_shape(self, values_shape: list[tuple[int, ...]]) -> tuple[int, int]:
        return super().compute_output_shape({"song_index": values_shape[-1]})


class LayerContractTest(testing.TestCase):
    def test_field_encoder_of_categories(self) -> None:
        self.run_layer_test(
            FieldEncoder,
            {"field": Field("genre", "category", 6).to_dict(), "dim": 4},
            input_data=np.array([0, 3, 5], "int32"),
            expected_output_shape=(3, 4),
            expected_num_trainable_weights=2,
            expected_num_seed_generators=0,
            supports_masking=False,
        )

    def test_field_encoder_of_several_categories(self) -> None:
        self.run_layer_test(
            FieldEncoder,
            {"field": Field("tags", "multi_category", 9).to_dict(), "dim": 4},
            input_data=np.array([[1, 2, 0], [0, 0, 0]], "int32"),
            expected_output_shape=(2, 4),
            expected_num_trainable_weights=3,
        )

    def test_field_encoder_of_numbers(self) -> None:
        self.run_layer_test(
            FieldEncoder,
            {"field": Field("tempo", "number").to_dict(), "dim": 4},
            input_data=np.array([0.5, -2.0, 1e4], "float32"),
            expected_output_shape=(3, 4),
            expected_num_trainable_weights=3,
        )

    def test_field_encoder_of_vectors(self) -> None:
        self.run_layer_test(
            FieldEncoder,
            {"field": Field("audio", "vector", 5).to_dict(), "dim": 4},
            input_shape=(3, 5),
            expected_output_shape=(3, 4),
            expected_num_trainable_weights=3,
        )

    def test_feature_correlation(self) -> None:
        self.run_layer_test(
            FeatureCorrelation,
            {"num_fields": 3, "momentum": 0.5, "update_every": 2, "max_songs": 8, "unbiased": True},
            input_shape=(6, 3, 2),
            expected_output_shape=(3, 3),
            expected_num_trainable_weights=0,
            expected_num_non_trainable_weights=2,
            run_training_check=False,  # nothing in it learns by gradients
            run_mixed_precision_check=False,  # float32 always: see test_precision.py
        )

    def test_correlation_grouping(self) -> None:
        self.run_layer_test(
            CorrelationGrouping,
            {"num_fields": 4, "group_size": 2, "strategy": "gumbel", "seed": 1},
            input_shape=(4, 4),
            expected_output_shape=(4,),
            expected_output_dtype="bool",
            expected_num_trainable_weights=0,
            expected_num_seed_generators=1,
            run_training_check=False,  # a draw has no gradient
            run_mixed_precision_check=False,
        )

    def test_operators(self) -> None:
        for layer, own in ((RandomMask, {"rate": 0.4}), (SpanMask, {"rate": 0.4}), (UniformNoise, {"scale": 0.4})):
            self.run_layer_test(
                layer,
                {**own, "seed": 3},
                input_shape=(5, 3, 10),
                expected_output_shape=(5, 3, 10),
                expected_num_trainable_weights=0,
                expected_num_seed_generators=1,
                run_training_check=False,
            )

    def test_field_dropout(self) -> None:
        self.run_layer_test(
            FieldDropout,
            {"rate": 0.4, "seed": 3},
            input_shape=(5, 3),
            expected_output_shape=(5, 3),
            expected_num_seed_generators=1,
            run_training_check=False,
        )

    def test_pairs_of_views(self) -> None:
        inputs = (RNG.normal(size=(4, 3, 2)).astype("float32"), np.ones((4, 3), "float32"), np.eye(4, 3) > 0)
        for layer in (SplitViews, CorruptViews):
            self.run_layer_test(
                layer,
                {"operators": []},
                input_data=inputs,
                expected_output_shape=((8, 3, 2), (8, 3)),
                expected_num_trainable_weights=0,
                run_training_check=False,
                run_mixed_precision_check=False,  # each operator has its own policy
            )

    def test_contrastive_views(self) -> None:
        self.run_layer_test(
            ContrastiveViews,
            {"num_fields": 3, "config": SMALL.to_dict()},
            input_data=(RNG.normal(size=(6, 3, 4)).astype("float32"), np.ones((6, 3), "float32")),
            expected_output_shape=((12, 3, 4), (12, 3)),
            expected_num_non_trainable_weights=2,
            run_training_check=False,
            run_mixed_precision_check=False,
        )

    def test_song_tower(self) -> None:
        self.run_layer_test(
            ListedSongTower,
            {"fields": [field.to_dict() for field in FIELDS], "config": SMALL.to_dict()},
            custom_objects={"ListedSongTower": ListedSongTower},
            input_data=list(features().values()),
            expected_output_shape=(4, 5),
            expected_output_dtype="float32",
            run_training_check=False,
            run_mixed_precision_check=False,  # embeddings are float32: see test_precision.py
        )

    def test_candidate_tower(self) -> None:
        self.run_layer_test(
            ListedCandidateTower,
            {"song_tower": SongTower(FIELDS, SMALL), "num_songs": 3, "config": SMALL.to_dict()},
            custom_objects={"ListedCandidateTower": ListedCandidateTower},
            input_data=[*features().values(), np.array([0, 1, 2, 3], "int32")],
            expected_output_shape=(4, 5),
            run_training_check=False,
            run_mixed_precision_check=False,
        )

    def test_feature_table_keeps_its_settings(self) -> None:
        # It is filled with data, not built from a shape, so the general contract does not fit it.
        layer = FeatureTable(FIELDS, save_table=True)
        assert FeatureTable.from_config(layer.get_config()).get_config() == layer.get_config()
