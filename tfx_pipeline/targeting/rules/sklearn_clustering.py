"""scikit-learn's clusterings with the interface of our spherical k-means."""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.cluster import AgglomerativeClustering, BisectingKMeans, KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning

Array = npt.NDArray[Any]

AGGLOMERATIVE_LIMIT = 2000  # its distance matrix grows with the square of the members


def fit(points: Array, weight: Array, k: int, algorithm: str, iterations: int, seed: int) -> tuple[Array, Array]:
    """Returns the clusters of unit vectors that scikit-learn finds.

    Args:
        points: (n, d) unit vectors.
        weight: (n,) weights.
        k: Number of clusters.
        algorithm: `kmeans`, `minibatch`, `bisecting` or `agglomerative`.
        iterations: Most Lloyd iterations.
        seed: Of the starts.

    Returns:
        (centroids (k, d) of length one, labels (n,)). Clusters that lost all members are dropped.
    """
    if algorithm == "agglomerative":
        return _agglomerative(points, weight, k)
    kinds = {"kmeans": KMeans, "minibatch": MiniBatchKMeans, "bisecting": BisectingKMeans}
    if algorithm not in kinds:
        raise ValueError(
            f"`algorithm` must be spherical, agglomerative or one of {sorted(kinds)}. Received: {algorithm!r}"
        )
    model = kinds[algorithm](n_clusters=k, n_init=1, max_iter=iterations, random_state=seed % 2**32)
    with warnings.catch_warnings():
        # Fewer distinct listeners than clusters is no fault of the data; the empty clusters are dropped below.
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels = model.fit(points, sample_weight=weight).labels_
    return _centroids(points, weight, labels)


def _agglomerative(points: Array, weight: Array, k: int) -> tuple[Array, Array]:
    heaviest = np.sort(np.argsort(-weight, kind="stable")[:AGGLOMERATIVE_LIMIT])
    if k == len(heaviest) == 1:
        return points.copy(), np.zeros(1, np.int64)
    labels = AgglomerativeClustering(n_clusters=min(k, len(heaviest))).fit_predict(points[heaviest])
    centroids, _ = _centroids(points[heaviest], weight[heaviest], labels)
    return centroids, np.argmax(points @ centroids.T, axis=1)


def _centroids(points: Array, weight: Array, labels: Array) -> tuple[Array, Array]:
    present, labels = np.unique(labels, return_inverse=True)
    membership = np.zeros((len(present), len(points)))
    membership[labels, np.arange(len(points))] = weight
    sums = membership @ points
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    return sums / np.where(norms > 0, norms, 1), labels
