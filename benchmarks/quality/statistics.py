"""Intervals and tests: songs are resampled within a split, seeds compared in pairs, tables corrected by Holm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

DRAWS = 2_000


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


def mean_of_seeds(values: Sequence[np.ndarray], seed: int = 0) -> Interval:
    """Mean over seeds of the means over songs (or of paired differences), songs resampled within each seed.

    Args:
        values: One array per seed; NaN where a song has no truth.
        seed: Of the resampling.
    """
    generator = np.random.default_rng(seed)
    known = [array[~np.isnan(array)] for array in values]
    drawn = np.zeros(DRAWS)
    for array in known:
        # Counts of n draws from n songs: what resampling their indices gives, without holding the indices.
        for start in range(0, DRAWS, 100):
            counts = generator.multinomial(len(array), np.full(len(array), 1 / len(array)), size=100)
            drawn[start : start + 100] += counts @ array / len(array)
    low, high = np.quantile(drawn / len(known), (0.025, 0.975))
    return Interval(float(np.mean([array.mean() for array in known])), float(low), float(high))


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
