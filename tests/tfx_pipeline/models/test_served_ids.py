"""The trained model's index with ids as strings or, where they are whole numbers and it is asked for, as int64."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import bcl_keras
from serving.savedmodel.raw_fields import integer_id
from tests.any_text import AWKWARD, LONG
from tests.serving import small_export
from tfx_pipeline.contract import SongField
from tfx_pipeline.contract.ids import id_array, no_ids
from tfx_pipeline.models.song_table import SongTable
from tfx_pipeline.models.trainer import served_model

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
        ids=id_array(ids),
        splits=np.full(count, "warm"),
        features={"attribute_genre": np.arange(count, dtype=np.int32) % 3, "audio_tempo": np.ones(count, np.float32)},
        listeners=np.ones(count, np.int64),
        similar_ids=no_ids(count, 0),
        similar_scores=np.zeros((count, 0), np.float32),
    )


def served(ids: list[str], *, integer_ids: bool):
    songs = table(ids)
    fields = [bcl_keras.Field("attribute_genre", "category", 4), bcl_keras.Field("audio_tempo", "number")]
    model = bcl_keras.models.BCLModel(fields, len(songs))
    model.set_catalogue(songs.features)
    transform = SimpleNamespace(transform_features_layer=Transform)
    return served_model(model, songs, transform, FIELDS, integer_ids=integer_ids)


WORDS = [*AWKWARD, LONG]


@pytest.mark.parametrize(
    ("given", "returned", "dtype"),
    [(WORDS, [word.encode() for word in WORDS], tf.string), (["1", "10", "5"], [1, 10, 5], tf.int64)],
    ids=["text", "integers"],
)
def test_ids_of_both_types(given: list[str], returned: list[Any], dtype: tf.DType) -> None:
    integer_ids = dtype == tf.int64
    model = served(given, integer_ids=integer_ids)
    none = tf.constant([-1], tf.int64) if integer_ids else tf.constant([""])
    raw = {"attribute_genre": tf.constant(["rock"]), "audio_tempo": tf.constant([1.0])}
    found = model.match({**raw, "k": tf.constant([2]), "exclude": none})["song_ids"]
    assert found.dtype == dtype and found.shape == (1, 2)
    assert set(found[0].numpy().tolist()) <= set(returned)
    assert sorted(model.index._identifiers.numpy().tolist()) == sorted(returned)


@pytest.mark.parametrize("wrong", ["007", "-1", "1e5", " 7", "7\n", "\u0663", str(2**63), "9" * 5000, "None"])
def test_an_id_that_is_not_the_one_way_to_write_an_integer(wrong: str) -> None:
    with pytest.raises(ValueError, match="song_id: expected an integer of 0 or more"):
        integer_id(wrong)


def test_ids_that_are_no_integers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"song_id: expected an integer of 0 or more .* Received: 'a7'"):
        served(["1", "a7"], integer_ids=True)
