"""The long tail as the paper means it: songs that supervision seldom shows."""

from __future__ import annotations

import numpy as np

from benchmarks.quality.problem import TRUTH_SIZES, Problem
from benchmarks.quality.towers import similar_pairs
from tfx_pipeline.contract.splits import TEST

FEW_POSITIVES, MANY_POSITIVES = "few positives (third)", "many positives (two thirds)"


def by_supervision(problem: Problem) -> dict[str, np.ndarray]:
    """Returns two slices of the test songs, by how often their similar songs are a positive in training.

    A test song counts by the median of its 20 similar songs; without any it counts as 0. Listeners of a song are
    another matter: a song of few listeners may be similar to many.
    """
    songs = problem.cold(TEST)
    shown = np.bincount(similar_pairs(problem)[1], minlength=len(problem.warm))
    truth = problem.similar_truth(songs)[:, : TRUTH_SIZES[0]]
    counts = np.where(truth >= 0, shown[truth], np.nan)
    typical = np.nanmedian(np.where((truth >= 0).any(axis=1)[:, None], counts, 0), axis=1)
    few = typical <= np.quantile(typical, 1 / 3)
    return {FEW_POSITIVES: few, MANY_POSITIVES: ~few}
