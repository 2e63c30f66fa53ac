"""Scores of positives and negatives, and which negatives count: what all losses here start from."""

from __future__ import annotations

from typing import Any

from keras import ops

Tensor = Any

# Stands for minus infinity where that would make 0 * inf.
MASKED = -1e9


def check_pairs(
    first: Tensor, second: Tensor, temperature: float, names: tuple[str, str], in_batch: bool = True
) -> None:
    """Check the shapes of two batches of embeddings whose rows belong together.

    Args:
        first: `(n, d)`.
        second: `(n, d)`.
        temperature: Must be above 0.
        names: Names of the arguments, for the message.
        in_batch: Whether the negatives come from the batch, which takes two songs. Defaults to `True`.

    Raises:
        ValueError: If shapes disagree, the temperature is not positive, or one song is alone in its batch.
    """
    check_temperature(temperature)
    shapes = tuple(first.shape), tuple(second.shape)
    known = [size for shape in shapes for size in shape[:1] if size is not None]
    if any(len(shape) != 2 for shape in shapes) or shapes[0][1:] != shapes[1][1:] or len(set(known)) > 1:
        raise ValueError(f"Arguments `{names[0]}` and `{names[1]}` must both be (n, d). Received: {shapes}")
    if in_batch and known and known[0] < 2:
        raise ValueError(
            f"Argument `{names[0]}` must hold at least 2 songs: negatives come from the batch. Received: 1"
        )


def check_temperature(temperature: float) -> None:
    """Raise if the temperature is not above 0."""
    if temperature <= 0:
        raise ValueError(f"Argument `temperature` must be above 0. Received: {temperature}")


def off_diagonal(rows: Tensor) -> Tensor:
    """Return `(n, n)` boolean, false on the diagonal, for n rows."""
    position = ops.arange(ops.shape(rows)[0])
    return position[:, None] != position[None, :]


def pair_scores(
    anchors: Tensor,
    positives: Tensor,
    negatives: Tensor | None,
    temperature: float,
    positive_ids: Tensor | None,
    negative_ids: Tensor | None,
    known_positives: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return scores of positives `(n,)`, scores of negatives `(n, m)`, and which negatives count `(n, m)`.

    The arguments are those of `bcl_keras.losses.bpr`.
    """
    check_pairs(anchors, positives, temperature, ("anchors", "positives"), in_batch=negatives is None)
    anchors, positives = ops.cast(anchors, "float32"), ops.cast(positives, "float32")
    positive = ops.sum(anchors * positives, axis=1) / temperature
    if negatives is None:
        negative, valid = ops.matmul(anchors, ops.transpose(positives)), off_diagonal(anchors)
        negative_ids = positive_ids if negative_ids is None else negative_ids
    elif len(negatives.shape) == 2:
        negative = ops.matmul(anchors, ops.transpose(ops.cast(negatives, "float32")))
        valid = ops.ones_like(negative, dtype="bool")
    else:
        negative = ops.sum(anchors[:, None, :] * ops.cast(negatives, "float32"), axis=2)
        valid = ops.ones_like(negative, dtype="bool")
    if negative_ids is not None:
        candidates = negative_ids if len(negative_ids.shape) == 2 else negative_ids[None, :]
        valid = valid & _not_among(candidates, positive_ids, known_positives)
    return positive, negative / temperature, valid


def _not_among(candidates: Tensor, positive_ids: Tensor | None, known_positives: Tensor | None) -> Tensor:
    """Return which candidates `(n, m)` are neither the positive nor a known positive of the anchor."""
    fresh = ops.ones_like(candidates, dtype="bool")
    if positive_ids is not None:
        fresh = fresh & (candidates != positive_ids[:, None])
    if known_positives is not None:
        # One column at a time: (n, m, P) at once would be the largest tensor of the step.
        for column in range(known_positives.shape[1]):
            fresh = fresh & (candidates != known_positives[:, column, None])
    return fresh
