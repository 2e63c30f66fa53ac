"""Draw the group of fields that goes together with a seed field."""

from __future__ import annotations

from typing import Any

from keras import ops

Tensor = Any

# A correlation of zero must stay drawable when nothing else is left.
SMALLEST_CORRELATION = 1e-6


def group_fields(correlation: Tensor, seed_fields: Tensor, noise: Tensor, group_size: int) -> Tensor:
    """Select seed fields and the fields that top `log C[s, j] + noise`.

    With standard Gumbel noise this draws fields without replacement with probability proportional to `C[s, j]` (the
    Plackett-Luce law); with zero noise it takes the most correlated ones, ties by position.

    Args:
        correlation: `(F, F)`, non-negative.
        seed_fields: `(n,)` integers, one seed per draw.
        noise: `(n, F)` added to the log-correlations.
        group_size: Fields in a group, the seed included.

    Returns:
        `(n, F)` boolean, `group_size` ones per row.

    References:
        Zhao et al., WWW'23 Companion, section 3.1.2.
    """
    num_fields = correlation.shape[-1]
    logits = ops.log(ops.maximum(ops.cast(correlation, "float32"), SMALLEST_CORRELATION))
    is_seed = ops.arange(num_fields)[None, :] == ops.cast(seed_fields, "int32")[:, None]
    scores = ops.where(is_seed, float("inf"), ops.take(logits, seed_fields, axis=0) + noise)
    # Ranks by sorting, not top_k, whose order of equal scores depends on the backend.
    ranks = ops.argsort(ops.argsort(-scores, axis=-1), axis=-1)
    return ranks < group_size
