"""Reasons for matches, and evidence that they are good: outputs of models that can give them.

A model can explain a score if it has `part_names` and `query_parts(features)`. The latter gives the embedding of a
query as a sum of parts. The inner product of a part with a match is its share of the score, and the shares add up to
the score. A model has evidence for its matches if it has `evidence_names` and `evidence(features)`, numbers by song.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

#: float32 `(n, k, parts)`: what each part gives to the score of each match.
SHARES = "shares"
#: string `(n, parts)`: the names of the parts, the same for each song.
SHARE_NAMES = "share_names"
#: float32 `(n, numbers)`: evidence for the matches of a song.
EVIDENCE = "evidence"
#: string `(n, numbers)`: the names of these numbers, the same for each song.
EVIDENCE_NAMES = "evidence_names"

Tensors = dict[str, tf.Tensor]


def can_explain(model: Any) -> bool:
    """Returns whether a model can explain a score."""
    return hasattr(model, "query_parts")


def shares(model: Any, inputs: Tensors, matches: tf.Tensor) -> Tensors:
    """Returns the shares of the scores and their names; nothing if the model has none.

    Args:
        model: The model.
        inputs: Its features of `n` songs.
        matches: `(n, k, d)` embeddings of the matches.
    """
    if not can_explain(model):
        return {}
    names = model.part_names
    of_scores = tf.linalg.matmul(matches, model.query_parts(inputs), transpose_b=True)
    return {
        SHARES: tf.ensure_shape(of_scores, [None, None, len(names)]),
        SHARE_NAMES: _for_each(names, matches),
    }


def evidence(model: Any, inputs: Tensors, songs: tf.Tensor) -> Tensors:
    """Returns the evidence for the matches of songs, with names; nothing if the model has none.

    Args:
        model: The model.
        inputs: Its features of `n` songs.
        songs: A tensor of `n` rows.
    """
    if not hasattr(model, "evidence"):
        return {}
    names = model.evidence_names
    return {
        EVIDENCE: tf.ensure_shape(model.evidence(inputs), [None, len(names)]),
        EVIDENCE_NAMES: _for_each(names, songs),
    }


def _for_each(names: Sequence[str], songs: tf.Tensor) -> tf.Tensor:
    """Returns the names once for each song: a batching server joins outputs row by row."""
    return tf.ensure_shape(tf.tile(tf.constant([list(names)]), [tf.shape(songs)[0], 1]), [None, len(names)])
