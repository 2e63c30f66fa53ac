"""Directions that rounding does not change.

Eigenvectors and columns of a QR decomposition have no fixed sign. Those of equal weight are defined only by their span.
So both depend on the last digits of the input. Here a subspace gets the basis that lies nearest to fixed draws, which
depends on the subspace alone. A direction counts less the closer its weight is to that of the first one left out. So
the subspace changes little when its input does.
"""

from __future__ import annotations

import numpy as np

from bcl_keras.blocks import in_blocks
from bcl_keras.fields import Array

#: By how much a direction must exceed the first one left out, to count in full.
_EDGE = 0.05
#: Shares of the largest weight: below the first a direction is only rounding, above the second it counts in full.
_NOTHING, _SOMETHING = 1e-4, 1e-3
#: Columns below this share of the longest one hold nothing but rounding, in float64.
_ROUNDING = 1e-9


def fading(weights: Array, most: int) -> Array:
    """Return by how much each of the `most` heaviest directions counts, from 0 to 1.

    A direction as heavy as the first one left out counts 0. One that is heavier by a twentieth counts 1. Otherwise
    rounding would decide which of two equal ones is kept. A direction of no weight counts 0 too.

    Args:
        weights: `(n,)` of at least 0, descending, such as singular values.
        most: Directions wanted, at most n.
    """
    kept, largest = weights[:most], weights[0]
    if not largest > 0:
        return np.zeros(most)
    counts = (kept / largest - _NOTHING) / (_SOMETHING - _NOTHING)
    if most < len(weights) and weights[most] > 0:
        counts = np.minimum(counts, (kept / weights[most] - 1.0) / _EDGE)
    return np.asarray(np.clip(counts, 0.0, 1.0))


def turn_to_draws(basis: Array) -> Array:
    """Return the rotation `(d, d)` that brings the columns of `basis` `(n, d)` nearest to fixed normal draws.

    `basis @ turn_to_draws(basis)` is the same for every rotation and all signs of the columns. A near subspace gives a
    near basis.

    References:
        The orthogonal Procrustes problem: Schoenemann, Psychometrika 1966.
    """
    rng = np.random.default_rng(0)
    products = np.zeros((basis.shape[1], basis.shape[1]))
    for rows in in_blocks(np.arange(len(basis))):
        draws = rng.normal(size=(len(rows), basis.shape[1]))
        products += basis[rows].T.astype("float64") @ draws
    left, _, right = np.linalg.svd(products)
    return np.asarray(left @ right)


def orthonormal(columns: Array) -> Array:
    """Return orthonormal columns of the same span, each on the side of its own column; zero where nothing is left.

    Args:
        columns: `(n, d)` float64.

    Returns:
        `(n, min(n, d))`.
    """
    basis, rest = np.linalg.qr(columns)
    lengths = np.diagonal(rest)
    something = np.abs(lengths) > _ROUNDING * np.abs(lengths).max(initial=0.0)
    return np.asarray(basis * np.where(something, np.sign(lengths), 0.0))
