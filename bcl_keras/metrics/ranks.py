"""Exact ranks of the positives among all candidates."""

from __future__ import annotations

from typing import Any

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
