"""Scoring rules against loops over plain numbers."""

import dataclasses
import math

import numpy as np
import pytest

from tfx_pipeline.targeting.config import TargetingConfig
from tfx_pipeline.targeting.rules.clustering import normalize
from tfx_pipeline.targeting.rules.scores import (
    Query,
    make_query,
    score_listeners,
    score_vectors,
    share_out,
    weighted_counts,
)


@pytest.fixture
def audience():
    rng = np.random.default_rng(4)
    vectors = normalize(rng.normal(size=(40, 1, 6))).astype(np.float32)
    return vectors, rng.random(40) * 3, normalize(rng.normal(size=6))


def cosine(a, b):
    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def query_of(song, audience, counts, config, seed) -> Query:
    """The query of a rule that compares vectors: there must be one."""
    query = make_query(song, audience, counts, config, seed)
    assert query is not None
    return query


def test_weighted_counts_by_hand():
    counts = weighted_counts(np.array([0, 2, 0, 1]), np.array([0.5, 0.25, 0.75, -0.9]), 4)
    assert counts.tolist() == [1.25, 0.0, 0.25, 0.0]


def test_song_and_average_are_cosines(audience):
    vectors, counts, song = audience
    by_song = score_listeners(
        vectors,
        counts,
        make_query(song, vectors, counts, TargetingConfig(rule="song"), 0),
        TargetingConfig(rule="song"),
    )
    mean = sum(count * vector[0].astype(float) for count, vector in zip(counts, vectors, strict=True))
    config = TargetingConfig(rule="average")
    by_mean = score_listeners(vectors, counts, make_query(song, vectors, counts, config, 0), config)
    for i in range(len(vectors)):
        assert by_song.score[i] == pytest.approx(cosine(vectors[i, 0], song), abs=1e-6)
        assert by_mean.score[i] == pytest.approx(cosine(vectors[i, 0], mean), abs=1e-6)


def test_cat_is_the_closest_centroid(audience):
    vectors, counts, song = audience
    config = TargetingConfig(rule="cat", clusters=5)
    query = query_of(song, vectors, counts, config, 7)
    scores = score_listeners(vectors, counts, query, config)
    assert query.centers.shape == (5, 6)
    for i in range(len(vectors)):
        cosines = [cosine(vectors[i, 0], center) for center in query.centers]
        assert scores.score[i] == pytest.approx(max(cosines), abs=1e-6)
        assert scores.cluster[i] == int(np.argmax(cosines))
    assert query.weights.sum() == pytest.approx(counts.sum())


def test_pooling(audience):
    vectors, _, song = audience
    centers = normalize(np.random.default_rng(0).normal(size=(3, 6)))
    query = Query(centers, np.zeros(3), np.ones(3), song)
    mean, _ = score_vectors(vectors, query, pooling="mean")
    soft, _ = score_vectors(vectors, query, pooling="logsumexp", temperature=0.2)
    sharp, _ = score_vectors(vectors, query, pooling="logsumexp", temperature=1e-6)
    largest, _ = score_vectors(vectors, query)
    for i in range(len(vectors)):
        cosines = [cosine(vectors[i, 0], center) for center in centers]
        assert mean[i] == pytest.approx(sum(cosines) / 3, abs=1e-6)
        assert soft[i] == pytest.approx(0.2 * math.log(sum(math.exp(c / 0.2) for c in cosines) / 3), abs=1e-6)
    assert np.allclose(sharp, largest, atol=1e-5)


def test_hybrid_adds_the_log_count(audience):
    vectors, counts, song = audience
    config = TargetingConfig(rule="hybrid", hybrid_with="song", count_weight=0.25)
    query = dataclasses.replace(query_of(song, vectors, counts, config, 0), count_unit=0.8)
    scores = score_listeners(vectors, counts, query, config)
    for i in range(len(vectors)):
        expected = cosine(vectors[i, 0], song) + 0.25 * math.log(1 + counts[i] / 0.8)
        assert scores.score[i] == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(scores.count, counts)


def test_the_song_in_cat(audience):
    vectors, counts, song = audience
    plain = TargetingConfig(rule="cat", clusters=4)
    centers = TargetingConfig(rule="cat", clusters=4, song_role="centroids", song_weight=0.5)
    people = TargetingConfig(rule="cat", clusters=4, song_role="listeners", song_weight=0.5)
    found = {c: query_of(song, vectors, counts, c, 1) for c in (plain, centers, people)}
    scores = {c: score_listeners(vectors, counts, query, c).score for c, query in found.items()}
    for i in range(len(vectors)):
        cosines = [cosine(vectors[i, 0], c) for c in found[plain].centers]
        to_song = [0.5 * cosine(c, song) for c in found[plain].centers]
        assert scores[centers][i] == pytest.approx(max(a + b for a, b in zip(cosines, to_song, strict=True)), abs=1e-6)
        assert scores[people][i] == pytest.approx(max(cosines) + 0.5 * cosine(vectors[i, 0], song), abs=1e-6)
    # As weight of the members, one cluster: the mean weighted by count and cosine to the song.
    members = TargetingConfig(rule="cat", clusters=1, song_role="members")
    weight = [counts[i] * max(0.0, cosine(vectors[i, 0], song)) for i in range(len(vectors))]
    mean = sum(w * vector[0].astype(float) for w, vector in zip(weight, vectors, strict=True))
    assert cosine(query_of(song, vectors, counts, members, 0).centers[0], mean) == pytest.approx(1, abs=1e-6)


def test_members_can_count_the_same(audience):
    vectors, counts, song = audience
    query = query_of(song, vectors, counts, TargetingConfig(rule="cat", clusters=1, members="uniform"), 0)
    assert cosine(query.centers[0], vectors[:, 0].astype(float).sum(axis=0)) == pytest.approx(1, abs=1e-6)


def test_the_closest_interest_counts(audience):
    _, _, song = audience
    rng = np.random.default_rng(0)
    two = normalize(rng.normal(size=(10, 2, 6))).astype(np.float32)
    two[3, 1] = 0  # a listener of one interest, whose cosine may be negative
    two[4] = 0  # a listener without a vector
    scores, _ = score_vectors(two, Query(song[None], np.zeros(1), np.ones(1), song))
    for i in range(10):
        cosines = [cosine(v, song) for v in two[i] if v.any()]
        assert scores[i] == pytest.approx(max(cosines, default=0.0), abs=1e-6)


def test_shares_follow_the_weight_of_the_clusters():
    rng = np.random.default_rng(0)
    clusters = np.repeat([0, 1, 2], 100)
    scores = rng.random(300)
    shared = share_out(scores, clusters, np.array([5.0, 3.0, 2.0]))
    first = np.argsort(-shared)[:20]
    assert np.bincount(clusters[first]).tolist() == [10, 6, 4]
    for k, size in enumerate([10, 6, 4]):
        best = 100 * k + np.argsort(-scores[clusters == k])[:size]
        assert set(first[clusters[first] == k]) == set(best)


def test_places_go_to_those_who_may_become_targets():
    vectors = np.eye(4, dtype=np.float32)[[0] * 4 + [1] * 4][:, None]
    query = Query(np.eye(4)[:2], np.zeros(2), np.ones(2), np.zeros(4))
    eligible = np.array([False] * 3 + [True] * 5)
    config = TargetingConfig(rule="cat", quota=True, threshold=0.5)
    scores = score_listeners(vectors, np.ones(8), query, config, eligible)
    best = [row for row in np.argsort(-scores.score, kind="stable") if scores.allowed[row]]
    assert scores.cluster[best][:2].tolist() in ([0, 1], [1, 0]) and len(best) == 5
    none = score_listeners(vectors, np.ones(8), query, dataclasses.replace(config, threshold=1.5), eligible)
    assert not none.allowed.any()  # the threshold asks for a fit, not for a place


def test_the_mean_of_an_audience_without_weight_is_their_mean():
    vectors = np.eye(4, dtype=np.float32)[:2][:, None]
    query = query_of(np.zeros(4), vectors, np.zeros(2), TargetingConfig(rule="average"), 0)
    assert query.centers[0] == pytest.approx([0.5**0.5, 0.5**0.5, 0, 0])


def test_zero_vectors_score_zero_and_join_no_cluster():
    vectors = np.zeros((3, 1, 4), np.float32)
    vectors[0, 0, 0] = 1
    query = query_of(np.ones(4), vectors, np.ones(3), TargetingConfig(rule="cat", clusters=3), 0)
    assert query.centers.tolist() == [[1, 0, 0, 0]]
    assert score_listeners(vectors, np.ones(3), query, TargetingConfig(rule="cat")).score.tolist() == [1, 0, 0]
    nobody = make_query(np.ones(4), np.zeros((2, 1, 4), np.float32), np.ones(2), TargetingConfig(rule="cat"), 0)
    scores = score_listeners(np.zeros((2, 1, 4), np.float32), np.ones(2), nobody, TargetingConfig(rule="cat"))
    assert scores.score.tolist() == [0, 0] and scores.cluster.tolist() == [-1, -1]
