"""95 % intervals by the bootstrap: songs are drawn with replacement, and the figure is computed of every draw."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bcl_keras.fields import Array

DRAWS = 2_000
_CHUNK = 100
_CLUSTER_CHUNK = 250
_LEAST_SUM = 1e-12


class Interval(NamedTuple):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


def interval(value: float, draws: Array) -> Interval:
    """Return a figure with the 95 % interval of its draws."""
    low, high = np.quantile(draws, (0.025, 0.975))
    return Interval(float(value), float(low), float(high))


def resampled_rows(count: int, draws: int, seed: int) -> Array:
    """Return `(draws, count)` row numbers, every draw with replacement."""
    return np.random.default_rng(seed).integers(count, size=(draws, count))


class ClusterBootstrap:
    """Resamples clusters of rows: rows of one cluster, such as a song held out by several seeds, are drawn together.

    Args:
        clusters: `(n,)` the cluster of each row.
        draws: Number of draws.
        seed: Of the resampling.
    """

    def __init__(self, clusters: Array, draws: int = DRAWS, seed: int = 0) -> None:
        distinct, self._index = np.unique(clusters, return_inverse=True)
        generator = np.random.default_rng(seed)
        size = len(distinct)
        self._weights = np.empty((draws, size), np.float32)
        for start in range(0, draws, _CLUSTER_CHUNK):
            rows = min(_CLUSTER_CHUNK, draws - start)
            drawn = generator.integers(size, size=(rows, size)) + size * np.arange(rows)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)
            self._weights[start : start + rows] = counts

    def ratio(self, top: Array, bottom: Array) -> Interval:
        """Return `sum(top) / sum(bottom)` over rows with its interval."""
        drawn = self._sums(top) / np.maximum(self._sums(bottom), _LEAST_SUM)
        return interval(top.sum() / max(bottom.sum(), _LEAST_SUM), drawn)

    def mean(self, values: Array) -> Interval:
        """Return the mean over rows with its interval."""
        return self.ratio(values, np.ones(len(values)))

    def _sums(self, values: Array) -> Array:
        return np.asarray(self._weights @ np.bincount(self._index, values, minlength=self._weights.shape[1]))
