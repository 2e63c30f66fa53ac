"""The metrics of the study, for every song or listener that a row ranks candidates for."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from bcl_keras.evaluation.ranking import Rankings
from bcl_keras.fields import Array

CUTS = (20, 50, 100)
METRICS = (*(f"recall@{k}" for k in CUTS), "ndcg@50", "mrr")
MAIN = "recall@50"
_BLOCK = 256


def as_truth(places: Array, candidates: int, size: int) -> sparse.csr_matrix:
    """Returns `(n, candidates)` bool from `(n, >= size)` places, best first, -1 for none."""
    row, column = np.nonzero(places[:, :size] >= 0)
    marks = np.ones(len(row), bool)
    return sparse.csr_matrix((marks, (row, places[row, column])), shape=(len(places), candidates))


def metrics_of(scores: Array, truth: sparse.csr_matrix) -> dict[str, Array]:
    """Returns each metric for each row; NaN for a row without truth, which means ignore.

    Args:
        scores: `(n, candidates)`, larger is better; compared in float32.
        truth: `(n, candidates)` bool.
    """
    found: dict[str, list[Array]] = {metric: [] for metric in METRICS}
    for start in range(0, len(scores), _BLOCK):
        rows = slice(start, start + _BLOCK)
        rankings = Rankings.of(scores[rows], truth[rows].toarray(), max(CUTS))
        for k in CUTS:
            found[f"recall@{k}"].append(rankings.recall(k))
        found["ndcg@50"].append(rankings.ndcg(50))
        found["mrr"].append(rankings.reciprocal_rank())
    return {metric: np.concatenate(values) for metric, values in found.items()}
