"""Kernel ridge regression by landmarks, in numpy."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy

import numpy as np

from bcl_keras.blocks import in_blocks
from bcl_keras.fields import Array

_JITTER = 1e-4

Kernel = Callable[[Array], Array]


class Nystroem:
    """Kernel ridge regression by landmarks; exact where every song is a landmark.

    `K ~ F F^t` with `F = K_nm L^-t` and `L L^t = K_mm`, so that a ridge on F is one on the kernel.

    Args:
        kernel: Returns the kernel of some training songs with the landmarks, `(n, M)`.
        landmarks: `(M,)` rows of songs.
        num_rows: Number of training songs.

    References:
        Williams and Seeger, NIPS 2000.
    """

    def __init__(self, kernel: Kernel, landmarks: Array, num_rows: int) -> None:
        between = np.concatenate([kernel(rows) for rows in in_blocks(landmarks)]).astype("float64")
        between.flat[:: len(between) + 1] += _JITTER * max(between.trace() / len(between), 1e-12)
        self._whitening = np.linalg.inv(np.linalg.cholesky(between)).T.astype("float32")
        del between
        features = np.empty((num_rows, len(landmarks)), "float32")
        for rows in in_blocks(np.arange(num_rows)):
            features[rows] = kernel(rows) @ self._whitening
        self._learn_from(features)

    def _learn_from(self, features: Array) -> None:
        self._features = features
        self._gram = (features.T @ features).astype("float64")
        self._ridge, self._inverse = -1.0, np.zeros((0, 0), "float32")

    def of_first(self, count: int) -> Nystroem:
        """Return the same kernel ridge, fitted on the first `count` songs alone."""
        if count == len(self._features):
            return self
        part = copy(self)
        part._learn_from(self._features[:count])
        return part

    def set_ridge(self, ridge: float) -> None:
        """Set what is added to the diagonal of the kernel."""
        if ridge != self._ridge:
            regular = self._gram.copy()
            regular.flat[:: len(regular) + 1] += ridge
            self._ridge, self._inverse = ridge, np.linalg.inv(regular).astype("float32")

    def smooth(self, targets: Array) -> Array:
        """Return the predictions for the training songs, `(num_rows, d)`."""
        return self._features @ self._fitted(targets)

    def coefficients(self, targets: Array) -> Array:
        """Return `(M, d)`: a song's kernel with the landmarks times these is its prediction."""
        return self._whitening @ self._fitted(targets)

    def _fitted(self, targets: Array) -> Array:
        return self._inverse @ (self._features.T @ targets)
