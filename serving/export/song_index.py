"""The index of songs inside the exported model."""

from __future__ import annotations

import os

# tensorflow_recommenders cannot be imported without it. Our own layers are Keras 3 either way.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import tensorflow as tf
import tensorflow_recommenders as tfrs

#: Songs whose scores are in memory at the same time: 64 MiB for 1,024 queries.
BLOCK_SONGS = 16384


class SongIndex(tfrs.layers.factorized_top_k.BruteForce):
    """Exact search whose graph holds for any number of songs.

    `BruteForce` fixes the number of songs in the graph. Here it is open, so that `serving.refresh.saved_version` can
    put other songs into a saved model: it replaces the values of two variables.

    Call `index` once before anything else.
    """

    def index(self, candidates: tf.Tensor, identifiers: tf.Tensor) -> SongIndex:
        """Sets the songs of the index.

        Args:
            candidates: Embeddings, `(n, d)` float32.
            identifiers: The n ids, strings or int64.

        Returns:
            Itself.
        """
        # BruteForce's own names: its `call` reads them, and they are part of the keys in a checkpoint.
        self._candidates = tf.Variable(candidates, trainable=False, shape=[None, candidates.shape[1]])
        self._identifiers = tf.Variable(identifiers, trainable=False, shape=[None])
        return self

    @property
    def id_dtype(self) -> tf.DType:
        """Type of the ids."""
        return self._identifiers.dtype

    def size(self) -> tf.Tensor:
        """Returns the number of songs, known only when the graph runs."""
        return tf.shape(self._identifiers)[0]

    def call(self, queries: tf.Tensor, k: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns `(scores, ids)`, each `(n, k)`, best first: what `BruteForce` returns, by blocks of songs."""
        scores, rows = self._best(queries, self._k if k is None else k)
        return scores, tf.gather(self._identifiers, rows)

    def _best(self, queries: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns scores and positions of the best songs, `(n, k)`.

        The scores of all songs are never there at once, only those of a block. Of equal scores the first song wins, as
        in `tf.math.top_k` of all: what was found before stands in front of what a block adds.
        """
        candidates = tf.convert_to_tensor(self._candidates)
        count = tf.shape(candidates)[0]
        # The first block has k songs to choose from.
        block = tf.maximum(BLOCK_SONGS, k)

        def best_of(start: tf.Tensor, end: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            scores = tf.linalg.matmul(queries, candidates[start:end], transpose_b=True)
            best = tf.math.top_k(scores, tf.minimum(k, end - start))
            return best.values, best.indices + start

        def further(start: tf.Tensor, scores: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            end = tf.minimum(start + block, count)
            new_scores, new_rows = best_of(start, end)
            scores, chosen = tf.math.top_k(tf.concat([scores, new_scores], axis=1), k)
            return end, scores, tf.gather(tf.concat([rows, new_rows], axis=1), chosen, batch_dims=1)

        end = tf.minimum(block, count)
        unknown = tf.TensorShape([None, None])
        _, scores, rows = tf.while_loop(
            lambda start, *_: start < count,
            further,
            (end, *best_of(tf.constant(0), end)),
            shape_invariants=(end.shape, unknown, unknown),
            parallel_iterations=1,
        )
        return scores, rows

    def nearest(self, queries: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns `(ids, scores)`, each `(n, k)`, best first. `k` may not exceed the number of songs."""
        scores, ids = self(queries, k=k)
        return ids, scores

    def nearest_vectors(self, queries: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns as `nearest`, and the embeddings of these songs, `(n, k, d)`."""
        scores, rows = self._best(queries, k)
        return tf.gather(self._identifiers, rows), scores, tf.gather(self._candidates, rows)

    def nearest_vectors_but(
        self, queries: tf.Tensor, exclude: tf.Tensor, k: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns as `nearest_but`, and the embeddings of these songs, `(n, k, d)`."""
        found = self.nearest_vectors(queries, k + 1)
        is_out = tf.cast(tf.equal(found[0], exclude[:, tf.newaxis]), tf.int32)
        kept = tf.argsort(is_out, axis=1, stable=True)[:, :k]
        ids, scores, vectors = (tf.gather(values, kept, batch_dims=1) for values in found)
        return ids, scores, vectors

    def nearest_but(self, queries: tf.Tensor, exclude: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns `(ids, scores)` without the song `exclude` `(n,)` of each row. `k` must be below the index's size."""
        scores, ids = self.query_with_exclusions(queries, exclude[:, tf.newaxis], k=k)
        return ids, scores
