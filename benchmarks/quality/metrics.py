"""The metrics of the study, for every song or listener that a row ranks candidates for."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from bcl_keras.evaluation.ranking import Rankings, ranking_keys
from bcl_keras.fields import Array

CUTS = (20, 50, 100)
NDCG_CUTS = (50, 100)
METRICS = (*(f"recall@{k}" for k in CUTS), *(f"ndcg@{k}" for k in NDCG_CUTS), "mrr")
MAIN, MAIN_OF_LISTENERS = "recall@50", "recall@100"
#: Of listeners: how many of the first 100 did play, which is what a campaign of 100 listeners a song recovers.
RECOVERED = "recovered@100"
#: Of similar songs, the truth by degrees: mean audience cosine of the first 50, and NDCG whose gain is that cosine.
EXPECTED_COSINE, GRADED = "cosine@50", "graded ndcg@50"
_GRADED_CUT = 50
_POSITION = np.uint64(0xFFFFFFFF)
_BLOCK = 256


def as_truth(places: Array, candidates: int, size: int) -> sparse.csr_matrix:
    """Returns `(n, candidates)` bool from `(n, >= size)` places, best first, -1 for none."""
    row, column = np.nonzero(places[:, :size] >= 0)
    marks = np.ones(len(row), bool)
    return sparse.csr_matrix((marks, (row, places[row, column])), shape=(len(places), candidates))


def metrics_of(scores: Array, truth: sparse.csr_matrix) -> dict[str, Array]:
    """Returns each of `METRICS` for each row; NaN for a row without truth, which means ignore.

    Args:
        scores: `(n, candidates)`, larger is better; compared in float32.
        truth: `(n, candidates)` bool.
    """
    found: dict[str, list[Array]] = {metric: [] for metric in METRICS}
    for start in range(0, max(1, len(scores)), _BLOCK):
        rows = slice(start, start + _BLOCK)
        rankings = Rankings.of(scores[rows], truth[rows].toarray(), max(CUTS))
        for k in CUTS:
            found[f"recall@{k}"].append(rankings.recall(k))
        for k in NDCG_CUTS:
            found[f"ndcg@{k}"].append(rankings.ndcg(k))
        found["mrr"].append(rankings.reciprocal_rank())
    return {metric: np.concatenate(values) for metric, values in found.items()}


def listener_metrics_of(scores: Array, truth: sparse.csr_matrix) -> dict[str, Array]:
    """Returns `metrics_of` for listeners of songs, and `RECOVERED`."""
    found = metrics_of(scores, truth)
    return {**found, RECOVERED: np.rint(found[MAIN_OF_LISTENERS] * np.diff(truth.indptr))}


def graded_of(scores: Array, gains: Array) -> dict[str, Array]:
    """Returns `EXPECTED_COSINE` and `GRADED` for each row; NaN for a row without any gain.

    Args:
        scores: `(n, candidates)`, larger is better; compared in float32, equal ones are ranked by position.
        gains: `(n, candidates)`, at least 0: the audience cosine of each candidate.
    """
    cut = min(_GRADED_CUT, scores.shape[1])
    keys = ranking_keys(scores)
    first = (np.sort(np.partition(keys, cut - 1, axis=1)[:, :cut], axis=1) & _POSITION).astype(np.int64)
    got = np.take_along_axis(gains, first, axis=1)
    best = -np.sort(np.partition(-gains, cut - 1, axis=1)[:, :cut], axis=1)
    discount = 1 / np.log2(np.arange(2, cut + 2))
    ideal = best @ discount
    known = ideal > 0
    return {
        EXPECTED_COSINE: np.where(known, got.mean(axis=1), np.nan),
        GRADED: np.where(known, got @ discount / np.where(known, ideal, 1), np.nan),
    }
