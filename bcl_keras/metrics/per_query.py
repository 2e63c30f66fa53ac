"""Retrieval metrics of each query, from the ranks of its positives."""

from __future__ import annotations

from typing import Any

from keras import ops

Tensor = Any


def recall_at_k(ranks: Tensor, k: int) -> Tensor:
    """Return the share of a query's positives among its k best candidates, `(n,)`; NaN without positives.

    Args:
        ranks: `(n, P)`, from 0, -1 where padded.
        k: Length of the list, at least 1.
    """
    check_k(k)
    known, hits = ranks >= 0, (ranks >= 0) & (ranks < k)
    return _or_nan(_count(hits), _count(known))


def ndcg_at_k(ranks: Tensor, k: int) -> Tensor:
    """Return the normalised discounted gain of a query's k best candidates, `(n,)`; NaN without positives.

    A positive at rank r gains `1 / log2(r + 2)`; the ideal list starts with as many positives as there are.

    Args:
        ranks: `(n, P)`, from 0, -1 where padded.
        k: Length of the list, at least 1.
    """
    check_k(k)
    gains = _discount(ranks) * ops.cast((ranks >= 0) & (ranks < k), "float32")
    positions = ops.arange(ranks.shape[1], dtype="int32")[None, :]
    ideal = (positions < ops.cast(_count(ranks >= 0), "int32")[:, None]) & (positions < k)
    ideal_gain = ops.sum(_discount(positions) * ops.cast(ideal, "float32"), axis=1)
    return _or_nan(ops.sum(gains, axis=1), ideal_gain)


def reciprocal_rank(ranks: Tensor) -> Tensor:
    """Return one over the place, from 1, of a query's best positive, `(n,)`; NaN without positives.

    Args:
        ranks: `(n, P)`, from 0, -1 where padded.
    """
    known = ranks >= 0
    best = ops.max(
        ops.where(known, 1.0 / (ops.cast(ranks, "float32") + 1.0 + ops.cast(ranks < 0, "float32")), 0.0), axis=1
    )
    return _or_nan(best, ops.cast(ops.any(known, axis=1), "float32"))


def check_k(k: int) -> None:
    """Raise if k is below 1."""
    if k < 1:
        raise ValueError(f"Argument `k` must be at least 1. Received: {k}")


def _count(flags: Tensor) -> Tensor:
    return ops.sum(ops.cast(flags, "float32"), axis=1)


def _discount(ranks: Tensor) -> Tensor:
    return 1.0 / ops.log2(ops.cast(ops.maximum(ranks, 0), "float32") + 2.0)


def _or_nan(part: Tensor, whole: Tensor) -> Tensor:
    return ops.where(whole > 0, part / ops.where(whole > 0, whole, ops.ones_like(whole)), float("nan"))
