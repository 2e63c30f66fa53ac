"""Fits how likely a match is right, on validation songs.

A first logistic regression gives each match a sum of four numbers. A second one turns the sum into a chance along a
bent line, with an interval. The first places weigh more, because they are shown first and used first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import bcl_keras
from bcl_keras.evaluation.content import has_value
from bcl_keras.evaluation.ranking import ranking_keys
from bcl_keras.fields import Array
from serving.export.chances import ChanceScale, numbers_of
from tfx_pipeline.models.clustered_logistic import ClusteredLogistic, share

#: With fewer validation songs nothing is fitted.
FEWEST_SONGS = 50
#: Matches of a song that are fitted: as many as the model returns in bulk.
PLACES = 100
#: The match at place p weighs 1 / (p + 20). Equal weights would fit the many last places, and miss the first ten.
_PLACES_BEFORE = 20
#: Parts of the matches, by their sum, between which the slope of the curve may change: more among the best.
_BENDS = (0.25, 0.5, 0.75, 0.9, 0.97)
_KNOTS = 33
#: Groups of matches of like sum, in which the effect of other weights is measured.
_GROUPS = 20
_NORMAL_95 = 1.959964
_SONGS_AT_ONCE = 256
_PLACE = np.uint64(0xFFFFFFFF)


def fit_chances(
    model: bcl_keras.models.SongModel, songs: tuple[Mapping[str, Array], Array], places: int = PLACES
) -> ChanceScale | None:
    """Returns the constants that turn the model's scores into chances; None if there are too few songs or no hit.

    A match is right if it is among the warm songs of most similar audience.

    Args:
        model: The model that is served.
        songs: Features of validation songs, and `(n, P)` rows of the warm songs that are right, padded with -1.
        places: Matches of a song that are fitted.
    """
    features, right = songs
    usable = np.flatnonzero((right >= 0).any(axis=1))
    if len(usable) < FEWEST_SONGS:
        return None
    features, right = {name: values[usable] for name, values in features.items()}, right[usable]
    candidates = model.warm_candidates().T
    found = []
    for start in range(0, len(usable), _SONGS_AT_ONCE):
        block = slice(start, start + _SONGS_AT_ONCE)
        embeddings = model.embed_songs({name: values[block] for name, values in features.items()})
        found.append(best_matches(embeddings @ candidates, right[block], places))
    scores, hits = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return fit_scale(scores, hits, known_fields(features))


def known_fields(features: Mapping[str, Array]) -> Array:
    """Returns how many fields of each song are known, `(n,)`."""
    return np.sum([has_value(values) for values in features.values()], axis=0)


def fit_scale(scores: Array, hits: Array, known: Array) -> ChanceScale | None:
    """Returns the constants from matches; None without any hit, or any score above 0.

    Args:
        scores: `(n, k)`, best first.
        hits: `(n, k)` bool, whether a match is right.
        known: `(n,)`, how many fields of the song are known.
    """
    typical = float(np.median(scores))
    if not hits.any() or hits.all() or not typical > 0:
        return None
    numbers = numbers_of(typical, scores, known)
    counted = np.broadcast_to(1.0 / (np.arange(1, scores.shape[1] + 1) + _PLACES_BEFORE), scores.shape)
    counted = counted / counted.mean()
    weights, of_weights = _weights(numbers, hits, counted)
    sums = numbers @ weights
    knots = np.unique(np.quantile(sums, _knot_places()).astype(np.float32)).astype(float)
    levels = _curve(sums, hits, counted, knots, _spread_of_sums(numbers, sums, of_weights))
    return _scale(typical, weights, knots, levels)


def _knot_places() -> Array:
    """Returns parts of the matches, closer to each other among the best."""
    return 1.0 - np.linspace(1.0, 0.0, _KNOTS) ** 2


def _weights(numbers: Array, hits: Array, counted: Array) -> tuple[Array, Array]:
    """Returns the weight of each number, and their covariance; a better score or place never lowers a chance."""
    mean, spread = numbers.mean(axis=(0, 1)), numbers.std(axis=(0, 1))
    kept, count = spread > 1e-9, numbers.shape[2]
    while kept.any():
        scaled = (numbers[..., kept] - mean[kept]) / spread[kept]
        fitted = ClusteredLogistic.fit(scaled, hits, counted, strength=10.0)
        weights, covariance = np.zeros(count), np.zeros((count, count))
        weights[kept] = fitted.slopes[:-1] / spread[kept]
        covariance[np.ix_(kept, kept)] = fitted.covariance[:-1, :-1] / np.outer(spread[kept], spread[kept])
        wrong = np.array([weights[0] < 0, weights[1] > 0, False, False])
        if not wrong.any():
            return weights, covariance
        kept &= ~wrong
    return np.zeros(count), np.zeros((count, count))


def _spread_of_sums(numbers: Array, sums: Array, of_weights: Array) -> tuple[Array, Array]:
    """Returns sums, ascending, and the variance that other weights would bring among matches of such a sum."""
    order = np.argsort(sums, axis=None, kind="stable")
    flat = numbers.reshape(-1, numbers.shape[2])
    groups = [group for group in np.array_split(order, _GROUPS) if len(group)]
    centred = [flat[group] - flat[group].mean(axis=0) for group in groups]
    variances = [np.einsum("ni,ij,nj->", rows, of_weights, rows) / len(rows) for rows in centred]
    return np.array([sums.ravel()[group].mean() for group in groups]), np.array(variances)


def _curve(sums: Array, hits: Array, counted: Array, knots: Array, of_sums: tuple[Array, Array]) -> Array:
    """Returns the chance at each knot and the bounds of its 95 % interval, `(knots, 3)`.

    The logarithm of the odds is a line of the sum that bends at some places. Its variance is that of the line, and that
    of the sums, times the square of the slope.
    """
    bends, scale = np.unique(np.quantile(sums, _BENDS)), max(float(sums.std()), 1e-9)

    def bent(values: Array) -> Array:
        return np.stack([values, *(np.maximum(values - bend, 0.0) for bend in bends)], axis=-1) / scale

    line = ClusteredLogistic.fit(bent(sums), hits, counted, strength=100.0)
    middle = line.log_odds(bent(knots))
    slope = (np.column_stack([np.ones(len(knots)), knots[:, None] >= bends]) @ line.slopes[:-1]) / scale
    variance = line.variance(bent(knots)) + slope**2 * np.interp(knots, *of_sums)
    spread = _NORMAL_95 * np.sqrt(variance)
    return np.stack([share(middle), share(middle - spread), share(middle + spread)], axis=1)


def _scale(typical: float, weights: Array, knots: Array, levels: Array) -> ChanceScale:
    from sklearn.isotonic import IsotonicRegression

    chance, low, high = (IsotonicRegression().fit_transform(knots, column) for column in levels.T)
    bounds = np.minimum(low, chance), np.maximum(high, chance)
    found = tuple(tuple(np.clip(column, 0.0, 1.0).tolist()) for column in (chance, *bounds))
    return ChanceScale(typical, tuple(weights.tolist()), tuple(knots.tolist()), *found)


def best_matches(scores: Array, right: Array, places: int) -> tuple[Array, Array]:
    """Returns the scores of the best matches and whether they are right, `(n, places)`.

    Args:
        scores: `(n, candidates)`.
        right: `(n, P)` rows of the candidates that are right, padded with -1.
        places: How many matches.
    """
    found, hits = [], []
    depth = min(places, scores.shape[1])
    for row, truth in zip(scores, right, strict=True):
        keys = np.sort(np.partition(ranking_keys(row[None]), depth - 1, axis=1)[0, :depth])
        best = (keys & _PLACE).astype(np.int64)
        found.append(row[best])
        hits.append(np.isin(best, truth[truth >= 0]))
    return np.array(found), np.array(hits)


def predict(scale: ChanceScale, scores: Array, known: Array) -> tuple[Array, Array, Array]:
    """Returns the chances of matches and the bounds of their intervals, `(n, k)` each: what the graph gives."""
    total = numbers_of(scale.typical, scores, known) @ np.array(scale.weights)
    levels: Any = (np.interp(total, scale.sums, level) for level in (scale.chances, scale.low, scale.high))
    chance, low, high = levels
    return chance, low, high
