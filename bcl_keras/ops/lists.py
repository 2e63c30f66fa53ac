"""Lists of ids, cut to those that count."""

from __future__ import annotations

from typing import Any

from keras import ops

Tensor = Any


def first_values(ids: Tensor, most: int) -> Tensor:
    """Keep the first ids of each row that are not 0, and drop the others.

    Args:
        ids: `(n, L)` integers of at least 0; 0 is none and may stand anywhere.
        most: Number of ids that a row keeps.

    Returns:
        `(n, L)` as given where `L` is known to be no more than `most`, else `(n, at most `most`)`: the same ids in
        falling order, 0 last.
    """
    length = ids.shape[1]
    if length is not None and length <= most:
        return ids
    place = ops.cumsum(ops.cast(ids > 0, "int32"), axis=1)
    kept = ops.where(place <= most, ids, ops.zeros_like(ids))
    return ops.flip(ops.sort(kept, axis=1), axis=1)[:, :most]
