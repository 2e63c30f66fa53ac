"""Retrieval metrics against scikit-learn and plain loops."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.metrics import ndcg_score

from bcl_keras.metrics import (
    MRR,
    NDCG,
    MeanReciprocalRank,
    NDCGAtK,
    RecallAtK,
    embedding_ranks,
    ndcg_at_k,
    positive_ranks,
    recall_at_k,
    reciprocal_rank,
)

QUERIES, CANDIDATES, DIM = 12, 40, 5


def example(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    queries, candidates = rng.normal(size=(QUERIES, DIM)), rng.normal(size=(CANDIDATES, DIM))
    positives = np.full((QUERIES, 6), -1)
    for row in range(QUERIES - 1):  # the last query has none
        count = rng.integers(1, 7)
        positives[row, :count] = rng.choice(CANDIDATES, count, replace=False)
    return queries.astype("float32"), candidates.astype("float32"), positives.astype("int32")


def sorted_ranks(scores: np.ndarray, positives: np.ndarray) -> np.ndarray:
    order = np.argsort(-scores, axis=1, kind="stable")
    place = np.argsort(order, axis=1)
    return np.where(positives >= 0, np.take_along_axis(place, np.maximum(positives, 0), axis=1), -1)


def to_numpy(values: Any) -> np.ndarray:
    return ops.convert_to_numpy(values)


def test_ranks_with_ties_broken_by_position() -> None:
    _, _, positives = example()
    scores = np.random.default_rng(1).integers(0, 5, (QUERIES, CANDIDATES)).astype("float32")
    ranks = positive_ranks(ops.convert_to_tensor(scores), ops.convert_to_tensor(positives))
    np.testing.assert_array_equal(to_numpy(ranks), sorted_ranks(scores, positives))


@pytest.mark.parametrize("block_size", [1, 7, 40, 4096])
def test_blocks_give_the_same_ranks(block_size: int) -> None:
    queries, candidates, positives = example()
    candidates[10:20] = candidates[:10]  # ties across blocks
    # Eighths: their products and sums are exact, whatever order a block adds them in.
    queries, candidates = np.round(queries * 8) / 8, np.round(candidates * 8) / 8
    ranks = to_numpy(embedding_ranks(queries, candidates, positives, block_size=block_size))
    np.testing.assert_array_equal(ranks, to_numpy(embedding_ranks(queries, candidates, positives)))
    assert (ranks[positives >= 0] >= 0).all() and (ranks[positives < 0] == -1).all()


def test_embedding_ranks_sort_inner_products() -> None:
    queries, candidates, positives = example()
    scores = queries.astype("float64") @ candidates.T
    np.testing.assert_array_equal(
        to_numpy(embedding_ranks(queries, candidates, positives)), sorted_ranks(scores, positives)
    )


def test_excluded_candidate_is_not_ranked() -> None:
    candidates = np.array([[3.0], [2.0], [1.0]], "float32")
    query, positives = np.array([[1.0]], "float32"), np.array([[2]])
    assert to_numpy(embedding_ranks(query, candidates, positives)).item() == 2
    assert to_numpy(embedding_ranks(query, candidates, positives, exclude=np.array([0]))).item() == 1


@pytest.mark.parametrize("k", [1, 5, 100])
def test_values_against_loops_and_scikit_learn(k: int) -> None:
    queries, candidates, positives = example()
    scores = queries @ candidates.T
    ranks = ops.convert_to_tensor(sorted_ranks(scores, positives))
    for row in range(QUERIES - 1):
        wanted = set(positives[row][positives[row] >= 0])
        best = np.argsort(-scores[row], kind="stable")
        assert to_numpy(recall_at_k(ranks, k))[row] == pytest.approx(len(wanted & set(best[:k])) / len(wanted))
        relevant = np.isin(np.arange(CANDIDATES), list(wanted))[None].astype(float)
        assert to_numpy(ndcg_at_k(ranks, k))[row] == pytest.approx(
            ndcg_score(relevant, scores[row][None], k=k), rel=1e-5
        )
        first = next(place for place, song in enumerate(best, start=1) if song in wanted)
        assert to_numpy(reciprocal_rank(ranks))[row] == pytest.approx(1 / first)


def test_query_without_positives_is_nan_and_left_out() -> None:
    queries, candidates, positives = example()
    scores = queries @ candidates.T
    for metric, function in (
        (RecallAtK(5), lambda ranks: recall_at_k(ranks, 5)),
        (NDCG(5), lambda ranks: ndcg_at_k(ranks, 5)),
        (MeanReciprocalRank(), reciprocal_rank),
    ):
        values = to_numpy(function(ops.convert_to_tensor(sorted_ranks(scores, positives))))
        assert np.isnan(values[-1]) and not np.isnan(values[:-1]).any()
        metric.update_state(positives[:5], scores[:5])
        metric.update_state(positives[5:], scores[5:])
        assert float(metric.result()) == pytest.approx(values[:-1].mean(), rel=1e-5)


def test_metric_scores_given_candidates_in_blocks() -> None:
    queries, candidates, positives = example()
    by_scores, by_vectors = RecallAtK(5), RecallAtK(5, block_size=7)
    by_scores.update_state(positives, queries @ candidates.T)
    by_vectors.set_candidates(candidates)
    by_vectors.update_state(positives, queries)
    assert float(by_vectors.result()) == pytest.approx(float(by_scores.result()))


def test_sample_weights_and_reset() -> None:
    metric = RecallAtK(1)
    positives, scores = np.array([[0], [0]]), np.array([[2.0, 1.0], [1.0, 2.0]], "float32")
    metric.update_state(positives, scores, sample_weight=np.array([3.0, 1.0]))
    assert float(metric.result()) == pytest.approx(0.75)
    metric.reset_state()
    assert float(metric.result()) == 0.0


@pytest.mark.parametrize("metric", [RecallAtK(7), NDCG(7), MeanReciprocalRank()])
def test_config_survives(metric: keras.metrics.Metric) -> None:
    restored = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert type(restored) is type(metric) and restored.get_config() == metric.get_config()


def test_earlier_names_are_the_same_metrics() -> None:
    assert NDCGAtK is NDCG
    assert MRR is MeanReciprocalRank


def test_large_positions_are_integers_throughout() -> None:
    position = 2**24 + 1  # float32 cannot hold it
    candidates = np.ones((position + 1, 1), "float32")
    ranks = embedding_ranks(np.ones((1, 1), "float32"), candidates, np.array([[position]]), block_size=2**22)
    assert to_numpy(ranks).item() == position


def test_positions_that_are_no_integers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must hold integer positions of candidates. Received: dtype float"):
        RecallAtK(1).update_state(np.array([[0.0]]), np.array([[1.0]], "float32"))


def test_error_messages() -> None:
    ranks = np.zeros((2, 1), "int32")
    for function in (recall_at_k, ndcg_at_k):
        with pytest.raises(ValueError, match=r"`k` must be at least 1. Received: 0"):
            function(ranks, 0)
    with pytest.raises(ValueError, match=r"`k` must be at least 1. Received: 0"):
        RecallAtK(0)
    with pytest.raises(ValueError, match=r"must have one vector length. Received: shapes \(\(2, 3\), \(4, 2\)\)"):
        embedding_ranks(np.zeros((2, 3)), np.zeros((4, 2)), ranks)
