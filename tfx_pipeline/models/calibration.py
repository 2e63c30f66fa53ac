"""Whether chances come true: matches of like chance, and the share of them that is right."""

from __future__ import annotations

import numpy as np

from bcl_keras.fields import Array

GROUPS = 15


def calibration_error(chances: Array, hits: Array) -> float:
    """Returns the mean difference of chance and share of hits, over groups of matches of like chance.

    Args:
        chances: Of matches, any shape.
        hits: Whether they are right, the same shape.
    """
    flat, right = chances.ravel(), hits.ravel().astype(float)
    groups = groups_of_like_chance(chances)
    return float(sum(len(group) * abs(flat[group].mean() - right[group].mean()) for group in groups) / len(flat))


def groups_of_like_chance(chances: Array) -> list[Array]:
    """Returns `GROUPS` groups of equal size, as places in the flat array; those of the smallest chances first."""
    order = np.argsort(chances, axis=None, kind="stable")
    return [group for group in np.array_split(order, GROUPS) if len(group)]
