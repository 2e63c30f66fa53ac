"""How good scores are, song by song: recall, NDCG and MRR; ties are broken by position."""

from __future__ import annotations

import numpy as np
from scipy import sparse

CUTS = (20, 50, 100)
METRICS = (*(f"recall@{k}" for k in CUTS), "ndcg@50", "mrr")
_BLOCK = 256
_DISCOUNT = 1 / np.log2(np.arange(2, 52))


def as_truth(places: np.ndarray, candidates: int, size: int) -> sparse.csr_matrix:
    """Returns (n, candidates) bool from (n, >= size) places, best first, -1 for none."""
    row, column = np.nonzero(places[:, :size] >= 0)
    marks = np.ones(len(row), bool)
    return sparse.csr_matrix((marks, (row, places[row, column])), shape=(len(places), candidates))


def judge(scores: np.ndarray, truth: sparse.csr_matrix) -> dict[str, np.ndarray]:
    """Returns each metric for each row; NaN for a row without truth, which is left out of means and counted.

    Args:
        scores: (n, candidates), larger is better.
        truth: (n, candidates) bool.
    """
    found: dict[str, list[np.ndarray]] = {metric: [] for metric in METRICS}
    for start in range(0, len(scores), _BLOCK):
        rows = slice(start, start + _BLOCK)
        for metric, values in _judge_block(scores[rows], truth[rows].toarray()).items():
            found[metric].append(values)
    return {metric: np.concatenate(values) for metric, values in found.items()}


def _judge_block(scores: np.ndarray, right: np.ndarray) -> dict[str, np.ndarray]:
    if not np.isfinite(scores).all():
        raise ValueError(f"scores: expected finite numbers. Received: {np.sum(~np.isfinite(scores))} that are not")
    count = right.sum(axis=1).astype(float)
    order = np.argsort(-scores, axis=1, kind="stable")
    hits = np.take_along_axis(right, order, axis=1)
    known = np.where(count > 0, count, np.nan)
    values = {f"recall@{k}": hits[:, :k].sum(axis=1) / known for k in CUTS}
    depth = min(50, hits.shape[1])
    ideal = np.cumsum(_DISCOUNT)[np.clip(count.astype(int), 1, depth) - 1]
    values["ndcg@50"] = hits[:, :depth] @ _DISCOUNT[:depth] / np.where(count > 0, ideal, np.nan)
    values["mrr"] = np.where(count > 0, 1 / (1 + hits.argmax(axis=1)), np.nan)
    return values
