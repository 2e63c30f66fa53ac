"""Least squares from content to audiences, in numpy: what `AudienceRidge` is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from typing import Any

import numpy as np

from bcl_keras.blocks import in_blocks
from bcl_keras.directions import fading
from bcl_keras.fields import Array

_GATHERED = 16_384  # pairs gathered at once
_JITTER = 1e-4
_OVERSAMPLING = 16

Kernel = Callable[[Array], Array]


class _SparseRows:
    """A sparse matrix in coordinate form, rows ascending, that multiplies dense ones.

    Args:
        rows: `(n,)` ascending.
        columns: `(n,)`.
        values: `(n,)` float32.
        num_rows: Number of rows.
    """

    def __init__(self, rows: Array, columns: Array, values: Array, num_rows: int) -> None:
        self.rows, self.columns, self.values, self.num_rows = rows, columns, values, num_rows
        self._runs = list(self._padded_runs())

    def _padded_runs(self) -> Iterator[tuple[Array, Array, Array]]:
        """Yield rows of about the same number of values, their columns and values padded with 0 to the longest."""
        counts = np.bincount(self.rows, minlength=self.num_rows)
        starts = np.cumsum(counts) - counts
        by_count = np.argsort(counts, kind="stable")
        by_count = by_count[np.searchsorted(counts[by_count], 1) :]
        while len(by_count):
            # From the longest down, so that the first row of a run says how much is padded.
            run = by_count[max(0, len(by_count) - max(1, _GATHERED // int(counts[by_count[-1]]))) :]
            by_count = by_count[: len(by_count) - len(run)]
            place = np.arange(counts[run[-1]])
            known = place < counts[run][:, None]
            at = np.where(known, starts[run][:, None] + place, 0)
            yield run, self.columns[at], np.where(known, self.values[at], np.float32(0))[:, None, :]

    def __matmul__(self, dense: Array) -> Array:
        """Return the product, `(num_rows, d)` float32."""
        product = np.zeros((self.num_rows, dense.shape[1]), "float32")
        for rows, columns, values in self._runs:
            product[rows] = np.matmul(values, dense[columns])[:, 0]
        return product


class AudienceSimilarity:
    """The matrix S of audience similarities of all songs learnt from with the warm songs, of which pairs are known.

    Among warm songs S is symmetric, with 0 on the diagonal: a pair known from one side only counts for both, and one
    known from both by the mean.

    Args:
        pairs: Rows of songs, rows of similar warm songs, similarities above 0.
        num_songs: Number of warm songs, the first rows.
        num_rows: Number of songs learnt from. Defaults to `num_songs`.
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
        self._forth = _SparseRows(rows, columns, known, self.num_rows)
        self._back = self._forth
        if self.num_rows > num_songs:
            by_column = np.argsort(columns, kind="stable")
            self._back = _SparseRows(columns[by_column], rows[by_column], known[by_column], num_songs)

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
    """What is predicted: `T = (S + share I) D^-power` with D the lengths of the columns over warm songs.

    Songs of many listeners have larger similarities; columns of length one (power 1) keep a prediction from favouring
    them, power 0 lets it. A share of the song itself says that a song is part of its own audience.

    Args:
        similarity: S.
        own_share: Share of the unit matrix.
        power: Of the columns' lengths.
    """

    def __init__(self, similarity: AudienceSimilarity, own_share: float, power: float = 1.0) -> None:
        self.similarity, self.own_share = similarity, own_share
        lengths = np.sqrt(similarity.sums(2.0) + own_share**2)
        scale = np.maximum(lengths, 1e-6) ** -power
        # One size of targets for every power, so that candidates of different settings are alike in size.
        self._scale = (scale / np.sqrt(np.mean((scale * lengths) ** 2) + 1e-12)).astype("float32")[:, None]

    def __matmul__(self, dense: Array) -> Array:
        """Return `T dense`, `(num_rows, d)`."""
        scaled = self._scale * dense
        product = self.similarity @ scaled
        product[: len(scaled)] += self.own_share * scaled
        return product

    def transposed(self, dense: Array) -> Array:
        """Return `T^t dense`, `(num_songs, d)`."""
        return self._scale * (self.similarity.transposed(dense) + self.own_share * dense[: self.similarity.num_songs])


class Nystroem:
    """Kernel ridge by landmarks; with every song a landmark it is kernel ridge itself.

    `K ~ F F^t` with `F = K_nm L^-t` and `L L^t = K_mm`, so that a ridge on F is one on the kernel.

    Args:
        kernel: Returns the kernel of some of the songs learnt from with the landmarks, `(n, M)`.
        landmarks: `(M,)` rows of songs.
        num_rows: Number of songs learnt from.

    References:
        Williams and Seeger, NIPS 2000.
    """

    def __init__(self, kernel: Kernel, landmarks: Array, num_rows: int) -> None:
        between = np.concatenate([kernel(rows) for rows in in_blocks(landmarks)]).astype("float64")
        between.flat[:: len(between) + 1] += _JITTER * max(between.trace() / len(between), 1e-12)
        self._whitening = np.linalg.inv(np.linalg.cholesky(between)).T.astype("float32")
        del between
        features = np.empty((num_rows, len(landmarks)), "float32")
        for rows in in_blocks(np.arange(num_rows)):
            features[rows] = kernel(rows) @ self._whitening
        self._learn_from(features)

    def _learn_from(self, features: Array) -> None:
        self._features = features
        self._gram = (features.T @ features).astype("float64")
        self._ridge, self._inverse = -1.0, np.zeros((0, 0), "float32")

    def of_first(self, count: int) -> Nystroem:
        """Return the same kernel learnt from the first `count` songs alone."""
        if count == len(self._features):
            return self
        part = copy(self)
        part._learn_from(self._features[:count])
        return part

    def set_ridge(self, ridge: float) -> None:
        """Set what is added to the diagonal of the kernel."""
        if ridge != self._ridge:
            regular = self._gram.copy()
            regular.flat[:: len(regular) + 1] += ridge
            self._ridge, self._inverse = ridge, np.linalg.inv(regular).astype("float32")

    def smooth(self, targets: Array) -> Array:
        """Return the predictions for the songs learnt from, `(num_rows, d)`."""
        return self._features @ self._fitted(targets)

    def coefficients(self, targets: Array) -> Array:
        """Return `(M, d)`: a song's kernel with the landmarks times these is its prediction."""
        return self._whitening @ self._fitted(targets)

    def _fitted(self, targets: Array) -> Array:
        return self._inverse @ (self._features.T @ targets)


def prediction_basis(ridge: Nystroem, targets: AudienceTargets, start: Array, rank: int) -> tuple[Array, Array]:
    """Return the directions of the candidates in which predictions vary most.

    Subspace iteration on `H T`, with H the smoother of the ridge; the matrix itself is never made.

    Args:
        ridge: H.
        targets: T.
        start: `(num_songs, width)`, any directions (see `drawn_directions`), or those of a similar setting.
        rank: Directions wanted, at most the width.

    Returns:
        `(num_songs, rank)`, orthogonal columns of length 1, or less where a direction weighs no more than the first one
        left out (`fading`); and `(num_songs, width)`, where the next setting may start.

    References:
        Halko, Martinsson and Tropp, SIAM Review 2011.
    """
    # H is symmetric: H (T x) forth, T^t (H x) back.
    directions = np.linalg.qr(targets.transposed(ridge.smooth(ridge.smooth(targets @ start))))[0]
    # Of the triangle and not of its square, whose small values rounding in float32 would hide.
    triangle = np.asarray(np.linalg.qr(ridge.smooth(targets @ directions), mode="r"), dtype="float64")
    _, weights, turn = np.linalg.svd(triangle)
    directions = directions @ turn.T.astype("float32")
    return directions[:, :rank] * fading(weights, rank).astype("float32"), directions


def drawn_directions(num_songs: int, rank: int) -> Array:
    """Return `(num_songs, width)` normal draws to start `prediction_basis` with, a few more than `rank`."""
    width = min(num_songs, rank + _OVERSAMPLING)
    return np.random.default_rng(0).normal(size=(num_songs, width)).astype("float32")
