"""An index of many songs: as a SavedModel, in the same session in process, and searched by numpy."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

SONGS, DIMENSION, K = 100_000, 64, 10


def export_index(folder: Path, seed: int = 0, songs: int = SONGS) -> np.ndarray:
    """Save the exported model's own index of random songs, behind a signature that takes vectors; returns them."""
    # First, because it sets what tensorflow_recommenders needs before TensorFlow is imported.
    from serving.export.song_index import SongIndex

    import tensorflow as tf  # isort: skip

    vectors = np.random.default_rng(seed).normal(size=(songs, DIMENSION)).astype(np.float32)

    class Matcher(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            ids = tf.constant([f"song-{number}" for number in range(songs)])
            self.index = SongIndex().index(tf.constant(vectors), ids)

        def match(self, query: tf.Tensor, exclude: tf.Tensor) -> dict[str, tf.Tensor]:
            ids, scores = self.index.nearest_but(query, exclude, k=tf.constant(K))
            return {"song_ids": ids, "scores": scores}

    module = Matcher()
    query = tf.TensorSpec([None, DIMENSION], tf.float32, name="query")
    exclude = tf.TensorSpec([None], tf.string, name="exclude")
    match = tf.function(module.match).get_concrete_function(query=query, exclude=exclude)
    tf.saved_model.save(module, str(folder), {"match": match})
    return vectors


class Session:
    """The session that a server runs, asked directly.

    Args:
        folder: Of the SavedModel.
        queries: Rows to ask for.
    """

    def __init__(self, folder: Path, queries: np.ndarray) -> None:
        from serving.savedmodel.session import SavedModelSession

        self._session = SavedModelSession(str(folder))
        self._signature = self._session.signatures["match"]
        self._queries = queries

    def rows(self, batch: int, threads: int, seconds: float) -> int:
        """Returns how many rows it answers in a time, in batches of one size, by threads that each run batches."""
        inputs: dict[str, Any] = {"query": self._queries[:batch], "exclude": np.full(batch, b"", object)}
        feeds = [(self._signature.inputs[name].name, value) for name, value in inputs.items()]
        fetches = [self._signature.outputs[name].name for name in ("song_ids", "scores")]
        end = time.perf_counter() + seconds

        def work(_: int) -> int:
            rows = 0
            while time.perf_counter() < end:
                self._session.run(feeds, fetches)
                rows += batch
            return rows

        with ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(work, range(threads)))

    def close(self) -> None:
        """Frees the session."""
        self._session.close()


def numpy_rows(index: np.ndarray, queries: np.ndarray, batch: int, seconds: float) -> int:
    """Returns how many rows a matrix product and a partial sort answer in a time."""
    rows, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        scores = queries[:batch] @ index.T
        best = np.argpartition(-scores, K, axis=1)[:, :K]
        np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1), 1)
        rows += batch
    return rows
