"""A real export in miniature: `ServedModel` around two Keras towers with random weights, and its answers in numpy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from serving.export.served_model import RawField, ServedModel, export

FIELDS = (
    RawField("attribute_genre", "category"),
    RawField("attribute_tags", "multi_category"),
    RawField("audio_tempo", "number"),
    RawField("lyric_vector", "vector", 3),
)
GENRES = ["rock", "jazz", "folk"]
TAG = "t"
WIDTH = 6


class Transform(tf.Module):
    """Numbers the genres and tags. 0 and NaN are missing or unknown, as in the pipeline's transform."""

    def __init__(self) -> None:
        super().__init__()
        values = tf.range(1, len(GENRES) + 1, dtype=tf.int64)
        self.genres = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(tf.constant(GENRES), values), 0)
        one = tf.constant([1], tf.int64)
        self.tags = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(tf.constant([TAG]), one), 0)

    def __call__(self, sparse: dict[str, tf.SparseTensor]) -> dict[str, Any]:
        tags = sparse["attribute_tags"]
        return {
            "attribute_genre": self.genres.lookup(_dense(sparse["attribute_genre"], 1, "")[:, 0]),
            "attribute_tags": tf.SparseTensor(tags.indices, self.tags.lookup(tags.values), tags.dense_shape),
            "audio_tempo": _dense(sparse["audio_tempo"], 1, np.nan)[:, 0],
            "lyric_vector": _dense(sparse["lyric_vector"], 3, np.nan),
        }


def _dense(sparse: tf.SparseTensor, width: int, missing: Any) -> tf.Tensor:
    shape = tf.stack([sparse.dense_shape[0], width])
    return tf.ensure_shape(
        tf.sparse.to_dense(tf.SparseTensor(sparse.indices, sparse.values, shape), missing), [None, width]
    )


class Tower(keras.layers.Layer):
    """A linear map of (1, genre, tags, tempo, sum of the vector), of unit length; with `songs`, plus a row per song."""

    def __init__(self, songs: int = 0) -> None:
        super().__init__()
        seeds = keras.random.SeedGenerator(3)
        self.kernel = self.add_weight(shape=(5, WIDTH), initializer=keras.initializers.RandomNormal(seed=seeds))
        self.songs = (
            self.add_weight(shape=(songs + 1, WIDTH), initializer=keras.initializers.RandomNormal(seed=seeds))
            if songs
            else None
        )

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        tempo, vector = (_without_nan(inputs[name]) for name in ("audio_tempo", "lyric_vector"))
        columns = [
            keras.ops.ones_like(tempo),
            keras.ops.cast(inputs["attribute_genre"], "float32"),
            keras.ops.cast(keras.ops.sum(inputs["attribute_tags"], axis=1), "float32"),
            tempo,
            keras.ops.sum(vector, axis=1),
        ]
        vectors = keras.ops.stack(columns, axis=1) @ self.kernel
        if self.songs is not None:
            known = keras.ops.cast(inputs["song_index"] > 0, "float32")[:, None]
            vectors = vectors + known * keras.ops.take(self.songs, inputs["song_index"], axis=0)
        return vectors / keras.ops.norm(vectors, axis=1, keepdims=True)


def _without_nan(values: Any) -> Any:
    return keras.ops.where(keras.ops.isnan(values), 0.0, values)


class Towers(keras.layers.Layer):
    """Applies the candidate tower if the features have a `song_index`, else the song tower."""

    def __init__(self, song_tower: Tower, candidate_tower: Tower) -> None:
        super().__init__()
        self.song_tower, self.candidate_tower = song_tower, candidate_tower

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        return (self.candidate_tower if "song_index" in inputs else self.song_tower)(inputs, training=training)


def catalogue(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Songs named `song-<number>`, with gaps."""
    rng = np.random.default_rng(seed)
    return [
        {
            "song_id": f"song-{number}",
            "attribute_genre": rng.choice(np.array([*GENRES, "unheard", None], object)),
            "attribute_tags": None if number % 7 == 0 else [TAG] * int(rng.integers(1, 4)),
            "audio_tempo": None if number % 5 == 0 else float(rng.normal()),
            "lyric_vector": None if number % 3 == 0 else rng.normal(size=3).tolist(),
        }
        for number in range(count)
    ]


class SmallExport:
    """The exported model and what it is made of.

    Args:
        songs: The songs in its index, all known to the candidate tower.
        integer_ids: Whether the index has integers, taken from the songs' numbers.
    """

    def __init__(self, songs: list[dict[str, Any]], *, integer_ids: bool = False) -> None:
        self.song_tower = Tower()
        self.candidate_tower = Tower(len(songs))
        self.candidate_tower.kernel.assign(self.song_tower.kernel)
        self.ids = [song["song_id"] for song in songs]
        self.index = self.embed(songs, candidate=True)
        self.model = ServedModel(
            fields=FIELDS,
            transform=Transform(),
            model=Towers(self.song_tower, self.candidate_tower),
            warm_ids=self.ids,
            index_ids=[int(song_id.split("-")[1]) for song_id in self.ids] if integer_ids else self.ids,
            index_embeddings=self.index,
        )

    def export(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        export(self.model, str(path))
        return path

    def embed(self, songs: list[dict[str, Any]], *, candidate: bool = False) -> np.ndarray:
        """Returns what `embed` or `candidate` answers, computed in numpy."""
        rows = []
        for song in songs:
            genre = song.get("attribute_genre")
            number = GENRES.index(genre) + 1 if genre in GENRES else 0
            tags, vector = song.get("attribute_tags") or (), song.get("lyric_vector")
            known_tags = [tag for tag in tags if tag == TAG]
            rows.append([1.0, number, len(known_tags), song.get("audio_tempo") or 0.0, sum(vector) if vector else 0.0])
        vectors = np.array(rows, np.float32).reshape(-1, 5) @ np.asarray(self.song_tower.kernel)
        if candidate:
            known = {song_id: row for row, song_id in enumerate(self.ids, start=1)}
            for row, song in enumerate(songs):
                if song["song_id"] in known:
                    vectors[row] += np.asarray(self.candidate_tower.songs)[known[song["song_id"]]]
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
