"""Tests of differences: over seeds, over songs, and corrected for the number of comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from bcl_keras.fields import Array

_CHUNK = 250


def mean_of_seeds(values: Sequence[Array]) -> float:
    """Returns the mean over seeds of the means over songs; NaN is left out."""
    return float(np.mean([np.nanmean(array) for array in values]))


def p_over_seeds(first: Sequence[Array], second: Sequence[Array]) -> float:
    """Returns the two-sided p of a paired t-test over the seeds' means; NaN for one seed or without any difference."""
    differences = np.array([np.nanmean(a) - np.nanmean(b) for a, b in zip(first, second, strict=True)])
    if len(differences) < 2 or np.ptp(differences) == 0:
        return float("nan")
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Returns p corrected for the number of comparisons, by Holm's step-down rule; NaN stays and is not counted."""
    known = sorted((p, name) for name, p in p_values.items() if not np.isnan(p))
    corrected, largest = {name: float("nan") for name in p_values}, 0.0
    for place, (p, name) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - place)))
        corrected[name] = largest
    return corrected


def permutation_test(first: Array, second: Array, songs: Array, draws: int = 20_000) -> float:
    """Returns the two-sided p of equal sums: the two rules are swapped at random, song by song.

    Args:
        first: `(n,)` counts of a rule.
        second: `(n,)` counts of another rule.
        songs: `(n,)` the song of each row; rows of one song are swapped together.
        draws: Number of random swaps.
    """
    _, index = np.unique(songs, return_inverse=True)
    difference = np.bincount(index, first - second)
    difference = difference[difference != 0]
    generator = np.random.default_rng(0)
    observed, beyond = abs(difference.sum()) - 1e-9, 0
    for start in range(0, draws, _CHUNK):
        signs = generator.integers(2, size=(min(_CHUNK, draws - start), len(difference)), dtype=np.int8) * 2 - 1
        beyond += int((np.abs(signs @ difference) >= observed).sum())
    return (1 + beyond) / (1 + draws)
