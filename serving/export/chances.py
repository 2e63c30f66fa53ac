"""How likely a match is right: a song's scores as chances, with constants that were fitted on validation songs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

#: float32 `(n, k)`: the chance that a match is right, and the bounds of its 95 % interval.
CHANCE, CHANCE_LOW, CHANCE_HIGH = "chance", "chance_low", "chance_high"
#: Best scores of a song whose mean is one of the numbers.
MEAN_OF = 50
#: Scores below this share of the typical one count as it, because logarithms need positive numbers.
LEAST_SCORE = 0.01

Array = np.ndarray[Any, Any]
Tensors = dict[str, tf.Tensor]


@dataclass(frozen=True)
class ChanceScale:
    """Constants that turn scores into chances.

    Four numbers of a match make a sum: the logarithm of its score, the logarithm of its place, the logarithm of the
    mean of the song's 50 best scores, and the logarithm of the number of known fields. Scores are shares of the typical
    score. Between `sums` the chance is linear, outside it is that of the nearest one.

    Attributes:
        typical: The typical score, above 0.
        weights: Of the four numbers.
        sums: `(m,)` ascending.
        chances: `(m,)`, ascending, from 0 to 1.
        low: `(m,)`, lower bounds of 95 % intervals.
        high: `(m,)`, upper bounds.
    """

    typical: float
    weights: tuple[float, float, float, float]
    sums: tuple[float, ...]
    chances: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ChanceScale:
        """Restores what `dataclasses.asdict` gave, from JSON too."""
        plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**plain)


def numbers_of(typical: float, scores: Array, known_fields: Array) -> Array:
    """Returns the four numbers of each match, `(n, k, 4)` float64.

    Args:
        typical: The typical score.
        scores: `(n, k)`, best first. k must be at least `MEAN_OF`, or all songs there are.
        known_fields: `(n,)`.
    """
    shares = np.maximum(scores.astype("float64") / typical, LEAST_SCORE)
    mean = np.maximum((scores[:, :MEAN_OF] / typical).mean(axis=1, keepdims=True), LEAST_SCORE)
    places = np.arange(1, scores.shape[1] + 1)[None, :]
    columns = (np.log(shares), np.log(places + 2.0), np.log(mean), np.log1p(known_fields)[:, None])
    return np.stack(np.broadcast_arrays(*columns), axis=2)


def chances_of(scale: ChanceScale, scores: tf.Tensor, known_fields: tf.Tensor) -> Tensors:
    """Returns chances and their bounds, `(n, k)` float32, in a graph: what `numbers_of` and `numpy.interp` give.

    Args:
        scale: The constants.
        scores: `(n, k)`, best first. k must be at least `MEAN_OF`, or all songs there are.
        known_fields: `(n,)`.
    """
    shares = scores / scale.typical
    mean = tf.reduce_mean(shares[:, :MEAN_OF], axis=1, keepdims=True)
    places = tf.cast(tf.range(1, tf.shape(scores)[1] + 1), tf.float32)[tf.newaxis, :]
    of_score, of_place, of_mean, of_fields = scale.weights
    total = (
        of_score * tf.math.log(tf.maximum(shares, LEAST_SCORE))
        + of_place * tf.math.log(places + 2.0)
        + of_mean * tf.math.log(tf.maximum(mean, LEAST_SCORE))
        + of_fields * tf.math.log1p(tf.cast(known_fields, tf.float32))[:, tf.newaxis]
    )
    if len(scale.sums) < 2:
        levels = {CHANCE: scale.chances, CHANCE_LOW: scale.low, CHANCE_HIGH: scale.high}
        return {name: tf.fill(tf.shape(total), tf.constant(level[0])) for name, level in levels.items()}
    return _interpolated(scale, total)


def _interpolated(scale: ChanceScale, total: tf.Tensor) -> Tensors:
    knots = tf.constant(scale.sums, tf.float32)
    flat = tf.clip_by_value(tf.reshape(total, [-1]), knots[0], knots[-1])
    right = tf.clip_by_value(tf.searchsorted(knots, flat), 1, len(scale.sums) - 1)
    start, end = tf.gather(knots, right - 1), tf.gather(knots, right)
    part = (flat - start) / (end - start)
    found = {}
    for name, values in ((CHANCE, scale.chances), (CHANCE_LOW, scale.low), (CHANCE_HIGH, scale.high)):
        levels = tf.constant(values, tf.float32)
        level = (1.0 - part) * tf.gather(levels, right - 1) + part * tf.gather(levels, right)
        found[name] = tf.reshape(level, tf.shape(total))
    return found
