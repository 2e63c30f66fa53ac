"""Small numeric helpers that hold in half precision too."""

from __future__ import annotations

from typing import Any

from keras import ops

Tensor = Any


def l2_normalize(vectors: Tensor, *, epsilon: float = 1e-6) -> Tensor:
    """Scale each vector to unit length, in float32 whatever comes in; a zero vector stays zero.

    Args:
        vectors: `(..., d)`.
        epsilon: Smallest length that is divided by. Defaults to 1e-6.

    Returns:
        `(..., d)` float32: half precision holds neither the squares nor the cosines well enough to rank by.
    """
    vectors = ops.cast(vectors, "float32")
    squared = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    return vectors * ops.rsqrt(ops.maximum(squared, epsilon**2))
