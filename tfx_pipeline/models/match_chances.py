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

#: With fewer validation songs nothing is fitted.
FEWEST_SONGS = 50
#: Matches of a song that are fitted: as many as the model returns in bulk.
PLACES = 100
#: The match at place p weighs 1 / (p + 20). Equal weights would fit the many last places, and miss the first ten.
_PLACES_BEFORE = 20
#: Parts of the matches, by their sum, between which the slope of the curve may change: more among the best.
_BENDS = (0.25, 0.5, 0.75, 0.9, 0.97)
_KNOTS = 33
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
    weights = _weights(numbers.reshape(-1, 4), hits.ravel(), counted.ravel())
    total = numbers @ weights
    knots = np.unique(np.quantile(total, _knot_places()).astype(np.float32)).astype(float)
    return _scale(typical, weights, knots, _curve(total, hits, counted, knots))


def _knot_places() -> Array:
    """Returns parts of the matches, closer to each other among the best."""
    return 1.0 - np.linspace(1.0, 0.0, _KNOTS) ** 2


def _curve(total: Array, hits: Array, counted: Array, knots: Array) -> Array:
    """Returns the chance at each knot and the bounds of its 95 % interval, `(knots, 3)`.

    The logarithm of the odds is a line of the sum that bends at some places. Matches of one song are not independent,
    so that the variance is that of sums over songs (the "sandwich" of cluster-robust errors).
    """
    from sklearn.linear_model import LogisticRegression

    bends, scale = np.quantile(total, _BENDS), max(float(total.std()), 1e-9)
    inputs, at_knots = (_bent(sums, bends, scale) for sums in (total.reshape(-1), knots))
    fitted = LogisticRegression(C=100.0, max_iter=1000).fit(inputs, hits.ravel(), sample_weight=counted.ravel())
    slopes = np.concatenate([fitted.coef_[0], fitted.intercept_])
    inputs, at_knots = (np.column_stack([columns, np.ones(len(columns))]) for columns in (inputs, at_knots))
    chance = _share(inputs @ slopes)
    curvature = (inputs * (counted.ravel() * chance * (1.0 - chance))[:, None]).T @ inputs
    inverse = np.linalg.inv(curvature + np.eye(len(slopes)) / 100.0)
    of_matches = (counted.ravel() * (hits.ravel() - chance))[:, None] * inputs
    of_songs = of_matches.reshape(*hits.shape, -1).sum(axis=1)
    covariance = inverse @ (of_songs.T @ of_songs) @ inverse * len(hits) / (len(hits) - 1)
    middle = at_knots @ slopes
    spread = _NORMAL_95 * np.sqrt(np.einsum("ki,ij,kj->k", at_knots, covariance, at_knots))
    return np.stack([_share(middle), _share(middle - spread), _share(middle + spread)], axis=1)


def _bent(sums: Array, bends: Array, scale: float) -> Array:
    """Returns each sum and how far it is beyond each bend, `(len(sums), 1 + bends)`."""
    return np.column_stack([sums, *(np.maximum(sums - bend, 0.0) for bend in np.unique(bends))]) / scale


def _share(log_odds: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(log_odds, -50.0, 50.0))))


def _scale(typical: float, weights: Array, knots: Array, levels: Array) -> ChanceScale:
    from sklearn.isotonic import IsotonicRegression

    chance, low, high = (IsotonicRegression().fit_transform(knots, column) for column in levels.T)
    bounds = np.minimum(low, chance), np.maximum(high, chance)
    found = tuple(tuple(np.clip(column, 0.0, 1.0).tolist()) for column in (chance, *bounds))
    return ChanceScale(typical, tuple(weights.tolist()), tuple(knots.tolist()), *found)


def _weights(numbers: Array, hits: Array, counted: Array) -> Array:
    """Returns the weight of each number; a better score or place never lowers a chance."""
    from sklearn.linear_model import LogisticRegression

    mean, spread = numbers.mean(axis=0), numbers.std(axis=0)
    kept = spread > 1e-9
    weights = np.zeros(numbers.shape[1])
    while kept.any():
        scaled = (numbers[:, kept] - mean[kept]) / spread[kept]
        fitted = LogisticRegression(C=10.0, max_iter=500).fit(scaled, hits, sample_weight=counted)
        weights[:] = 0.0
        weights[kept] = fitted.coef_[0] / spread[kept]
        wrong = np.array([weights[0] < 0, weights[1] > 0, False, False])
        if not wrong.any():
            return weights
        kept &= ~wrong
    return weights


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


def calibration_error(chances: Array, hits: Array, parts: int = 15) -> float:
    """Returns the mean difference of chance and share of hits, over groups of matches of like chance.

    Args:
        chances: Of matches, any shape.
        hits: Whether they are right, the same shape.
        parts: Number of groups.
    """
    flat, right = chances.ravel(), hits.ravel().astype(float)
    groups = groups_of_like_chance(chances, parts)
    return float(sum(len(group) * abs(flat[group].mean() - right[group].mean()) for group in groups) / len(flat))


def groups_of_like_chance(chances: Array, parts: int = 15) -> list[Array]:
    """Returns groups of equal size, as places in the flat array; those of the smallest chances first."""
    order = np.argsort(chances, axis=None, kind="stable")
    return [group for group in np.array_split(order, parts) if len(group)]
