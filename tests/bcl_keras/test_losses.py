"""Losses against formulas written anew in float64."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy_reference as reference
import pytest
from keras import ops

from bcl_keras.losses import BPR, InfoNCE, SampledSoftmax, bpr, info_nce, sampled_softmax

N, M, K, D = 6, 9, 4, 5


def vectors(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


ANCHORS, POSITIVES = vectors(N, D), vectors(N, D, seed=1)


def to_numpy(values: Any) -> np.ndarray:
    return ops.convert_to_numpy(values)


def softplus(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(x))


def bpr_expected(negative_scores: list[np.ndarray], temperature: float) -> np.ndarray:
    own = (ANCHORS * POSITIVES).sum(axis=1) / temperature
    return np.array(
        [softplus(scores - own[i]).mean() if len(scores) else 0.0 for i, scores in enumerate(negative_scores)]
    )


def softmax_expected(own: np.ndarray, negative_scores: list[np.ndarray]) -> np.ndarray:
    return np.array(
        [np.log(np.exp(own[i]) + np.exp(scores).sum()) - own[i] for i, scores in enumerate(negative_scores)]
    )


def in_batch(temperature: float, left_out: dict[int, set[int]] | None = None) -> list[np.ndarray]:
    scores = ANCHORS.astype("float64") @ POSITIVES.T / temperature
    kept = [[j for j in range(N) if j != i and j not in (left_out or {}).get(i, set())] for i in range(N)]
    return [scores[i, kept[i]] for i in range(N)]


def test_bpr_in_batch() -> None:
    np.testing.assert_allclose(
        to_numpy(bpr(ANCHORS, POSITIVES, temperature=0.5)), bpr_expected(in_batch(0.5), 0.5), 1e-5
    )


def test_bpr_with_shared_and_own_negatives() -> None:
    shared, own = vectors(M, D, seed=2), vectors(N, K, D, seed=3)
    scores = [shared.astype("float64") @ anchor for anchor in ANCHORS]
    np.testing.assert_allclose(to_numpy(bpr(ANCHORS, POSITIVES, shared)), bpr_expected(scores, 1.0), rtol=1e-5)
    scores = [own[i].astype("float64") @ ANCHORS[i] for i in range(N)]
    np.testing.assert_allclose(to_numpy(bpr(ANCHORS, POSITIVES, own)), bpr_expected(scores, 1.0), rtol=1e-5)


def test_accidental_hits_are_no_negatives() -> None:
    ids = np.array([3, 7, 3, 8, 9, 10])  # songs 0 and 2 of the batch share their positive
    known = np.array([[8, -1], [-1, -1], [9, 10], [-1, -1], [3, 7], [-1, -1]])
    left_out = {0: {2, 3}, 2: {0, 4, 5}, 4: {0, 1, 2}}
    arguments: dict[str, Any] = {"positive_ids": ids, "known_positives": known}
    np.testing.assert_allclose(
        to_numpy(bpr(ANCHORS, POSITIVES, **arguments)), bpr_expected(in_batch(1.0, left_out), 1.0), rtol=1e-5
    )
    own = (ANCHORS * POSITIVES).sum(axis=1)
    np.testing.assert_allclose(
        to_numpy(sampled_softmax(ANCHORS, POSITIVES, **arguments)),
        softmax_expected(own, in_batch(1.0, left_out)),
        rtol=1e-5,
    )


def test_given_negatives_are_masked_by_their_ids() -> None:
    shared, ids = vectors(M, D, seed=2), np.arange(N)
    negative_ids = np.array([0, 1, 20, 21, 22, 23, 24, 25, 26])
    scores = [(shared.astype("float64") @ ANCHORS[i])[negative_ids != i] for i in range(N)]
    result = bpr(ANCHORS, POSITIVES, shared, positive_ids=ids, negative_ids=negative_ids)
    np.testing.assert_allclose(to_numpy(result), bpr_expected(scores, 1.0), rtol=1e-5)


def test_anchor_without_negatives_left_costs_nothing() -> None:
    result = to_numpy(bpr(ANCHORS, POSITIVES, positive_ids=np.zeros(N, "int32")))
    np.testing.assert_array_equal(result, 0.0)
    result = to_numpy(sampled_softmax(ANCHORS, POSITIVES, positive_ids=np.zeros(N, "int32")))
    np.testing.assert_allclose(result, 0.0, atol=1e-6)


def test_sampled_softmax_in_batch_with_log_q() -> None:
    log_q = np.log(np.random.default_rng(5).dirichlet(np.ones(N))).astype("float32")
    scores = ANCHORS.astype("float64") @ POSITIVES.T / 0.5 - log_q[None, :]
    expected = softmax_expected(np.diag(scores), [np.delete(scores[i], i) for i in range(N)])
    result = sampled_softmax(ANCHORS, POSITIVES, temperature=0.5, positive_log_q=log_q)
    np.testing.assert_allclose(to_numpy(result), expected, rtol=1e-5)


def test_sampled_softmax_is_crossentropy_over_the_batch() -> None:
    logits = ops.matmul(ANCHORS, ops.transpose(ops.convert_to_tensor(POSITIVES)))
    expected = keras.losses.sparse_categorical_crossentropy(np.arange(N), logits, from_logits=True)
    np.testing.assert_allclose(to_numpy(sampled_softmax(ANCHORS, POSITIVES)), to_numpy(expected), rtol=1e-5)


def test_bpr_log_q_restores_uniform_negatives() -> None:
    # Song 1 is drawn four times as often as the others: with log q its copies count once in all.
    rows = np.array([1, 1, 1, 1, 0, 2])
    log_q = np.log(np.where(rows == 1, 4.0, 1.0)).astype("float32")
    songs = vectors(3, D, seed=6)
    weighted = bpr(ANCHORS, POSITIVES, songs[rows], negative_log_q=log_q)
    np.testing.assert_allclose(to_numpy(weighted), to_numpy(bpr(ANCHORS, POSITIVES, songs)), rtol=1e-5)


def test_info_nce_against_independent_formula() -> None:
    expected = reference.info_nce(ANCHORS, POSITIVES, 0.2)
    np.testing.assert_allclose(to_numpy(info_nce(ANCHORS, POSITIVES, temperature=0.2)), expected, rtol=1e-5)


def test_info_nce_one_direction_and_repeated_songs() -> None:
    ids = np.array([1, 2, 1, 3, 4, 5])
    cosines = reference.unit(ANCHORS.astype("float64")) @ reference.unit(POSITIVES.astype("float64")).T / 0.2
    kept = (ids[:, None] != ids[None, :]) | np.eye(N, dtype=bool)
    expected = np.log((np.exp(cosines) * kept).sum(axis=1)) - np.diag(cosines)
    result = info_nce(ANCHORS, POSITIVES, temperature=0.2, ids=ops.convert_to_tensor(ids), symmetric=False)
    np.testing.assert_allclose(to_numpy(result), expected, rtol=1e-5)


def test_zero_vectors_keep_losses_and_gradients_finite() -> None:
    tf = pytest.importorskip("tensorflow")
    view = tf.Variable(np.zeros((3, D), "float32"))
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(info_nce(view, tf.constant(vectors(3, D))))
    assert np.isfinite(tape.gradient(value, view).numpy()).all() and np.isfinite(value.numpy())


def test_half_precision_embeddings_are_scored_in_float32() -> None:
    halves = [ops.cast(ops.convert_to_tensor(x), "float16") for x in (ANCHORS, POSITIVES)]
    result = sampled_softmax(*halves, temperature=0.01)
    assert keras.backend.standardize_dtype(result.dtype) == "float32"
    assert np.isfinite(to_numpy(result)).all()


@pytest.mark.parametrize(
    ("loss", "function"),
    [(BPR(0.5), bpr), (SampledSoftmax(0.5), sampled_softmax), (InfoNCE(0.5), info_nce)],
)
def test_classes_average_their_functions(loss: keras.losses.Loss, function: Any) -> None:
    stacked = np.stack([ANCHORS, POSITIVES], axis=1)
    ids = np.array([1, 2, 1, 3, 4, 5])
    name = "ids" if function is info_nce else "positive_ids"
    expected = function(ANCHORS, POSITIVES, temperature=0.5, **{name: ops.convert_to_tensor(ids)})
    assert float(loss(ids, stacked)) == pytest.approx(to_numpy(expected).mean(), rel=1e-5)
    restored = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(restored) is type(loss) and restored.temperature == 0.5


def test_class_takes_known_positives_as_further_columns() -> None:
    ids, known = np.arange(N), np.array([[1], [-1], [-1], [-1], [-1], [-1]])
    stacked = np.stack([ANCHORS, POSITIVES], axis=1)
    expected = bpr(
        ANCHORS, POSITIVES, positive_ids=ops.convert_to_tensor(ids), known_positives=ops.convert_to_tensor(known)
    )
    assert float(BPR()(np.c_[ids, known], stacked)) == pytest.approx(to_numpy(expected).mean(), rel=1e-5)


@pytest.mark.parametrize("loss", [bpr, sampled_softmax, info_nce])
def test_error_messages(loss: Any) -> None:
    with pytest.raises(ValueError, match=r"must hold at least 2 songs: negatives come from the batch. Received: 1"):
        loss(ANCHORS[:1], POSITIVES[:1])
    with pytest.raises(ValueError, match=r"must both be \(n, d\). Received: \(\(6, 5\), \(6, 4\)\)"):
        loss(ANCHORS, POSITIVES[:, :4])
    with pytest.raises(ValueError, match=r"`temperature` must be above 0. Received: 0"):
        loss(ANCHORS, POSITIVES, temperature=0)


@pytest.mark.parametrize("loss", [BPR, SampledSoftmax, InfoNCE])
def test_class_error_message(loss: type) -> None:
    with pytest.raises(ValueError, match=r"`temperature` must be above 0. Received: -1"):
        loss(temperature=-1)


def test_one_song_is_enough_with_given_negatives() -> None:
    assert to_numpy(bpr(ANCHORS[:1], POSITIVES[:1], vectors(M, D))).shape == (1,)
