"""A list of words of any length gives the same embedding in library, training, serving and refresh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from bcl_keras import BCLConfig, Field
from bcl_keras.data import PairStream
from bcl_keras.fields import MAX_VALUES
from bcl_keras.models import AudienceRidge, BCLModel, JoinedModel
from serving.client import Client
from serving.export.served_model import RawField, ServedModel, export
from serving.refresh.index import refreshed_index
from serving.refresh.saved_version import SavedVersion
from serving.savedmodel.raw_fields import encode_song
from serving.server import EmbeddedServer
from tfx_pipeline.models.config import TransformConfig

pytestmark = pytest.mark.slow  # models for every path that a list takes

LENGTHS = (1, 32, 33, 64, 65, 200)
WORDS = 250
SONGS = 24
FIELDS = [Field("attribute_tags", "multi_category", WORDS + 1), Field("audio_tempo", "number")]
RAW = [RawField("attribute_tags", "multi_category"), RawField("audio_tempo", "number")]
PAIRS = (np.arange(SONGS), (np.arange(SONGS) + 5) % SONGS, np.ones(SONGS))


class Transform(tf.Module):
    """Word w7 has id 7; any other word has none. Lists are not cut: the model decides what counts."""

    def __init__(self) -> None:
        super().__init__()
        keys = tf.constant([f"w{number}" for number in range(1, WORDS + 1)])
        values = tf.range(1, WORDS + 1, dtype=tf.int64)
        self.words = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), 0)

    def __call__(self, sparse: dict[str, tf.SparseTensor]) -> dict[str, Any]:
        tags, tempo = sparse["attribute_tags"], sparse["audio_tempo"]
        shape = tf.stack([tempo.dense_shape[0], 1])
        numbers = tf.sparse.to_dense(tf.SparseTensor(tempo.indices, tempo.values, shape), np.nan)
        return {
            "attribute_tags": tf.SparseTensor(tags.indices, self.words.lookup(tags.values), tags.dense_shape),
            "audio_tempo": tf.ensure_shape(numbers, [None, 1])[:, 0],
        }


def lists_of_ids() -> list[list[int]]:
    rng = np.random.default_rng(5)
    return [rng.permutation(np.arange(1, WORDS + 1))[:length].tolist() for length in LENGTHS]


def padded(lists: list[list[int]], gaps: bool = False) -> np.ndarray:
    """As arrays: padded at the end, or with a gap before every odd id."""
    spread = [[part for one in ids for part in ([0, one] if gaps and one % 2 else [one])] for ids in lists]
    width = max(map(len, spread))
    return np.array([ids + [0] * (width - len(ids)) for ids in spread], "int32")


def inputs(tags: np.ndarray) -> dict[str, np.ndarray]:
    return {"attribute_tags": tags, "audio_tempo": np.linspace(-1, 1, len(tags)).astype("float32")}


def catalogue() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    lists = [rng.permutation(np.arange(1, WORDS + 1))[: LENGTHS[song % 6]].tolist() for song in range(SONGS)]
    return inputs(padded(lists, gaps=True))


@pytest.fixture(scope="module")
def model() -> JoinedModel:
    keras.utils.set_random_seed(0)
    config = BCLConfig(embedding_dim=8, field_dim=4, batch_size=8, correlation_songs=8)
    towers = BCLModel(FIELDS, SONGS, config)
    towers.set_catalogue(catalogue())
    towers.compile()
    towers.fit(PairStream(PAIRS, SONGS, batch_size=8, steps_per_epoch=3), epochs=1, verbose=0)
    ridge = AudienceRidge(FIELDS, SONGS, {"rank": 8})
    ridge.adapt(catalogue(), PAIRS)
    joined = JoinedModel([ridge, towers])
    joined.adapt()
    return joined


def embedded(model: Any, tags: np.ndarray, **more: np.ndarray) -> np.ndarray:
    return model.embed_songs({**inputs(tags), **more}, candidate="song_index" in more)


@pytest.fixture(scope="module")
def expected(model: JoinedModel) -> np.ndarray:
    """The first 32 words count. The 32nd changes the result, so no list may be cut before it."""
    whole = embedded(model, padded([ids[:32] for ids in lists_of_ids()]))
    shorter = embedded(model, padded([ids[:31] for ids in lists_of_ids()]))
    assert np.abs(whole - shorter).max(axis=1)[1:].min() > 1e-3
    return whole


def test_one_limit_by_default() -> None:
    assert MAX_VALUES == 32 == TransformConfig().max_values == FIELDS[0].max_values


@pytest.mark.parametrize("part", [0, 1, None])
def test_the_library_takes_arrays_and_tensors_with_gaps_and_without(model: JoinedModel, part: int | None) -> None:
    one = model if part is None else model.models[part]
    cut = embedded(one, padded([ids[:32] for ids in lists_of_ids()]))
    for gaps in (False, True):
        tags = padded(lists_of_ids(), gaps=gaps)
        np.testing.assert_allclose(embedded(one, tags), cut, atol=1e-5)
        tensors = {name: ops.convert_to_tensor(values) for name, values in inputs(tags).items()}
        np.testing.assert_allclose(ops.convert_to_numpy(one.embed_features(tensors)), cut, atol=1e-5)


def test_training_sees_what_a_request_gives(model: JoinedModel) -> None:
    towers = model.models[1]
    np.testing.assert_allclose(towers.embed_songs(), embedded(towers, catalogue()["attribute_tags"]), atol=1e-5)
    cut = catalogue()
    cut["attribute_tags"] = padded([ids[ids > 0][:32].tolist() for ids in cut["attribute_tags"]])
    ridge = AudienceRidge(FIELDS, SONGS, {"rank": 8})
    ridge.adapt(cut, PAIRS)
    tags = padded(lists_of_ids())
    np.testing.assert_allclose(embedded(ridge, tags), embedded(model.models[0], tags), atol=1e-4)


def test_a_field_may_have_a_limit_of_its_own() -> None:
    tower = BCLModel(
        [Field("attribute_tags", "multi_category", WORDS + 1, 40), FIELDS[1]], 1, BCLConfig(embedding_dim=8)
    )
    whole, cut = lists_of_ids(), [ids[:40] for ids in lists_of_ids()]
    np.testing.assert_allclose(embedded(tower, padded(whole)), embedded(tower, padded(cut)), atol=1e-5)
    assert np.abs(embedded(tower, padded(whole)) - embedded(tower, padded([ids[:39] for ids in cut]))).max() > 1e-4
    with pytest.raises(ValueError, match=r"`max_values` must be at least 1. Received: 0"):
        Field("attribute_tags", "multi_category", 5, 0)


def test_every_signature_and_the_refresh(model: JoinedModel, expected: np.ndarray, tmp_path: Path) -> None:
    served = ServedModel(
        fields=RAW,
        transform=Transform(),
        model=model,
        warm_ids=[f"warm-{row}" for row in range(SONGS)],
        index_ids=[f"warm-{row}" for row in range(SONGS)],
        index_embeddings=model.warm_candidates(),
    )
    export(served, str(tmp_path / "1"))
    tempos = inputs(padded(lists_of_ids()))["audio_tempo"]
    songs: list[dict[str, Any]] = [
        {
            "song_id": f"new-{len(ids)}",
            "attribute_tags": [word for one in ids for word in ("unheard", f"w{one}")],
            "audio_tempo": float(tempo),
        }
        for ids, tempo in zip(lists_of_ids(), tempos, strict=True)
    ]
    candidates = embedded(
        model, padded([ids[:32] for ids in lists_of_ids()]), song_index=np.zeros(len(LENGTHS), "int32")
    )
    examples = [encode_song(song, RAW) for song in songs]
    with SavedVersion(str(tmp_path / "1")) as version:
        np.testing.assert_allclose(version.run("serving_default", examples)["embedding"], expected, atol=1e-5)
        index, changes = refreshed_index(version, zip((song["song_id"] for song in songs), examples, strict=True))
        np.testing.assert_allclose(index.embeddings[changes.kept :], candidates, atol=1e-5)
        bulk = version.run("match_examples", examples)["scores"]
    np.testing.assert_allclose(bulk, -np.sort(-(expected @ model.warm_candidates().T), axis=1), atol=1e-5)
    with (
        EmbeddedServer(port=0, model_name="bcl", model_base_path=str(tmp_path)) as server,
        Client(server.target) as client,
    ):
        np.testing.assert_allclose(client.embed(songs), expected, atol=1e-5)
        for song, row in zip(songs, expected, strict=True):  # alone, so that no longer list of the batch pads it
            np.testing.assert_allclose(client.embed(song)[0], row, atol=1e-5)
