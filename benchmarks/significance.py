"""Tests and intervals of differences: over splits, over songs, and corrected for the number of comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from bcl_keras.fields import Array

DRAWS = 2_000
_CHUNK = 250


def mean_of_splits(values: Sequence[Array]) -> float:
    """Returns the mean over splits of the means over songs; NaN is left out."""
    return float(np.mean([np.nanmean(array) for array in values]))


def p_over_splits(first: Sequence[Array], second: Sequence[Array], test_per_warm: float) -> float:
    """Returns the two-sided p of the corrected resampled t-test over the splits' paired means.

    Splits of one pool share most of their warm songs, so their means are not independent. The variance of the mean over
    J splits is `(1 / J + test_per_warm)` times that of a split, in place of `1 / J`.

    Args:
        first: Values of each song, an array per split; NaN is left out.
        second: The same of another row.
        test_per_warm: Number of test songs of a split over that of the songs learnt from.

    Returns:
        p; NaN for one split or without any difference.

    References:
        Nadeau and Bengio, Inference for the generalization error, Machine Learning 52 (2003), section 3.
    """
    differences = np.array([np.nanmean(a) - np.nanmean(b) for a, b in zip(first, second, strict=True)])
    splits = len(differences)
    if splits < 2 or np.ptp(differences) == 0:
        return float("nan")
    variance = (1 / splits + test_per_warm) * differences.var(ddof=1)
    return float(2 * stats.t.sf(abs(differences.mean()) / np.sqrt(variance), splits - 1))


class SongDraws:
    """Draws songs with replacement, once for all splits: a song that several splits judge is drawn with all its values.

    Args:
        songs: Names of the songs (or listeners) that each split judges, `(n,)` per split.
        draws: Number of draws.
        seed: Of the drawing.
    """

    def __init__(self, songs: Sequence[Array], draws: int = DRAWS, seed: int = 0) -> None:
        distinct, place = np.unique(np.concatenate(songs), return_inverse=True)
        self._places = np.split(place, np.cumsum([len(of_split) for of_split in songs])[:-1])
        chance = np.full(len(distinct), 1 / max(1, len(distinct)))
        generator = np.random.default_rng(seed)
        # Counts of n draws from n songs: what drawing their numbers gives, without holding the numbers.
        self._times = generator.multinomial(len(distinct), chance, size=draws).astype(np.uint8)

    def means(self, tables: Sequence[Array]) -> Array:
        """Returns `(draws, c)`: of each draw, the mean over splits of the means over songs.

        Columns are drawn together, so differences of columns are differences of pairs.

        Args:
            tables: `(n, c)` per split, in the order of its songs. A song with NaN in any column is left out.
        """
        total = 0.0
        for table, places in zip(tables, self._places, strict=True):
            known = ~np.isnan(table).any(axis=1)
            times = self._times[:, places[known]].astype(np.float32)
            # No song of the split is drawn only where it has very few; then its mean is 0.
            total = total + times @ table[known].astype(np.float32) / np.maximum(times.sum(axis=1, keepdims=True), 1)
        return np.asarray(total / len(tables))


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
