"""Fits how likely a match is right, on validation songs: a logistic regression, made calibrated by isotonic means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import bcl_keras
from bcl_keras.evaluation.bootstrap import ClusterBootstrap
from bcl_keras.evaluation.content import has_value
from bcl_keras.evaluation.ranking import ranking_keys
from bcl_keras.fields import Array
from serving.export.chances import ChanceScale, numbers_of

#: With fewer validation songs nothing is fitted.
FEWEST_SONGS = 50
#: Matches of a song that are fitted: as many as the model returns in bulk.
PLACES = 100
#: Where runs of matches end, whose share of hits is measured: short ones among the best, where chances differ most.
_ENDS = (*np.linspace(0.07, 0.84, 12), 0.9, 0.94, 0.96, 0.975, 0.985, 0.9925, 1.0)
_DRAWS = 500
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
    scores, hits = _matches(model.embed_songs(features) @ model.warm_candidates().T, right, places)
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
    numbers = numbers_of(typical, scores, known).reshape(-1, 4)
    weights = _weights(numbers, hits.ravel())
    total = numbers @ weights
    order = np.argsort(total, kind="stable")
    song = np.repeat(np.arange(len(scores)), scores.shape[1])
    bootstrap = ClusterBootstrap(song, draws=_DRAWS)
    sums, found = [], []
    for part in np.split(order, [int(end * len(order)) for end in _ENDS[:-1]]):
        if not len(part):
            continue
        inside = np.zeros(len(order))
        inside[part] = 1.0
        sums.append(float(total[part].mean()))
        found.append(bootstrap.ratio(hits.ravel() * inside, inside))
    return _scale(typical, weights, sums, np.array([(each.value, each.low, each.high) for each in found]))


def _scale(typical: float, weights: Array, sums: list[float], levels: Array) -> ChanceScale:
    from sklearn.isotonic import IsotonicRegression

    knots, first = np.unique(np.array(sums, np.float32), return_index=True)
    chance, low, high = (IsotonicRegression().fit_transform(knots, column[first]) for column in levels.T)
    bounds = np.minimum(low, chance), np.maximum(high, chance)
    found = tuple(tuple(np.clip(column, 0.0, 1.0).tolist()) for column in (chance, *bounds))
    return ChanceScale(typical, tuple(weights.tolist()), tuple(knots.tolist()), *found)


def _weights(numbers: Array, hits: Array) -> Array:
    """Returns the weight of each number; a better score or place never lowers a chance."""
    from sklearn.linear_model import LogisticRegression

    mean, spread = numbers.mean(axis=0), numbers.std(axis=0)
    kept = spread > 1e-9
    weights = np.zeros(numbers.shape[1])
    while kept.any():
        scaled = (numbers[:, kept] - mean[kept]) / spread[kept]
        weights[:] = 0.0
        weights[kept] = LogisticRegression(C=10.0, max_iter=500).fit(scaled, hits).coef_[0] / spread[kept]
        wrong = np.array([weights[0] < 0, weights[1] > 0, False, False])
        if not wrong.any():
            return weights
        kept &= ~wrong
    return weights


def _matches(scores: Array, right: Array, places: int) -> tuple[Array, Array]:
    """Returns the scores of the best matches and whether they are right, `(n, places)`."""
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
    """Returns the mean difference of chance and share of hits, over runs of matches of like chance and equal length.

    Args:
        chances: Of matches, any shape.
        hits: Whether they are right, the same shape.
        parts: Number of runs.
    """
    order = np.argsort(chances, axis=None, kind="stable")
    flat, right = chances.ravel()[order], hits.ravel()[order].astype(float)
    runs = [run for run in np.array_split(np.arange(len(order)), parts) if len(run)]
    return float(sum(len(run) * abs(flat[run].mean() - right[run].mean()) for run in runs) / len(order))
