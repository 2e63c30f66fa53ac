"""Intervals and tests: songs are resampled within a split, seeds compared in pairs, tables corrected by Holm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

DRAWS = 2_000
_CHUNK = 100


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


def resampled_means(values: Sequence[np.ndarray], seed: int = 0) -> np.ndarray:
    """Draws of the mean over seeds of the means over songs; songs are resampled within each seed, columns together.

    Args:
        values: One (n, c) array per seed. A song with NaN in any column is left out.
        seed: Of the resampling.

    Returns:
        (DRAWS, c). Differences of columns are those of pairs.
    """
    generator = np.random.default_rng(seed)
    drawn = np.zeros((DRAWS, values[0].shape[1]))
    for table in values:
        known = table[~np.isnan(table).any(axis=1)]
        chance = np.full(len(known), 1 / len(known))
        for start in range(0, DRAWS, _CHUNK):
            # Counts of n draws from n songs: what resampling their indices gives, without holding the indices.
            counts = generator.multinomial(len(known), chance, size=_CHUNK).astype(np.float32)
            drawn[start : start + _CHUNK] += counts @ known.astype(np.float32) / len(known)
    return drawn / len(values)


def interval(value: float, draws: np.ndarray) -> Interval:
    """The interval of a figure from its draws."""
    low, high = np.quantile(draws, (0.025, 0.975))
    return Interval(value, float(low), float(high))


def mean_of_seeds(values: Sequence[np.ndarray]) -> float:
    """Mean over seeds of the means over songs; NaN is left out."""
    return float(np.mean([np.nanmean(array) for array in values]))


def p_over_seeds(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> float:
    """Two-sided p of a paired t-test over the seeds' means; NaN for one seed or without any difference."""
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
