"""Small SavedModels for the tests: the signatures of the exported model, with answers that numpy can repeat."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

GENRES = ["rock", "jazz", "folk"]
INDEX_IDS = ["s1", "s2", "s3", "s4", "s5"]
INDEX = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 1]], np.float32)

_FIELDS = {
    "attribute_genre": tf.TensorSpec([None], tf.string, name="attribute_genre"),
    "attribute_tags": tf.TensorSpec([None, None], tf.string, name="attribute_tags"),
    "audio_tempo": tf.TensorSpec([None], tf.float32, name="audio_tempo"),
    "lyric_vector": tf.TensorSpec([None, 3], tf.float32, name="lyric_vector"),
}


def _held() -> tf.Tensor:
    return tf.raw_ops.FIFOQueueV2(component_types=[tf.int32], shapes=[[]], shared_name="held")


class SmallModel(tf.Module):
    """Embedding: (genre's number, number of tags, tempo, sum of the vector) times `scale`; missing values are 0."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = tf.Variable(scale, dtype=tf.float32)
        keys = tf.constant(GENRES)
        values = tf.range(1, len(GENRES) + 1, dtype=tf.int64)
        self.genres = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), 0)
        self.weights = tf.Variable(np.arange(6, dtype=np.float32).reshape(2, 3))

    def _embed(self, genre, tags, tempo, vector):
        columns = [
            tf.cast(self.genres.lookup(genre), tf.float32),
            tf.reduce_sum(tf.cast(tf.not_equal(tags, ""), tf.float32), axis=1),
            tf.where(tf.math.is_nan(tempo), tf.zeros_like(tempo), tempo),
            tf.reduce_sum(tf.where(tf.math.is_nan(vector), tf.zeros_like(vector), vector), axis=1),
        ]
        return tf.stack(columns, axis=1) * self.scale

    def embed(self, attribute_genre, attribute_tags, audio_tempo, lyric_vector):
        return {"embedding": self._embed(attribute_genre, attribute_tags, audio_tempo, lyric_vector)}

    def match(self, attribute_genre, attribute_tags, audio_tempo, lyric_vector, k, exclude):
        query = self._embed(attribute_genre, attribute_tags, audio_tempo, lyric_vector)
        ids = tf.constant(INDEX_IDS)
        own = tf.equal(exclude[:, tf.newaxis], ids[tf.newaxis, :])
        scores = tf.where(own, tf.fill(tf.shape(own), -1e9), tf.matmul(query, INDEX, transpose_b=True))
        count = tf.minimum(tf.reduce_max(k), len(INDEX_IDS) - 1)
        scores, rows = tf.math.top_k(scores, count)
        return {"song_ids": tf.gather(ids, rows), "scores": scores}

    def serving_default(self, examples):
        features = {"audio_tempo": tf.io.FixedLenFeature([1], tf.float32)}
        tempo = tf.io.parse_example(examples, features)["audio_tempo"][:, 0]
        zero = tf.zeros_like(tempo)
        return {"embedding": tf.stack([zero, zero, tempo, zero], axis=1) * self.scale}

    def dense(self, x):
        return {"y": tf.matmul(x, self.weights)}

    def gather(self, rows):
        return {"y": tf.gather(tf.constant(INDEX), rows)}

    def add(self, x, y):
        return {"z": x + y}

    def slow(self, rounds):
        """A loop that a deadline can cut short."""
        matrix = tf.ones([64, 64]) / 64
        _, result = tf.while_loop(
            lambda i, _: i < tf.reduce_max(rounds), lambda i, m: (i + 1, tf.matmul(m, matrix)), [0, matrix]
        )
        return {"y": tf.fill(tf.shape(rounds), result[0, 0])}

    def hold(self, rows):
        """Waits until `release` has been asked as often."""
        (none,) = tf.raw_ops.QueueDequeueV2(handle=_held(), component_types=[tf.int32])
        return {"y": rows + none}

    def release(self, rows):
        """Lets one `hold` answer."""
        with tf.control_dependencies([tf.raw_ops.QueueEnqueueV2(handle=_held(), components=[tf.constant(0)])]):
            return {"y": tf.identity(rows)}

    def classify(self, inputs):
        scores = tf.tile([[0.25, 0.75]], [tf.size(inputs), 1])
        return {"classes": tf.tile([["no", "yes"]], [tf.size(inputs), 1]), "scores": scores}

    def regress(self, inputs):
        return {"outputs": tf.cast(tf.strings.length(inputs), tf.float32)}


def export(folder: Path, scale: float = 1.0) -> Path:
    """Saves a SmallModel into `folder`, a version folder."""
    model = SmallModel(scale)
    strings = tf.TensorSpec([None], tf.string, name="inputs")
    match_inputs = {
        **_FIELDS,
        "k": tf.TensorSpec([None], tf.int32, name="k"),
        "exclude": tf.TensorSpec([None], tf.string, name="exclude"),
    }
    signatures = {
        "serving_default": tf.function(model.serving_default).get_concrete_function(
            examples=tf.TensorSpec([None], tf.string, name="examples")
        ),
        "embed": tf.function(model.embed).get_concrete_function(**_FIELDS),
        "match": tf.function(model.match).get_concrete_function(**match_inputs),
        "dense": tf.function(model.dense).get_concrete_function(x=tf.TensorSpec([None, 2], tf.float32, name="x")),
        "gather": tf.function(model.gather).get_concrete_function(rows=tf.TensorSpec([None], tf.int32, name="rows")),
        "add": tf.function(model.add).get_concrete_function(
            x=tf.TensorSpec([None, 2], tf.float32, name="x"), y=tf.TensorSpec([None, 2], tf.float32, name="y")
        ),
        "slow": tf.function(model.slow).get_concrete_function(rounds=tf.TensorSpec([None], tf.int32, name="rounds")),
        "hold": tf.function(model.hold).get_concrete_function(rows=tf.TensorSpec([None], tf.int32, name="rows")),
        "release": tf.function(model.release).get_concrete_function(rows=tf.TensorSpec([None], tf.int32, name="rows")),
        "classify": tf.function(model.classify).get_concrete_function(inputs=strings),
        "regress": tf.function(model.regress).get_concrete_function(inputs=strings),
    }
    tf.saved_model.save(model, str(folder), signatures=signatures)
    return folder


def publish(source: Path, base: Path, version: int) -> Path:
    """Copies a version aside and renames it into place, as a publisher must."""
    base.mkdir(parents=True, exist_ok=True)
    aside = base / f".{version}.incoming"
    shutil.copytree(source, aside)
    aside.rename(base / str(version))
    return base / str(version)


def release(server: Any, holds: int) -> None:
    """Lets so many `hold` requests of version 1 answer, from within: the server may accept no further request."""
    with server.core.versions.lease("bcl", 1) as lent:
        signature = lent.servable.signatures["release"]
        for _ in range(holds):
            feed = (signature.inputs["rows"].name, np.zeros(1, np.int32))
            lent.servable._session.run([feed], [signature.outputs["y"].name])


def embedding(songs: list[dict], scale: float = 1.0) -> np.ndarray:
    """Returns what `embed` answers, computed in numpy."""
    rows = []
    for song in songs:
        genre = song.get("attribute_genre")
        vector = song.get("lyric_vector")
        rows.append(
            [
                GENRES.index(genre) + 1 if genre in GENRES else 0,
                len([tag for tag in song.get("attribute_tags") or [] if tag]),
                song.get("audio_tempo") or 0,
                np.nansum(vector) if vector is not None else 0,
            ]
        )
    return np.array(rows, np.float32) * np.float32(scale)
