"""Keras metrics of retrieval, averaged over queries."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from bcl_keras.metrics.per_query import check_k, ndcg_at_k, recall_at_k, reciprocal_rank
from bcl_keras.metrics.ranks import embedding_ranks, positive_ranks

Tensor = Any


class RetrievalMetric(keras.metrics.Metric):
    """Base of metrics that average over the queries that have positives; a subclass has `per_query(ranks)`.

    `update_state(y_true, y_pred)` takes positions of positives `(n, P)`, integers padded with -1. `y_pred` holds scores
    of all candidates `(n, m)`, or queries `(n, d)` if `set_candidates` gave the embeddings of the candidates.

    Args:
        name: Name of the metric.
        block_size: Candidates scored at once where candidates are given. Defaults to 4096.
        dtype: Type of the sums. Defaults to the float type of Keras.

    Examples:
        >>> import keras
        >>> import numpy as np
        >>> class WorstRank(RetrievalMetric):
        ...     def per_query(self, ranks):
        ...         return keras.ops.cast(keras.ops.max(ranks, axis=1), "float32")
        >>> metric = WorstRank("worst_rank")
        >>> metric.update_state(np.array([[0, 2]]), np.array([[0.9, 0.5, 0.1]]))
        >>> float(metric.result())
        2.0
    """

    def __init__(self, name: str, block_size: int = 4096, dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.block_size = block_size
        self.candidates: Any = None
        self.total = self.add_weight(shape=(), initializer="zeros", name="total")
        self.count = self.add_weight(shape=(), initializer="zeros", name="count")

    def set_candidates(self, candidates: Any) -> None:
        """Set the embeddings `(m, d)` of the candidates, which queries are scored against in blocks."""
        self.candidates = ops.convert_to_tensor(candidates, dtype="float32")

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Add queries; `sample_weight` `(n,)` weighs them."""
        positives = _positions(y_true)
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
        """Return one value per query `(n,)`, NaN without positives.

        Args:
            ranks: `(n, P)`, from 0, -1 where padded.
        """
        raise NotImplementedError

    def result(self) -> Tensor:
        """Return the mean, 0 without any query."""
        return ops.divide_no_nan(self.total, self.count)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {"name": self.name, "dtype": self.dtype, "block_size": self.block_size}


def _positions(y_true: Any) -> Tensor:
    tensor = ops.convert_to_tensor(y_true)
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if "int" not in dtype:
        raise ValueError(f"Argument `y_true` must hold integer positions of candidates. Received: dtype {dtype}")
    return ops.cast(tensor, "int32")


class _AtK(RetrievalMetric):
    def __init__(self, k: int, name: str, block_size: int = 4096, dtype: Any = None) -> None:
        super().__init__(name, block_size, dtype)
        check_k(k)
        self.k = k

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "k": self.k}


@keras.saving.register_keras_serializable(package="bcl_keras")
class RecallAtK(_AtK):
    """Average the recall at k: the share of a query's positives among its k best candidates.

    Args:
        k: Length of the list. Defaults to 50.
        name: Defaults to `"recall_at_<k>"`.
        block_size: Candidates scored at once where candidates are given. Defaults to 4096.
        dtype: Type of the sums. Defaults to the float type of Keras.

    Examples:
        >>> import numpy as np
        >>> metric = RecallAtK(k=2)
        >>> metric.update_state(np.array([[0, 2]]), np.array([[0.9, 0.5, 0.1]]))
        >>> float(metric.result())
        0.5
    """

    def __init__(self, k: int = 50, name: str | None = None, block_size: int = 4096, dtype: Any = None) -> None:
        super().__init__(k, name or f"recall_at_{k}", block_size, dtype)

    def per_query(self, ranks: Tensor) -> Tensor:
        """Return the recall of each query."""
        return recall_at_k(ranks, self.k)


@keras.saving.register_keras_serializable(package="bcl_keras")
class NDCG(_AtK):
    """Average the normalised discounted cumulative gain at k.

    Args:
        k: Length of the list. Defaults to 50.
        name: Defaults to `"ndcg_at_<k>"`.
        block_size: Candidates scored at once where candidates are given. Defaults to 4096.
        dtype: Type of the sums. Defaults to the float type of Keras.

    Examples:
        >>> import numpy as np
        >>> metric = NDCG(k=2)
        >>> metric.update_state(np.array([[1]]), np.array([[0.9, 0.5, 0.1]]))
        >>> round(float(metric.result()), 4)
        0.6309
    """

    def __init__(self, k: int = 50, name: str | None = None, block_size: int = 4096, dtype: Any = None) -> None:
        super().__init__(k, name or f"ndcg_at_{k}", block_size, dtype)

    def per_query(self, ranks: Tensor) -> Tensor:
        """Return the gain of each query."""
        return ndcg_at_k(ranks, self.k)


@keras.saving.register_keras_serializable(package="bcl_keras")
class MeanReciprocalRank(RetrievalMetric):
    """Average the reciprocal rank: one over the place of a query's best positive.

    Args:
        name: Defaults to `"mrr"`.
        block_size: Candidates scored at once where candidates are given. Defaults to 4096.
        dtype: Type of the sums. Defaults to the float type of Keras.

    Examples:
        >>> import numpy as np
        >>> metric = MeanReciprocalRank()
        >>> metric.update_state(np.array([[1, 2]]), np.array([[0.9, 0.5, 0.1]]))
        >>> float(metric.result())
        0.5
    """

    def __init__(self, name: str = "mrr", block_size: int = 4096, dtype: Any = None) -> None:
        super().__init__(name, block_size, dtype)

    def per_query(self, ranks: Tensor) -> Tensor:
        """Return the reciprocal rank of each query."""
        return reciprocal_rank(ranks)


# Names before those of keras-rs. Saved files have the registered ones.
NDCGAtK, MRR = NDCG, MeanReciprocalRank
keras.saving.get_custom_objects().update({"bcl_keras>NDCGAtK": NDCG, "bcl_keras>MRR": MeanReciprocalRank})
