"""How many matches each song of a request gets: as many as its `k` asks for, none where the model knows no field of it.

The rows of a reply have one length, that of the largest `k`. Places without a song have the id "" or -1, and the lowest
score there is, so that a row is in order and is plain JSON.
"""

from __future__ import annotations

import tensorflow as tf

from serving.savedmodel.graph_checks import within

#: The largest `k` of `match`, so that a small request cannot ask for the whole catalogue.
MAX_MATCHES = 1000
#: The score of a place without a song.
NO_SCORE = tf.float32.min


def wanted(k: tf.Tensor) -> tf.Tensor:
    """Returns how many matches each song wants; a number out of range ends the run with INVALID_ARGUMENT."""
    return within(k, "k", 1, MAX_MATCHES)


def places(k: tf.Tensor, songs: tf.Tensor) -> tf.Tensor:
    """Returns how many places a row has: the largest `k`, or all songs but one where the index has fewer.

    Args:
        k: How many matches each song wants, `(n,)`.
        songs: The size of the index. One song of it may be excluded.
    """
    return tf.minimum(tf.maximum(tf.reduce_max(k), 1), songs - 1)


def filled_places(k: tf.Tensor, known_fields: tf.Tensor | None, count: tf.Tensor) -> tf.Tensor:
    """Returns which places have a song, `(n, count)` boolean.

    Args:
        k: How many matches each song wants, `(n,)`.
        known_fields: How many fields of each song are known, `(n,)`. A song with 0 gets no match. None = all do.
        count: Places of a row.
    """
    filled = tf.range(count)[tf.newaxis, :] < tf.reshape(k, [-1, 1])
    return filled if known_fields is None else tf.logical_and(filled, known_fields[:, tf.newaxis] > 0)


def without_id(ids: tf.Tensor) -> tf.Tensor:
    """Returns the id of a place without a song, in the type of the ids."""
    return tf.constant("" if ids.dtype == tf.string else -1, ids.dtype)


def blanked(filled: tf.Tensor, ids: tf.Tensor, scores: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns matches with the places that are not filled made blank, as outputs of a signature."""
    return {"song_ids": tf.where(filled, ids, without_id(ids)), "scores": tf.where(filled, scores, NO_SCORE)}
