"""What content is compared by: inverse document frequency of words, z-scores of numbers."""

from __future__ import annotations

import numpy as np

from bcl_keras.fields import Array


def inverse_document_frequency(counts: Array, documents: int) -> Array:
    """Return `log((1 + documents) / (1 + counts))`, `(words,)`: 0 for a word that every document has.

    Args:
        counts: `(words,)` number of documents that have each word.
        documents: Number of documents.
    """
    return np.asarray(np.log((1 + documents) / (1 + counts)))


def z_scores(values: Array, learnt_from: Array) -> Array:
    """Return `(n, c)` values with mean 0 and deviation 1 on some rows; NaN stays, a constant column is only shifted.

    Args:
        values: `(n, c)`.
        learnt_from: `(n,)` bool, the rows that mean and deviation are computed on.
    """
    mean, deviation = np.nanmean(values[learnt_from], axis=0), np.nanstd(values[learnt_from], axis=0)
    return np.asarray((values - mean) / np.where(deviation > 0, deviation, 1))


def has_value(values: Array) -> Array:
    """Return `(n,)` bool, whether a song has a value of a field.

    Args:
        values: `(n,)` or `(n, L)`: ids with 0 for missing, or numbers with NaN for missing.
    """
    rows = values.reshape(len(values), -1)
    return np.asarray((rows > 0).any(axis=1) if rows.dtype.kind == "i" else ~np.isnan(rows).any(axis=1))
