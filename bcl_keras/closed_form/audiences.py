"""The audience similarities that the closed form learns from, and the targets made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from bcl_keras.closed_form.sparse_rows import SparseRows
from bcl_keras.fields import Array


class AudienceSimilarity:
    """The audience similarities S of all training songs with the warm songs, known for some pairs.

    Among warm songs S is symmetric, with 0 on the diagonal. A pair given from one side counts for both. A pair given
    from both sides gets the mean.

    Args:
        pairs: Rows of songs, rows of similar warm songs, similarities above 0.
        num_songs: Number of warm songs, the first rows.
        num_rows: Number of training songs. Defaults to `num_songs`.
    """

    def __init__(self, pairs: tuple[Any, Any, Any], num_songs: int, num_rows: int | None = None) -> None:
        anchors, positives = (np.asarray(rows, dtype="int64") for rows in pairs[:2])
        weights = np.asarray(pairs[2], dtype="float32")
        apart = anchors != positives
        anchors, positives, weights = anchors[apart], positives[apart], weights[apart]
        mutual = anchors < num_songs
        rows = np.concatenate([anchors, positives[mutual]])
        columns = np.concatenate([positives, anchors[mutual]])
        values = np.concatenate([weights, weights[mutual]])
        key, place = np.unique(rows * num_songs + columns, return_inverse=True)
        rows, columns = np.divmod(key, num_songs)
        known = (np.bincount(place, weights=values) / np.bincount(place)).astype("float32")
        self.num_songs, self.num_rows = num_songs, num_songs if num_rows is None else num_rows
        self._forth = SparseRows(rows, columns, known, self.num_rows)
        self._back = self._forth
        if self.num_rows > num_songs:
            by_column = np.argsort(columns, kind="stable")
            self._back = SparseRows(columns[by_column], rows[by_column], known[by_column], num_songs)

    def __matmul__(self, dense: Array) -> Array:
        """Return `S dense`, `(num_rows, d)` float32, from `(num_songs, d)`."""
        return self._forth @ dense

    def transposed(self, dense: Array) -> Array:
        """Return `S^t dense`, `(num_songs, d)` float32, from `(num_rows, d)`."""
        return self._back @ dense

    def sums(self, power: float = 1.0) -> Array:
        """Return `(num_songs,)`, the sum over warm songs of each song's values raised to `power`."""
        warm = self._forth.rows < self.num_songs
        values = self._forth.values[warm].astype("float64") ** power
        return np.bincount(self._forth.rows[warm], weights=values, minlength=self.num_songs)


class AudienceTargets:
    """The targets `T = (S + share I) D^-power`, with D the lengths of the columns over warm songs.

    Popular songs have larger similarities. Columns of length one (power 1) keep predictions from favouring them;
    power 0 does not. The share of the unit matrix makes a song part of its own audience.

    Args:
        similarity: S.
        own_share: Share of the unit matrix.
        power: Power of the columns' lengths.
    """

    def __init__(self, similarity: AudienceSimilarity, own_share: float, power: float = 1.0) -> None:
        self.similarity, self.own_share = similarity, own_share
        lengths = np.sqrt(similarity.sums(2.0) + own_share**2)
        scale = np.maximum(lengths, 1e-6) ** -power
        # Targets have one size for every power, so that candidates of different settings can be compared.
        self._scale = (scale / np.sqrt(np.mean((scale * lengths) ** 2) + 1e-12)).astype("float32")[:, None]

    def __matmul__(self, dense: Array) -> Array:
        """Return `T dense`, `(num_rows, d)`."""
        scaled = self._scale * dense
        product = self.similarity @ scaled
        product[: len(scaled)] += self.own_share * scaled
        return np.asarray(product)

    def transposed(self, dense: Array) -> Array:
        """Return `T^t dense`, `(num_songs, d)`."""
        own = self.own_share * dense[: self.similarity.num_songs]
        return np.asarray(self._scale * (self.similarity.transposed(dense) + own))
