"""Rankings against sorting by hand, intervals against the normal law, choices on planted scores."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.preprocessing import StandardScaler

from bcl_keras import metrics
from bcl_keras.evaluation import ranking
from bcl_keras.evaluation.bootstrap import ClusterBootstrap, interval, resampled_rows
from bcl_keras.evaluation.choices import Judge, candidate_pool, choose_weights
from bcl_keras.evaluation.content import has_value, inverse_document_frequency, z_scores
from bcl_keras.evaluation.ranking import Rankings, relevant_mask


def _ties(songs: int = 30, candidates: int = 120) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    scores = rng.integers(-20, 20, (songs, candidates)).astype("float32")
    scores[scores == 0] *= rng.choice([-1, 1], (scores == 0).sum())  # -0.0 ties with 0.0
    relevant = rng.random(scores.shape) < 0.1
    relevant[3] = False
    return scores, relevant


@pytest.mark.parametrize("keys_at_once", [2**24, 500])
def test_metrics_are_those_of_sorting_by_hand(monkeypatch: pytest.MonkeyPatch, keys_at_once: int) -> None:
    monkeypatch.setattr(ranking, "_KEYS_AT_ONCE", keys_at_once)
    scores, relevant = _ties()
    found = Rankings.of(scores, relevant, 50)
    recall, ndcg, reciprocal = found.recall(20), found.ndcg(50), found.reciprocal_rank()
    for row in range(len(scores)):
        order = sorted(range(scores.shape[1]), key=lambda place: (-scores[row, place], place))
        hits = [bool(relevant[row, place]) for place in order]
        if row == 3:
            assert np.isnan([recall[row], ndcg[row], reciprocal[row]]).all()
            continue
        assert recall[row] == pytest.approx(sum(hits[:20]) / sum(hits))
        ideal = sum(1 / np.log2(place + 2) for place in range(min(sum(hits), 50)))
        assert ndcg[row] == pytest.approx(sum(h / np.log2(p + 2) for p, h in enumerate(hits[:50])) / ideal)
        assert reciprocal[row] == pytest.approx(1 / (1 + hits.index(True)))
    assert found[np.array([5, 3])].recall(20)[0] == recall[5] and len(found) == len(scores)


def test_keras_metrics_agree() -> None:
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 30, (40, 90)).astype("float32")
    positives = np.stack([rng.permutation(90)[:6] for _ in range(40)]).astype("int32")
    positives[rng.random(positives.shape) < 0.3] = -1
    positives[2] = -1
    found = Rankings.of(scores, relevant_mask(positives, 90), 10)
    ranks = metrics.positive_ranks(ops.convert_to_tensor(scores), ops.convert_to_tensor(positives))
    expected = [metrics.recall_at_k(ranks, 10), metrics.ndcg_at_k(ranks, 10), metrics.reciprocal_rank(ranks)]
    for ours, keras in zip((found.recall(10), found.ndcg(10), found.reciprocal_rank()), expected, strict=True):
        np.testing.assert_allclose(ours, ops.convert_to_numpy(keras), atol=1e-6)


def test_scores_must_be_finite() -> None:
    with pytest.raises(ValueError, match=r"expected finite numbers\. Received: 1 that are not"):
        Rankings.of(np.array([[0.0, np.nan]]), np.array([[True, False]]), 1)


def test_interval_is_that_of_the_normal_law() -> None:
    values = np.random.default_rng(2).normal(3.0, 2.0, 900)
    half = 1.96 * 2.0 / np.sqrt(900)
    by_rows = interval(values.mean(), values[resampled_rows(900, 2000, 0)].mean(axis=1))
    by_clusters = ClusterBootstrap(np.arange(900)).mean(values)
    for found in (by_rows, by_clusters):
        assert found.value == pytest.approx(values.mean())
        assert found.high - found.value == pytest.approx(half, rel=0.15)
        assert found.value - found.low == pytest.approx(half, rel=0.15)


def test_rows_of_one_cluster_are_no_further_evidence() -> None:
    values = np.random.default_rng(3).normal(size=400)
    once = ClusterBootstrap(np.arange(400)).mean(values)
    four_times = ClusterBootstrap(np.tile(np.arange(400), 4)).mean(np.tile(values, 4))
    assert np.allclose(four_times, once, atol=1e-6)
    ratio = ClusterBootstrap(np.arange(400)).ratio(2 * np.abs(values), np.abs(values))
    assert np.allclose(ratio, 2.0)


def test_the_pool_has_the_positives_and_a_sample() -> None:
    positives = np.array([[150, 3, -1], [-1, 180, 7]])
    everyone, same = candidate_pool(positives, 200, 200, np.random.default_rng(0))
    assert everyone.tolist() == list(range(200)) and same is positives
    pool, places = candidate_pool(positives, 200, 20, np.random.default_rng(0))
    assert 20 <= len(pool) <= 24
    assert (np.diff(pool) > 0).all()
    assert (np.where(places >= 0, pool[places], -1) == positives).all()


def test_weights_go_to_the_scores_that_retrieve() -> None:
    rng = np.random.default_rng(4)
    positives = np.stack([rng.permutation(300)[:5] for _ in range(50)])
    good = relevant_mask(positives, 300) + 0.6 * rng.normal(size=(50, 300))
    judge = Judge(positives, 10)
    chosen = choose_weights(
        {"noise": rng.normal(size=(50, 300)), "good": good}, judge.recall_of_scores, (0.0, 0.1, 1.0)
    )
    assert chosen["noise"] < chosen["good"]
    assert any(choose_weights({"a": good, "b": good}, lambda scores: -float(np.abs(scores).sum()), (0.0, 1.0)).values())


def test_content_statistics_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(5)
    counts = (rng.random((40, 7)) < 0.4).astype(float)
    idf = TfidfTransformer(smooth_idf=True).fit(counts).idf_ - 1  # scikit-learn adds 1
    np.testing.assert_allclose(inverse_document_frequency(counts.sum(axis=0), 40), idf)
    values = rng.normal(3, 5, (40, 3))
    values[:5, 1], values[:, 2] = np.nan, 4.0
    learnt_from = np.arange(40) < 30
    np.testing.assert_allclose(
        z_scores(values, learnt_from), StandardScaler().fit(values[learnt_from]).transform(values)
    )
    assert has_value(np.array([[0, 3], [0, 0]])).tolist() == [True, False]
    assert has_value(np.array([np.nan, 0.0])).tolist() == [False, True]
