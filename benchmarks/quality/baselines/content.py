"""Content as the trained models get it: joined rows of unit blocks, and blocks withheld at random while they train."""

from __future__ import annotations

import numpy as np
from keras import ops

from benchmarks.quality.encoding import Encoding
from benchmarks.quality.problem import Problem
from benchmarks.quality.towers import audience_ridge_model

#: Chances that a block of content is withheld while a model trains, of which every trained model tries some.
FIELD_DROPOUTS = (0.0, 0.15, 0.3, 0.5)


def content_rows(problem: Problem, songs: np.ndarray, encoding: Encoding) -> np.ndarray:
    """Returns the joined content of songs, (n, dim) float32, as `bcl_keras.layers.ContentVector` makes it."""
    layer = audience_ridge_model(problem).content
    features = {name: ops.convert_to_tensor(values) for name, values in encoding.rows(songs).items()}
    return ops.convert_to_numpy(layer(features))


class ShownContent:
    """Content of training songs, of which blocks can be withheld, as for songs that nobody has tagged yet."""

    def __init__(self, problem: Problem, songs: np.ndarray, seed: int) -> None:
        self.rows = content_rows(problem, songs, problem.encoding)
        sizes = list(audience_ridge_model(problem).content.sizes.values())
        self._block = np.repeat(np.arange(len(sizes)), sizes)
        self._count = len(sizes)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        self._present = np.add.reduceat(np.abs(self.rows), starts, axis=1) > 0
        self._rng = np.random.default_rng(seed)

    def drawn(self, places: np.ndarray, rate: float) -> np.ndarray:
        """Returns (n, dim) rows, each block withheld with chance `rate`; one that the song has stays."""
        rows = self.rows[places]
        if not rate:
            return rows
        draws = np.where(self._present[places], self._rng.random((len(places), self._count)), -1.0)
        kept = (draws >= rate) | (draws == draws.max(axis=1, keepdims=True))
        return rows * kept[:, self._block]


def unit(rows: np.ndarray) -> np.ndarray:
    """Returns the rows at length one; a row of zeros stays."""
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)).astype(np.float32)
