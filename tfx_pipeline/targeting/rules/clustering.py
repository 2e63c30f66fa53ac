"""Clustering of an audience: spherical k-means and scikit-learn's algorithms behind one call."""

import contextlib
import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from tfx_pipeline.targeting.config import Algorithm

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Clusters:
    """Centroids of an audience.

    Attributes:
        centroids: (k, d) float64 unit vectors.
        labels: (n,) int, the cluster of each member.
        weights: (k,) float64, the members' weight in each cluster.
    """

    centroids: Array
    labels: Array
    weights: Array


def one_thread() -> contextlib.AbstractContextManager[object]:
    """Returns a context in which BLAS has one thread.

    Workers are the parallelism here, and sums must not depend on the number of threads.
    """
    return threadpool_limits(limits=1, user_api="blas")


def cluster(
    vectors: Array,
    *,
    clusters: int | str,
    weights: Array | None = None,
    algorithm: Algorithm = "spherical",
    iterations: int = 20,
    max_clusters: int = 32,
    seed: int = 0,
) -> Clusters:
    """Returns at most `clusters` groups of unit vectors.

    Args:
        vectors: (n, d) members; rows of zeros have no direction and must be left out.
        clusters: K, or "auto": the K in 1, 2, 4, ... `max_clusters` of least BIC (see `bic`). Fewer members than K
            give as many clusters as members.
        weights: (n,) non-negative; None = all 1. If none is positive, all count the same.
        algorithm: `spherical` (k-means by cosine, k-means++ start, ours), `kmeans`, `minibatch`, `bisecting`
            (scikit-learn, Euclidean, centroids normalised afterwards), `agglomerative` (scikit-learn, Ward linkage,
            of the heaviest 2,000 members; the others join their nearest centroid).
        iterations: Most Lloyd iterations.
        max_clusters: Upper end of the search of "auto".
        seed: Same seed, same clusters.

    Returns:
        Clusters; for no member at all, zero centroids.

    References:
        CAT, section 3.2 of the paper; k-means++: Arthur and Vassilvitskii, 2007; spherical k-means: Dhillon and
        Modha, 2001.
    """
    points = np.ascontiguousarray(vectors, dtype=np.float64)
    if points.ndim != 2:
        raise ValueError(f"`vectors` must have two dimensions, members and components. Received: shape {points.shape}")
    weight = _member_weights(weights, len(points))
    if len(points) == 0:
        return Clusters(np.zeros((0, points.shape[1])), np.zeros(0, np.int64), np.zeros(0))
    if clusters != "auto":
        return _fit(points, weight, min(int(clusters), len(points)), algorithm, iterations, seed)
    sizes = [k for k in _doubling(max_clusters) if k <= len(points)]
    fits = [_fit(points, weight, k, algorithm, iterations, seed) for k in sizes]
    criteria = np.array([bic(points, fit, weight) for fit in fits])
    # Members of few distinct directions give the same clusters for several K, up to rounding: the smallest K wins.
    return fits[int(np.argmax(np.isclose(criteria, criteria.min(), rtol=1e-9, atol=1e-9)))]


def bic(vectors: Array, fit: Clusters, weights: Array | None = None) -> float:
    """Returns the Bayesian information criterion of a clustering; lower is better.

    The X-means criterion: members are Gaussian around their centroid's direction with one shared variance, weights are
    scaled to sum to n. `-2 log-likelihood + K (d + 1) log n`.

    Args:
        vectors: (n, d) members.
        fit: Their clusters.
        weights: (n,) non-negative; None = all 1.

    References:
        Pelleg and Moore, X-means, ICML 2000.
    """
    n, d = vectors.shape
    k = len(fit.centroids)
    if n <= k:
        return float("inf") if k > 1 else 0.0
    weight = _member_weights(weights, n)
    weight = weight * (n / weight.sum())
    residual = float(weight @ np.square(vectors - fit.centroids[fit.labels]).sum(axis=1))
    variance = max(residual / (d * (n - k)), 1e-12)
    sizes = np.bincount(fit.labels, weights=weight, minlength=k)
    mixing = float(np.sum(sizes * np.log(np.maximum(sizes, 1e-12) / n)))
    log_likelihood = mixing - n * d / 2 * np.log(2 * np.pi * variance) - d * (n - k) / 2
    return -2 * log_likelihood + k * (d + 1) * np.log(n)


def spherical_kmeans(points: Array, weight: Array, k: int, *, iterations: int, seed: int) -> tuple[Array, Array]:
    """Returns the clusters of k-means by cosine.

    Centroids are normalised weighted sums; members go to the centroid of largest inner product.

    Args:
        points: (n, d) float64 unit vectors.
        weight: (n,) positive weights.
        k: At most n.
        iterations: Most Lloyd iterations.
        seed: Of the starts.

    Returns:
        (centroids (k', d), labels (n,)); k' < k where fewer than k distinct members exist.
    """
    transposed = np.ascontiguousarray(points.T)
    centroids = _plus_plus(points, transposed, weight, k, seed)
    members = np.arange(len(points))
    labels = np.full(len(points), -1)
    for _ in range(iterations):
        closest, similarity = nearest(centroids @ transposed)
        if np.array_equal(closest, labels):
            break
        labels = closest
        membership = np.zeros((len(centroids), len(points)))
        membership[labels, members] = weight
        sums = membership @ points
        _fill_empty(sums, labels, points, similarity)
        centroids = normalize(sums)
    return centroids, nearest(centroids @ transposed)[0]


def nearest(similarity: Array) -> tuple[Array, Array]:
    """Returns the largest of k rows, column by column: labels (n,) and values (n,). The first wins a tie.

    Args:
        similarity: (k, n) similarities.
    """
    # numpy's argmax along the short axis of a (k, n) array is several times slower than k comparisons of long rows.
    best = similarity[0].copy()
    labels = np.zeros(similarity.shape[1], dtype=np.int64)
    for k in range(1, len(similarity)):
        larger = similarity[k] > best
        labels[larger] = k
        np.maximum(best, similarity[k], out=best)
    return labels, best


def normalize(vectors: Array) -> Array:
    """Returns vectors scaled to length one; a zero vector stays zero.

    Args:
        vectors: Vectors along the last axis.
    """
    norms = np.sqrt(np.einsum("...d,...d->...", vectors, vectors))[..., None]
    return vectors / np.where(norms > 0, norms, 1)


def _fit(points: Array, weight: Array, k: int, algorithm: Algorithm, iterations: int, seed: int) -> Clusters:
    if algorithm == "spherical":
        centroids, labels = spherical_kmeans(points, weight, k, iterations=iterations, seed=seed)
    else:
        # scikit-learn takes a second to import; the default rule does not need it.
        from tfx_pipeline.targeting.rules import sklearn_clustering

        centroids, labels = sklearn_clustering.fit(points, weight, k, algorithm, iterations, seed)
    return Clusters(centroids, labels, np.bincount(labels, weights=weight, minlength=len(centroids)))


def _plus_plus(points: Array, transposed: Array, weight: Array, k: int, seed: int) -> Array:
    """Draws up to k starts, each with probability proportional to weight x (1 - cosine to the nearest start)."""
    draws = np.random.Generator(np.random.PCG64(seed)).random(k)
    chosen = [_draw(weight, draws[0])]
    closest = points[chosen[0]] @ transposed
    for draw in draws[1:]:
        distance = 1 - closest
        distance[distance < 1e-12] = 0
        chance = weight * distance
        if not chance.any():  # every member equals a start: there are fewer than k distinct ones
            break
        chosen.append(_draw(chance, draw))
        np.maximum(closest, points[chosen[-1]] @ transposed, out=closest)
    return points[chosen]


def _draw(chance: Array, uniform: float) -> int:
    cumulative = np.cumsum(chance)
    # side="right" steps over members without a chance; the last one guards against rounding at the upper end.
    index = int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))
    return index if index < len(chance) else int(np.flatnonzero(chance)[-1])


def _fill_empty(sums: Array, labels: Array, points: Array, similarity: Array) -> None:
    """Gives each empty cluster the member farthest from its own centroid."""
    sizes = np.bincount(labels, minlength=len(sums))
    if sizes.all():
        return
    empty = np.flatnonzero(sizes == 0)
    farthest = np.argsort(similarity, kind="stable")[: len(empty)]
    sums[empty] = points[farthest]


def _member_weights(weights: Array | None, n: int) -> Array:
    if weights is None:
        return np.ones(n)
    weight = np.asarray(weights, dtype=np.float64)
    if weight.shape != (n,):
        raise ValueError(f"`weights` must have one number per member, {n}. Received: shape {weight.shape}")
    if not np.isfinite(weight).all() or (weight < 0).any():
        raise ValueError("`weights` must be finite and not negative. Received: a negative or non-finite weight")
    # A weight of zero would leave a member without influence and its cluster without a direction.
    return np.maximum(weight, 1e-12 * weight.max()) if weight.any() else np.ones(n)


def _doubling(last: int) -> list[int]:
    return [2**power for power in range(last.bit_length()) if 2**power <= last]
