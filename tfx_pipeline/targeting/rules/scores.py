"""How well a listener fits a cold song: the scoring rules, as functions of arrays."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from tfx_pipeline.targeting.config import Pooling, TargetingConfig
from tfx_pipeline.targeting.rules.clustering import cluster, normalize

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Query:
    """What listeners' vectors are compared with for one cold song.

    Attributes:
        centers: (k, d) float64 unit vectors: centroids, the audience's mean, or the song itself.
        offsets: (k,) float64, added to the cosine to each center.
        weights: (k,) float64, the weight of the members behind each center.
        song: (d,) float64 unit vector of the cold song, or zeros.
        song_weight: Weight of the listener's own cosine to `song` in the score.
        count_unit: The count of a listener who plays just the best match: `hybrid` counts in this unit, so that its
            weight does not depend on the scale of the match scores.
    """

    centers: Array
    offsets: Array
    weights: Array
    song: Array
    song_weight: float = 0.0
    count_unit: float = 1.0


@dataclasses.dataclass(frozen=True)
class Scores:
    """Scores of n listeners and what they are made of.

    Attributes:
        score: (n,) float64, higher is better.
        vector: (n,) float64, the part from cosines; 0 for `count`.
        count: (n,) float64, similarity-weighted count of the matched songs the listener plays.
        cluster: (n,) int32, index of the closest cluster; -1 for rules without clusters.
        allowed: (n,) bool: eligible, and fitting at least as well as the threshold asks.
    """

    score: Array
    vector: Array
    count: Array
    cluster: Array
    allowed: Array


def weighted_counts(listeners: Array, similarity: Array, size: int) -> Array:
    """Returns the similarity of the matched songs that each listener plays, summed (rule `count`).

    Args:
        listeners: (m,) int, the listener of each (listener, matched song) pair.
        similarity: (m,) float64, the match score of each pair's song; negative scores count as 0.
        size: Number of listeners.

    Returns:
        (size,) float64, summed in the order of the pairs.
    """
    return np.bincount(listeners, weights=np.maximum(similarity, 0), minlength=size)


def make_query(song: Array, listeners: Array, counts: Array, config: TargetingConfig, seed: int) -> Query | None:
    """Returns the vectors that listeners are compared with.

    Args:
        song: (d,) vector of the cold song; zeros if it has none.
        listeners: (n, j, d) unit vectors of the audience, j interests per listener; unused interests are zeros.
        counts: (n,) similarity-weighted counts: the members' weights.
        config: Rule, clustering, the song's role.
        seed: Of the clustering.

    Returns:
        A Query, or None for `count`, which compares no vectors.
    """
    song = normalize(np.asarray(song, dtype=np.float64))
    one = np.ones(1)
    if config.vector_rule is None:
        return None
    if config.vector_rule == "song":
        return Query(song[None], np.zeros(1), one, song)
    vectors, weights = _members(song, listeners, counts, config)
    if config.vector_rule == "average":
        weights = weights if weights.any() else np.ones(len(vectors))  # as clustering does
        return Query(normalize(weights @ vectors)[None], np.zeros(1), one, song)
    found = cluster(
        vectors,
        clusters=config.clusters,
        weights=weights,
        algorithm=config.algorithm,
        iterations=config.iterations,
        max_clusters=config.max_clusters,
        seed=seed,
    )
    toward_song = config.song_weight * (found.centroids @ song)
    offsets = toward_song if config.song_role == "centroids" else np.zeros(len(found.centroids))
    song_weight = config.song_weight if config.song_role == "listeners" else 0.0
    return Query(found.centroids, offsets, found.weights, song, song_weight)


def score_vectors(
    listeners: Array, query: Query, *, pooling: Pooling = "max", temperature: float = 0.1
) -> tuple[Array, Array]:
    """Returns the scores of listeners by their cosines to a query's centers.

    `max`: max_k s_k; `logsumexp`: t log mean_k exp(s_k / t); `mean`: mean_k s_k, with s_k = cos(u, c_k) + offset_k,
    and of several interests of a listener the closest one.

    Args:
        listeners: (n, j, d) unit vectors; zeros = no vector, whose cosines are 0.
        query: Centers and song.
        pooling: How the cosines to the centers become one score.
        temperature: Divides the cosines before `logsumexp`.

    Returns:
        (scores (n,) float64, index of the closest center (n,) int32; -1 where there is no center).
    """
    if len(query.centers) == 0:
        return np.zeros(len(listeners)), np.full(len(listeners), -1, dtype=np.int32)
    similarity = _closest_interest(listeners, query.centers) + query.offsets  # (n, k)
    closest = np.argmax(similarity, axis=1).astype(np.int32)
    largest = np.take_along_axis(similarity, closest[:, None], axis=1)
    if pooling == "max":
        pooled = largest[:, 0]
    elif pooling == "mean":
        pooled = similarity.mean(axis=1)
    else:
        soft = np.exp((similarity - largest) / temperature).mean(axis=1)
        pooled = largest[:, 0] + temperature * np.log(soft)
    if query.song_weight:
        pooled = pooled + query.song_weight * _closest_interest(listeners, query.song[None])[:, 0]
    return pooled, closest


def score_listeners(
    listeners: Array, counts: Array, query: Query | None, config: TargetingConfig, eligible: Array | None = None
) -> Scores:
    """Returns the scores of an audience by the configured rule.

    The threshold asks for a fit: with `quota` it holds before the places are shared out, and only those who may become
    targets take a place.

    Args:
        listeners: (n, j, d) unit vectors.
        counts: (n,) similarity-weighted counts, 0 for listeners outside the audience.
        query: From `make_query`.
        config: Rule, pooling, weights.
        eligible: (n,) bool, who may become a target; default all.
    """
    eligible = np.ones(len(counts), dtype=bool) if eligible is None else eligible
    if query is None:
        no_cluster = np.full(len(counts), -1, dtype=np.int32)
        return Scores(counts, np.zeros(len(counts)), counts, no_cluster, _allowed(counts, eligible, config))
    vector, closest = score_vectors(listeners, query, pooling=config.pooling, temperature=config.temperature)
    joined = vector
    if config.rule == "hybrid":
        if config.count_weight == "auto":
            raise ValueError("`count_weight` must be a number when listeners are scored. Received: 'auto'")
        joined = vector + config.count_weight * np.log1p(counts / query.count_unit)
    allowed = _allowed(joined, eligible, config)
    score = share_out(joined, np.where(allowed, closest, -1), query.weights) if config.quota else joined
    return Scores(score, vector, counts, clusters_of(closest, config), allowed)


def _allowed(fit: Array, eligible: Array, config: TargetingConfig) -> Array:
    return eligible if config.threshold is None else eligible & (fit.astype(np.float32) >= config.threshold)


def clusters_of(closest: Array, config: TargetingConfig) -> Array:
    """Returns the closest centers as clusters; -1 where the rule has none, as `song` and `average`.

    Args:
        closest: (n,) index of the closest center.
        config: Settings.
    """
    return closest if config.vector_rule == "cat" else np.full_like(closest, -1)


def share_out(scores: Array, clusters: Array, weights: Array) -> Array:
    """Returns scores that fill a ranking from all clusters in proportion to their weight (Sainte-Lague).

    The r-th best listener (r = 0, 1, ...) of a cluster of weight w gets w / (r + 1/2). So any first M of the ranking
    hold each cluster in its proportion, rounded to whole listeners.

    Args:
        scores: (n,) scores that rank the listeners of a cluster.
        clusters: (n,) cluster of each listener; -1 = none.
        weights: (k,) weight of each cluster.
    """
    shared = np.zeros(len(scores))
    for index in range(len(weights)):
        members = np.flatnonzero(clusters == index)
        order = np.argsort(-scores[members], kind="stable")
        shared[members[order]] = weights[index] / (np.arange(len(members)) + 0.5)
    return shared


def _members(song: Array, listeners: Array, counts: Array, config: TargetingConfig) -> tuple[Array, Array]:
    """Vectors that are clustered, one row per interest that has a direction, and their weights."""
    n, interests, d = listeners.shape
    vectors = listeners.reshape(n * interests, d).astype(np.float64)
    weights = np.repeat(counts if config.members == "similarity" else np.ones(n), interests)
    used = vectors.any(axis=1)
    vectors, weights = vectors[used], weights[used]
    if config.song_role == "members":
        weights = weights * np.maximum(vectors @ song, 0)
    return vectors, weights


def _closest_interest(listeners: Array, centers: Array) -> Array:
    """(n, j, d), (k, d) -> (n, k): the largest cosine over a listener's interests."""
    n, interests, d = listeners.shape
    if interests == 1:
        return listeners[:, 0].astype(np.float64, copy=False) @ centers.T
    similarity = (listeners.reshape(n * interests, d).astype(np.float64, copy=False) @ centers.T).reshape(
        n, interests, -1
    )
    unused = ~np.any(listeners, axis=2)
    unused[:, 0] = False  # a listener without any vector keeps a cosine of 0
    similarity[unused] = -np.inf
    return similarity.max(axis=1)
