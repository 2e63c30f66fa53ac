"""Intervals and tests for paired counts of songs.

A song that is held out by several seeds is one observation: seeds share songs, so songs, not rows, are resampled.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_CHUNK = 250


class Estimate(NamedTuple):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


def resamples(songs: np.ndarray, draws: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bootstrap weights of songs.

    Returns:
        (index of the song behind each row (n,), number of times each song is drawn (draws, songs)).
    """
    distinct, index = np.unique(songs, return_inverse=True)
    generator = np.random.default_rng(seed)
    size = len(distinct)
    weights = np.empty((draws, size), np.float32)
    for start in range(0, draws, _CHUNK):
        rows = min(_CHUNK, draws - start)
        drawn = generator.integers(size, size=(rows, size)) + size * np.arange(rows)[:, None]
        weights[start : start + rows] = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)
    return index, weights


def ratio(top: np.ndarray, bottom: np.ndarray, index: np.ndarray, weights: np.ndarray) -> Estimate:
    """Interval of sum(top) / sum(bottom) over rows, by resampling songs."""
    tops = weights @ np.bincount(index, top, minlength=weights.shape[1])
    bottoms = weights @ np.bincount(index, bottom, minlength=weights.shape[1])
    drawn = tops / np.maximum(bottoms, 1e-12)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Estimate(float(top.sum() / max(bottom.sum(), 1e-12)), float(low), float(high))


def mean(values: np.ndarray, index: np.ndarray, weights: np.ndarray) -> Estimate:
    """Interval of the mean over rows."""
    return ratio(values, np.ones(len(values)), index, weights)


def permutation_test(first: np.ndarray, second: np.ndarray, songs: np.ndarray, draws: int = 20_000) -> float:
    """Two-sided p of `first` and `second` having the same sum, by swapping the two rules at random song by song."""
    _, index = np.unique(songs, return_inverse=True)
    difference = np.bincount(index, first - second)
    difference = difference[difference != 0]
    generator = np.random.default_rng(0)
    observed, beyond = abs(difference.sum()) - 1e-9, 0
    for start in range(0, draws, _CHUNK):
        signs = generator.integers(2, size=(min(_CHUNK, draws - start), len(difference)), dtype=np.int8) * 2 - 1
        beyond += int((np.abs(signs @ difference) >= observed).sum())
    return (1 + beyond) / (1 + draws)
