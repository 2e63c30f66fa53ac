"""Retrieval metrics over the whole candidate set, from the exact ranks of the positives."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

Tensor = Any


def positive_ranks(scores: Tensor, positives: Tensor) -> Tensor:
    """Return the rank of each positive among all candidates, 0 for the best; ties are broken by position.

    Args:
        scores: `(n, m)` of every candidate.
        positives: `(n, P)` candidate positions, padded with -1.

    Returns:
        `(n, P)` int32; -1 where padded.
    """
    position = ops.arange(ops.shape(scores)[1], dtype="int32")
    own = ops.take_along_axis(scores, ops.maximum(positives, 0), axis=1)
    ranks = [_beaten_by(scores, position, own[:, i], positives[:, i]) for i in range(positives.shape[1])]
    return ops.where(positives >= 0, ops.stack(ranks, axis=1), -1)


def _beaten_by(scores: Tensor, position: Tensor, own: Tensor, place: Tensor) -> Tensor:
    """Count the candidates ahead of one positive per query."""
    ahead = (scores > own[:, None]) | ((scores == own[:, None]) & (position[None, :] < place[:, None]))
    return ops.sum(ops.cast(ahead, "int32"), axis=1)


def embedding_ranks(
    queries: Tensor,
    candidates: Tensor,
    positives: Tensor,
    *,
    exclude: Tensor | None = None,
    block_size: int = 4096,
) -> Tensor:
    """Return the ranks of the positives by inner product, scoring candidates in blocks.

    Args:
        queries: `(n, d)`.
        candidates: `(m, d)`.
        positives: `(n, P)` candidate positions, padded with -1.
        exclude: `(n,)` position of the query itself among the candidates, which is not ranked; -1 for none.
        block_size: Candidates scored at once. Defaults to 4096.

    Returns:
        `(n, P)` int32; -1 where padded.

    Raises:
        ValueError: If lengths of vectors differ.
    """
    queries, candidates = ops.convert_to_tensor(queries), ops.convert_to_tensor(candidates)
    positives = ops.convert_to_tensor(positives, dtype="int32")
    if queries.shape[-1] != candidates.shape[-1]:
        shapes = tuple(queries.shape), tuple(candidates.shape)
        raise ValueError(f"Arguments `queries` and `candidates` must have one vector length. Received: shapes {shapes}")
    own = _own_scores(queries, candidates, positives, block_size)
    ranks = ops.zeros_like(positives)
    for start in range(0, candidates.shape[0], block_size):
        block = candidates[start : start + block_size]
        scores = ops.matmul(queries, ops.transpose(block))
        position = ops.arange(start, start + block.shape[0], dtype="int32")
        if exclude is not None:
            own_place = ops.convert_to_tensor(exclude, dtype="int32")[:, None]
            scores = ops.where(position[None, :] == own_place, float("-inf"), scores)
        counts = [_beaten_by(scores, position, own[:, i], positives[:, i]) for i in range(positives.shape[1])]
        ranks = ranks + ops.stack(counts, axis=1)
    return ops.where(positives >= 0, ranks, -1)


def _own_scores(queries: Tensor, candidates: Tensor, positives: Tensor, block_size: int) -> Tensor:
    """Score the positives by the same products that rank them, so that a song ties with itself exactly."""
    own = ops.zeros(positives.shape, dtype=queries.dtype)
    for start in range(0, candidates.shape[0], block_size):
        scores = ops.matmul(queries, ops.transpose(candidates[start : start + block_size]))
        inside = (positives >= start) & (positives < start + scores.shape[1])
        places = ops.clip(positives - start, 0, scores.shape[1] - 1)
        own = ops.where(inside, ops.take_along_axis(scores, places, axis=1), own)
    return own


def recall_at_k(ranks: Tensor, k: int) -> Tensor:
    """Return the share of a query's positives among its k best candidates, `(n,)`; NaN without positives.

    Args:
        ranks: `(n, P)`, from 0, -1 where padded.
        k: Length of the list, at least 1.
    """
    _check_k(k)
    known, hits = ranks >= 0, (ranks >= 0) & (ranks < k)
    return _or_nan(_count(hits), _count(known))


def ndcg_at_k(ranks: Tensor, k: int) -> Tensor:
    """Return the normalised discounted gain of a query's k best candidates, `(n,)`; NaN without positives.

    A positive at rank r gains `1 / log2(r + 2)`; the ideal list starts with as many positives as there are.

    Args:
        ranks: `(n, P)`, from 0, -1 where padded.
        k: Length of the list, at least 1.
    """
    _check_k(k)
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


def _check_k(k: int) -> None:
    if k < 1:
        raise ValueError(f"Argument `k` must be at least 1. Received: {k}")


def _count(flags: Tensor) -> Tensor:
    return ops.sum(ops.cast(flags, "float32"), axis=1)


def _discount(ranks: Tensor) -> Tensor:
    return 1.0 / ops.log2(ops.cast(ops.maximum(ranks, 0), "float32") + 2.0)


def _or_nan(part: Tensor, whole: Tensor) -> Tensor:
    return ops.where(whole > 0, part / ops.where(whole > 0, whole, ops.ones_like(whole)), float("nan"))


class _RetrievalMetric(keras.metrics.Metric):
    """Average a metric over the queries that have positives.

    `update_state(y_true, y_pred)` takes positions of positives `(n, P)`, padded with -1, and either scores of all
    candidates `(n, m)`, or queries `(n, d)` if candidate embeddings were given by `set_candidates`.
    """

    def __init__(self, name: str, block_size: int = 4096, dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.block_size = block_size
        self.candidates: Any = None
        self.total = self.add_weight(shape=(), initializer="zeros", name="total")
        self.count = self.add_weight(shape=(), initializer="zeros", name="count")

    def set_candidates(self, candidates: Any) -> None:
        """Give the embeddings `(m, d)` that queries are scored against, in blocks."""
        self.candidates = ops.convert_to_tensor(candidates, dtype="float32")

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Add queries; `sample_weight` `(n,)` weighs them."""
        positives = ops.cast(y_true, "int32")
        if self.candidates is None:
            ranks = positive_ranks(ops.convert_to_tensor(y_pred), positives)
        else:
            ranks = embedding_ranks(y_pred, self.candidates, positives, block_size=self.block_size)
        values = self.per_query(ranks)
        weights = ops.cast(ops.logical_not(ops.isnan(values)), self.dtype)
        if sample_weight is not None:
            weights = weights * ops.cast(sample_weight, self.dtype)
        values = ops.where(ops.isnan(values), ops.zeros_like(values), values)
        self.total.assign_add(ops.sum(ops.cast(values, self.dtype) * weights))
        self.count.assign_add(ops.sum(weights))

    def per_query(self, ranks: Tensor) -> Tensor:
        """Return one value per query, NaN without positives."""
        raise NotImplementedError

    def result(self) -> Tensor:
        """Return the mean, 0 without any query."""
        return ops.divide_no_nan(self.total, self.count)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {"name": self.name, "dtype": self.dtype, "block_size": self.block_size}


class _AtK(_RetrievalMetric):
    def __init__(self, k: int, name: str, block_size: int = 4096, dtype: Any = None) -> None:
        super().__init__(name, block_size, dtype)
        _check_k(k)
        self.k = k

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "k": self.k}


@keras.saving.register_keras_serializable(package="bcl_keras")
class RecallAtK(_AtK):
    """Average `recall_at_k` over the queries that have positives.

    Args:
        k: Length of the list. Defaults to 50.
        name: Defaults to `"recall_at_<k>"`.
        block_size: Candidates scored at once where candidates are given. Defaults to 4096.
        dtype: Of the sums. Defaults to the float type of Keras.
    """

    def __init__(self, k: int = 50, name: str | None = None, block_size: int = 4096, dtype: Any = None) -> None:
        super().__init__(k, name or f"recall_at_{k}", block_size, dtype)

    def per_query(self, ranks: Tensor) -> Tensor:
        """Return the recall of each query."""
        return recall_at_k(ranks, self.k)


@keras.saving.register_keras_serializable(package="bcl_keras")
class NDCGAtK(_AtK):
    """Average `ndcg_at_k` over the queries that have positives.

    Args:
        k: Length of the list. Defaults to 50.
        name: Defaults to `"ndcg_at_<k>"`.
        block_size: Candidates scored at once where candidates are given. Defaults to 4096.
        dtype: Of the sums. Defaults to the float type of Keras.
    """

    def __init__(self, k: int = 50, name: str | None = None, block_size: int = 4096, dtype: Any = None) -> None:
        super().__init__(k, name or f"ndcg_at_{k}", block_size, dtype)

    def per_query(self, ranks: Tensor) -> Tensor:
        """Return the gain of each query."""
        return ndcg_at_k(ranks, self.k)


@keras.saving.register_keras_serializable(package="bcl_keras")
class MRR(_RetrievalMetric):
    """Average `reciprocal_rank` over the queries that have positives.

    Args:
        name: Defaults to `"mrr"`.
        block_size: Candidates scored at once where candidates are given. Defaults to 4096.
        dtype: Of the sums. Defaults to the float type of Keras.
    """

    def __init__(self, name: str = "mrr", block_size: int = 4096, dtype: Any = None) -> None:
        super().__init__(name, block_size, dtype)

    def per_query(self, ranks: Tensor) -> Tensor:
        """Return the reciprocal rank of each query."""
        return reciprocal_rank(ranks)
