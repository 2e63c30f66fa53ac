"""The directions of the candidates in which predictions vary most."""

from __future__ import annotations

import numpy as np

from bcl_keras.closed_form.audiences import AudienceTargets
from bcl_keras.closed_form.nystroem import Nystroem
from bcl_keras.content.directions import fading
from bcl_keras.fields import Array

_OVERSAMPLING = 16


def prediction_basis(ridge: Nystroem, targets: AudienceTargets, start: Array, rank: int) -> tuple[Array, Array]:
    """Return the directions of the candidates in which predictions vary most.

    Subspace iteration on `H T`, with H the smoother of the ridge; the matrix itself is never made.

    Args:
        ridge: H.
        targets: T.
        start: `(num_songs, width)`, any directions (see `drawn_directions`), or those of a similar setting.
        rank: Directions wanted, at most the width.

    Returns:
        `(num_songs, rank)`, orthogonal columns of length 1, or less where a direction weighs no more than the first one
        left out (`fading`); and `(num_songs, width)`, where the next setting may start.

    References:
        Halko, Martinsson and Tropp, SIAM Review 2011.
    """
    # H is symmetric: H (T x) forth, T^t (H x) back.
    directions = np.linalg.qr(targets.transposed(ridge.smooth(ridge.smooth(targets @ start))))[0]
    # Of the triangle and not of its square, whose small values rounding in float32 would hide.
    triangle = np.asarray(np.linalg.qr(ridge.smooth(targets @ directions), mode="r"), dtype="float64")
    _, weights, turn = np.linalg.svd(triangle)
    directions = directions @ turn.T.astype("float32")
    return directions[:, :rank] * fading(weights, rank).astype("float32"), directions


def drawn_directions(num_songs: int, rank: int) -> Array:
    """Return `(num_songs, width)` normal draws to start `prediction_basis` with, a few more than `rank`."""
    width = min(num_songs, rank + _OVERSAMPLING)
    return np.random.default_rng(0).normal(size=(num_songs, width)).astype("float32")
