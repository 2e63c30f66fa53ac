"""Logistic regression of matches, whose errors allow for the matches of a song being alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bcl_keras.fields import Array


@dataclass(frozen=True)
class ClusteredLogistic:
    """A fitted regression.

    Attributes:
        slopes: `(p + 1,)`, of the inputs and of a constant 1.
        covariance: `(p + 1, p + 1)`, of the slopes over draws of songs: the "sandwich" of cluster-robust errors, whose
            middle has sums over the matches of each song.
    """

    slopes: Array
    covariance: Array

    @classmethod
    def fit(cls, inputs: Array, hits: Array, counted: Array, strength: float) -> ClusteredLogistic:
        """Fits hits.

        Args:
            inputs: `(songs, matches, p)`.
            hits: `(songs, matches)` bool, of both kinds.
            counted: `(songs, matches)`, how much each match counts.
            strength: The inverse of the penalty, scikit-learn's `C`.
        """
        from sklearn.linear_model import LogisticRegression

        flat, weights = inputs.reshape(-1, inputs.shape[2]), counted.ravel()
        fitted = LogisticRegression(C=strength, max_iter=1000).fit(flat, hits.ravel(), sample_weight=weights)
        slopes = np.concatenate([fitted.coef_[0], fitted.intercept_])
        columns = _with_one(flat)
        chance = share(columns @ slopes)
        curvature = (columns * (weights * chance * (1.0 - chance))[:, None]).T @ columns
        inverse = np.linalg.inv(curvature + np.eye(len(slopes)) / strength)
        of_songs = ((weights * (hits.ravel() - chance))[:, None] * columns).reshape(*hits.shape, -1).sum(axis=1)
        return cls(slopes, inverse @ (of_songs.T @ of_songs) @ inverse * len(hits) / max(1, len(hits) - 1))

    def log_odds(self, inputs: Array) -> Array:
        """Returns the logarithm of the odds for `(m, p)` inputs."""
        return np.asarray(_with_one(inputs) @ self.slopes)

    def variance(self, inputs: Array) -> Array:
        """Returns the variance of `log_odds`."""
        columns = _with_one(inputs)
        return np.asarray(np.einsum("ki,ij,kj->k", columns, self.covariance, columns))


def share(log_odds: Array) -> Array:
    """Returns the chance with these logarithms of odds."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(log_odds, -50.0, 50.0))))


def _with_one(inputs: Array) -> Array:
    return np.column_stack([inputs, np.ones(len(inputs))])
