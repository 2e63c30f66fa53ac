"""Vectors of any length in a served model: signatures, client, REST, warm-up, and added songs."""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from serving.client import Client
from serving.export.served_model import RawField, ServedModel, export
from serving.server import EmbeddedServer
from tests.vector_lengths import LENGTHS
from tfx_pipeline import refresh

FIELDS = tuple(RawField(f"audio_v{length}", "vector", length) for length in LENGTHS)
WIDTH = 5


class Transform(tf.Module):
    """Fills what is missing with 0."""

    def __call__(self, sparse: dict[str, tf.SparseTensor]) -> dict[str, Any]:
        return {field.name: self._dense(sparse[field.name], field.length) for field in FIELDS}

    def _dense(self, sparse: tf.SparseTensor, length: int) -> tf.Tensor:
        shape = tf.stack([sparse.dense_shape[0], length])
        dense = tf.sparse.to_dense(tf.SparseTensor(sparse.indices, sparse.values, shape))
        return tf.ensure_shape(dense, [None, length])


class Tower(keras.layers.Layer):
    """A linear map of all vectors, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        normal = keras.initializers.RandomNormal(seed=1)
        self.kernel = self.add_weight(shape=(sum(LENGTHS), WIDTH), initializer=normal)

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        joined = keras.ops.concatenate([inputs[field.name] for field in FIELDS], axis=1)
        return joined @ self.kernel


def catalogue(count: int, seed: int, prefix: str) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    songs = []
    for place in range(count):
        vectors = {field.name: rng.normal(size=field.length).astype("float32").tolist() for field in FIELDS}
        songs.append({"song_id": f"{prefix}{place}", **vectors})
    songs[0][FIELDS[3].name] = None
    return songs


SONGS, NEW = catalogue(12, 0, "s"), catalogue(4, 1, "new-")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tower]:
    base, tower = tmp_path_factory.mktemp("served"), Tower()
    ids = [song["song_id"] for song in SONGS]
    index = expected(tower, SONGS)
    model = ServedModel(
        fields=FIELDS, transform=Transform(), model=tower, warm_ids=ids, index_ids=ids, index_embeddings=index
    )
    export(model, str(base / "1"))
    return base, tower


def expected(tower: Tower, songs: list[dict[str, Any]]) -> np.ndarray:
    rows = [
        np.concatenate([np.zeros(f.length) if song[f.name] is None else song[f.name] for f in FIELDS]) for song in songs
    ]
    return (np.array(rows) @ keras.ops.convert_to_numpy(tower.kernel)).astype("float32")


def test_client_rest_and_refresh_take_every_number(served: tuple[Path, Tower], tmp_path: Path, capsys: Any) -> None:
    base, tower = served
    schema = pa.schema([("song_id", pa.string()), *((field.name, pa.list_(pa.float32())) for field in FIELDS)])
    pq.write_table(pa.Table.from_pylist(NEW, schema), tmp_path / "new.parquet")
    assert refresh.main([str(base), "--songs", str(tmp_path / "new.parquet")]) == 0
    assert "added 4, dropped 0, kept 12" in capsys.readouterr().out
    with EmbeddedServer(port=0, rest_api_port=-1, model_name="bcl", model_base_path=str(base)) as server:
        with Client(server.target) as client:
            np.testing.assert_allclose(client.embed(NEW), expected(tower, NEW), rtol=1e-4, atol=1e-4)
            assert client.match(NEW, k=16, exclude=[None] * 4)[0].shape == (4, 15)  # new songs are found as well
            for field in FIELDS:
                with pytest.raises(ValueError, match=f"{field.name}.*{field.length}"):
                    client.embed([{**NEW[1], field.name: [0.5] * (field.length + 1)}])
        rows = [{f.name: song[f.name] or [float("nan")] * f.length for f in FIELDS} for song in NEW]
        body = json.dumps({"signature_name": "embed", "instances": rows}).encode()
        url = f"http://localhost:{server.rest_port}/v1/models/bcl:predict"
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=60) as reply:
            found = [row["embedding"] for row in json.load(reply)["predictions"]]
    np.testing.assert_allclose(found, expected(tower, NEW), rtol=1e-4, atol=1e-4)


def test_songs_of_equal_embeddings_come_in_the_order_of_the_index(served: tuple[Path, Tower]) -> None:
    from serving.export.song_index import SongIndex

    rng = np.random.default_rng(3)
    for width in (*LENGTHS, 208):
        once = rng.normal(size=(40, width)).astype("float32")
        row_of = rng.integers(0, 40, 997)
        index = SongIndex().index(tf.constant(once[row_of]), tf.range(997, dtype=tf.int64))
        for queries in (1, 2, 3, 8, 33):
            wanted = rng.normal(size=(queries, width)).astype("float32")
            ids, _ = index.nearest(tf.constant(wanted), k=tf.constant(120))
            for row in ids.numpy():
                kinds = row_of[row]
                assert all((np.diff(row[kinds == kind]) > 0).all() for kind in set(kinds.tolist()))
