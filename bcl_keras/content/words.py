"""Latent semantic analysis of the ids of one field, in numpy."""

from __future__ import annotations

import numpy as np

from bcl_keras.content.directions import orthonormal
from bcl_keras.evaluation.content import inverse_document_frequency
from bcl_keras.fields import Array

_SUBSPACE_ITERATIONS = 3


class WordMatrix:
    """The songs' ids of one field as a sparse matrix of unit rows.

    Args:
        ids: `(n, L)`, padded with 0.
        size: Number of ids, with 0.
    """

    def __init__(self, ids: Array, size: int) -> None:
        self.songs, place = np.nonzero(ids > 0)
        self.ids = ids[self.songs, place]
        self.shape = (len(ids), size)
        counts = np.bincount(self.ids, minlength=size)
        self.idf = inverse_document_frequency(np.minimum(counts, len(ids)), len(ids)).astype("float32")
        self.idf[0] = 0.0
        weights = self.idf[self.ids]
        lengths = np.sqrt(np.bincount(self.songs, weights=weights**2, minlength=len(ids)))
        self.weights = weights / np.maximum(lengths[self.songs], 1e-12)

    def basis(self, rank: int) -> Array:
        """Return `(size, rank)`: the unit matrix if it holds all ids, else the main directions of the songs."""
        size = self.shape[1]
        if rank >= size:
            return np.eye(size, dtype="float32")
        basis = np.random.default_rng(0).normal(size=(size, rank))
        for _ in range(_SUBSPACE_ITERATIONS):
            songs = orthonormal(_product(self.songs, self.ids, self.weights, basis, self.shape[0]))
            basis = orthonormal(_product(self.ids, self.songs, self.weights, songs, size))
        # Fewer songs than directions leave columns that no song has.
        padded = np.zeros((size, rank), "float32")
        padded[:, : basis.shape[1]] = basis
        return padded


def _product(rows: Array, columns: Array, values: Array, dense: Array, num_rows: int) -> Array:
    """Return the product of a sparse matrix in coordinate form with `dense`, column by column."""
    product = np.empty((num_rows, dense.shape[1]))
    for place in range(dense.shape[1]):
        product[:, place] = np.bincount(rows, weights=values * dense[columns, place], minlength=num_rows)
    return product
