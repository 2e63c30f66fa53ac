"""The index by blocks of songs: the same songs, scores and order as all scores at once."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from serving.export import song_index
from serving.export.song_index import SongIndex

DIMENSION = 4


def index_of(candidates: np.ndarray) -> SongIndex:
    ids = tf.constant([f"s{number}" for number in range(len(candidates))])
    return SongIndex().index(tf.constant(candidates), ids)


def best(queries: np.ndarray, candidates: np.ndarray, k: int) -> np.ndarray:
    """Positions by falling score; of equal scores the first."""
    return np.argsort(-(queries @ candidates.T), axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("songs", [7, 8, 9, 40, 41])
@pytest.mark.parametrize("k", [1, 7])
def test_blocks_find_what_one_sort_finds_with_ties(monkeypatch: pytest.MonkeyPatch, songs: int, k: int) -> None:
    monkeypatch.setattr(song_index, "BLOCK_SONGS", 8)
    rng = np.random.default_rng(songs)
    # Small whole numbers: many songs have the same score, and every sum is exact.
    candidates = rng.integers(-1, 2, (songs, DIMENSION)).astype(np.float32)
    queries = rng.integers(-1, 2, (5, DIMENSION)).astype(np.float32)
    expected = best(queries, candidates, k)
    ids, scores = index_of(candidates).nearest(tf.constant(queries), tf.constant(k))
    np.testing.assert_array_equal(ids.numpy().astype(str), [[f"s{row}" for row in rows] for rows in expected])
    np.testing.assert_array_equal(scores, np.take_along_axis(queries @ candidates.T, expected, axis=1))
    _, _, vectors = index_of(candidates).nearest_vectors(tf.constant(queries), tf.constant(k))
    np.testing.assert_array_equal(vectors, candidates[expected])


def test_more_songs_than_a_block_may_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(song_index, "BLOCK_SONGS", 3)
    candidates = np.arange(10 * DIMENSION, dtype=np.float32).reshape(10, DIMENSION)
    ids, _ = index_of(candidates).nearest(tf.ones([1, DIMENSION]), tf.constant(9))
    assert ids.numpy().astype(str).tolist() == [[f"s{number}" for number in range(9, 0, -1)]]


def test_no_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(song_index, "BLOCK_SONGS", 3)
    candidates = np.ones((10, DIMENSION), np.float32)
    ids, scores = index_of(candidates).nearest(tf.zeros([0, DIMENSION]), tf.constant(2))
    assert ids.shape == scores.shape == (0, 2)


def test_the_excluded_song_is_left_out_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(song_index, "BLOCK_SONGS", 4)
    rng = np.random.default_rng(3)
    candidates = rng.normal(size=(30, DIMENSION)).astype(np.float32)
    queries = rng.normal(size=(3, DIMENSION)).astype(np.float32)
    order = best(queries, candidates, 6)
    exclude = tf.constant([f"s{row}" for row in order[:, 2]])
    kept = np.delete(order, 2, axis=1)
    ids, _ = index_of(candidates).nearest_but(tf.constant(queries), exclude, tf.constant(5))
    np.testing.assert_array_equal(ids.numpy().astype(str), [[f"s{row}" for row in rows] for rows in kept])
