"""Clusterings against planted groups, scikit-learn and scipy's densities."""

import numpy as np
import pytest
from scipy import stats
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from tfx_pipeline.targeting.rules.clustering import bic, cluster, nearest, normalize

ALGORITHMS = ["spherical", "kmeans", "minibatch", "bisecting", "agglomerative"]


def planted(groups: int = 4, each: int = 60, dim: int = 16, noise: float = 0.1, seed: int = 1):
    rng = np.random.default_rng(seed)
    centers = np.linalg.qr(rng.normal(size=(dim, dim)))[0][:groups]
    labels = rng.permutation(np.repeat(np.arange(groups), each))
    return normalize(centers[labels] + noise * rng.normal(size=(len(labels), dim))), labels, centers


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_finds_planted_groups(algorithm):
    points, truth, centers = planted()
    found = cluster(points, clusters=4, algorithm=algorithm, seed=3)
    assert adjusted_rand_score(truth, found.labels) > 0.95
    assert np.allclose(np.linalg.norm(found.centroids, axis=1), 1)
    assert (found.centroids @ centers.T).max(axis=0).min() > 0.95
    assert found.weights.tolist() == [60, 60, 60, 60]


def test_spherical_kmeans_is_a_fixed_point_as_good_as_scikit_learn():
    points = normalize(np.random.default_rng(0).normal(size=(500, 8)))
    found = cluster(points, clusters=6, iterations=300, seed=0)
    for k, centroid in enumerate(found.centroids):
        total = points[found.labels == k].sum(axis=0)
        assert np.allclose(centroid, total / np.linalg.norm(total))
    assert np.array_equal(found.labels, np.argmax(points @ found.centroids.T, axis=1))
    ours = (points * found.centroids[found.labels]).sum()
    theirs = []
    for seed in range(5):
        labels = KMeans(6, n_init=1, random_state=seed).fit_predict(points)
        theirs.append(sum(float(np.linalg.norm(points[labels == k].sum(axis=0))) for k in range(6)))
    assert ours > 0.97 * np.mean(theirs)


def test_weights_move_the_centroid():
    points = normalize(np.array([[1.0, 0.0], [0.0, 1.0]]))
    found = cluster(points, clusters=1, weights=np.array([3.0, 1.0]))
    assert np.allclose(found.centroids, [[3 / np.sqrt(10), 1 / np.sqrt(10)]])
    assert np.allclose(found.weights, [4.0])


def test_a_weight_equals_copies():
    points, _, _ = planted(groups=2, each=5)
    times = np.arange(1, 11)
    weighted = cluster(points, clusters=1, weights=times.astype(float))
    copied = cluster(np.repeat(points, times, axis=0), clusters=1)
    assert np.allclose(weighted.centroids, copied.centroids)


def test_start_draws_by_distance():
    # Three members in one place and one far away: the second start is always the other place.
    points = np.array([[1.0, 0], [1, 0], [1, 0], [0, 1]])
    for seed in range(20):
        assert cluster(points, clusters=2, seed=seed).weights.tolist() in ([3, 1], [1, 3])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_fewer_members_than_clusters(algorithm):
    one = cluster(np.array([[0.6, 0.8]]), clusters=5, algorithm=algorithm)
    assert np.allclose(one.centroids, [[0.6, 0.8]]) and one.labels.tolist() == [0]
    same = cluster(np.tile([0.6, 0.8], (7, 1)), clusters=3, algorithm=algorithm)
    assert np.allclose(same.centroids, [[0.6, 0.8]] * len(same.centroids)) and same.weights.sum() == 7
    assert cluster(np.zeros((0, 2)), clusters=3, algorithm=algorithm).centroids.shape == (0, 2)


def test_same_seed_same_clusters_other_seed_other_start():
    points = normalize(np.random.default_rng(2).normal(size=(300, 6)))
    first, again = (cluster(points, clusters=8, seed=5).centroids for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, cluster(points, clusters=8, seed=6).centroids)


@pytest.mark.parametrize("groups", [1, 2, 4, 8])
def test_auto_finds_the_number_of_groups(groups):
    points, _, _ = planted(groups=groups, each=40, noise=0.05)
    assert len(cluster(points, clusters="auto", max_clusters=32).centroids) == groups


def test_of_equally_good_numbers_of_clusters_the_smallest_is_taken():
    """Three distinct directions: 4, 8 and 16 clusters give the same three, up to rounding."""
    rng = np.random.default_rng(0)
    corners = normalize(rng.normal(size=(3, 5)))
    for seed in range(10):
        points = corners[rng.integers(0, 3, 90)]
        found = cluster(points, clusters="auto", max_clusters=16, seed=seed)
        expected = cluster(points, clusters=4, seed=seed)
        assert np.array_equal(found.centroids, expected.centroids) and len(found.centroids) == 3


def test_bic_is_that_of_gaussians():
    points, _, _ = planted(groups=2, each=30, dim=3, noise=0.2)
    fit = cluster(points, clusters=2)
    n, d = points.shape
    centers = fit.centroids[fit.labels]
    variance = np.sum((points - centers) ** 2) / (d * (n - 2))
    density = stats.norm.logpdf(points, centers, np.sqrt(variance)).sum()
    mixing = np.log(np.bincount(fit.labels) / n)[fit.labels].sum()
    assert bic(points, fit) == pytest.approx(-2 * (density + mixing) + 2 * (d + 1) * np.log(n))


def test_nearest_takes_the_first_of_equals():
    similarity = np.array([[0.1, 0.5, 0.5], [0.3, 0.5, 0.2], [0.3, 0.1, 0.9]])
    labels, values = nearest(similarity)
    assert labels.tolist() == np.argmax(similarity, axis=0).tolist() == [1, 0, 2]
    assert values.tolist() == [0.3, 0.5, 0.9]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vectors": np.zeros(3)}, r"`vectors` must have two dimensions.*Received: shape \(3,\)"),
        ({"weights": np.ones(2)}, r"`weights` must have one number per member, 3\. Received: shape \(2,\)"),
        ({"weights": np.array([1, -1, 1.0])}, "`weights` must be finite and not negative. Received"),
        ({"weights": np.array([1, np.nan, 1.0])}, "`weights` must be finite and not negative. Received"),
        ({"algorithm": "dbscan"}, "`algorithm` must be spherical, agglomerative or one of .* Received: 'dbscan'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        cluster(**{"vectors": np.eye(3), "clusters": 2, **arguments})
