"""The trained model's index with ids as strings or, where they are whole numbers and it is asked for, as int64."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

import bcl_keras
from tests.serving import small_export
from tfx_pipeline.contract import SongField
from tfx_pipeline.song_table import SongTable
from tfx_pipeline.trainer import served_model

FIELDS = (SongField("attribute_genre", "category"), SongField("audio_tempo", "number"))


class Transform(small_export.Transform):
    """The two fields of this file only."""

    def __call__(self, sparse):
        rows = sparse["audio_tempo"].dense_shape[0]
        vectors = tf.SparseTensor(tf.zeros([0, 2], tf.int64), tf.zeros([0]), tf.stack([rows, 3]))
        others = {"attribute_tags": sparse["attribute_genre"], "lyric_vector": vectors}
        outputs = super().__call__({**sparse, **others})
        return {field.name: outputs[field.name] for field in FIELDS}


def table(ids: list[str]) -> SongTable:
    count = len(ids)
    return SongTable(
        ids=np.array(ids, bytes),
        splits=np.full(count, "warm"),
        features={"attribute_genre": np.arange(count, dtype=np.int32) % 3, "audio_tempo": np.ones(count, np.float32)},
        listeners=np.ones(count, np.int64),
        similar_ids=np.zeros((count, 0), "S1"),
        similar_scores=np.zeros((count, 0), np.float32),
    )


def served(ids: list[str], *, integer_ids: bool):
    songs = table(ids)
    fields = [bcl_keras.Field("attribute_genre", "category", 4), bcl_keras.Field("audio_tempo", "number")]
    model = bcl_keras.models.BCLModel(fields, bcl_keras.BCLConfig(), num_songs=len(songs))
    model.set_catalogue(songs.features)
    transform = SimpleNamespace(transform_features_layer=Transform)
    return served_model(model, songs, transform, FIELDS, integer_ids=integer_ids)


@pytest.mark.parametrize(("integer_ids", "dtype"), [(False, tf.string), (True, tf.int64)])
def test_ids_of_both_types(integer_ids: bool, dtype: tf.DType) -> None:
    model = served(["1", "10", "5"], integer_ids=integer_ids)
    none = tf.constant([-1], tf.int64) if integer_ids else tf.constant([""])
    raw = {"attribute_genre": tf.constant(["rock"]), "audio_tempo": tf.constant([1.0])}
    ids = model.match({**raw, "k": tf.constant([2]), "exclude": none})["song_ids"]
    assert ids.dtype == dtype and ids.shape == (1, 2)
    assert set(ids[0].numpy().tolist()) <= ({1, 10, 5} if integer_ids else {b"1", b"10", b"5"})


def test_ids_that_are_no_integers_are_refused() -> None:
    with pytest.raises(ValueError, match="song_id: expected an integer of 0 or more .* Received: 'a7'"):
        served(["1", "a7"], integer_ids=True)
