"""BPR that counts hard negatives more, against a float64 numpy derivation."""

import keras
import numpy as np
import pytest
from keras import ops

from bcl_keras.losses import bpr


def expected(anchors, positives, temperature, hardness, margin=0.0):
    scores = anchors @ positives.T / temperature
    values = []
    for row, own in enumerate(np.diag(scores)):
        others = np.delete(scores[row], row)
        weights = np.exp(hardness * (others - others.max()))
        losses = np.log1p(np.exp(others - own + margin))
        values.append((weights * losses).sum() / weights.sum())
    return np.array(values)


@pytest.mark.parametrize(("hardness", "margin"), [(0.0, 0.0), (0.5, 0.0), (2.0, 1.5), (0.0, 3.0)])
def test_equals_the_weighted_mean(hardness, margin):
    rng = np.random.default_rng(0)
    anchors, positives = rng.normal(size=(2, 7, 4)) / 2
    found = ops.convert_to_numpy(bpr(anchors, positives, temperature=0.5, hardness=hardness, margin=margin))
    np.testing.assert_allclose(found, expected(anchors, positives, 0.5, hardness, margin), rtol=1e-5)


def test_masked_negatives_weigh_nothing():
    rng = np.random.default_rng(1)
    anchors, positives = rng.normal(size=(2, 5, 3))
    ids = np.array([0, 1, 2, 3, 0])
    found = ops.convert_to_numpy(bpr(anchors, positives, positive_ids=ids, hardness=1.0))
    alone = expected(anchors[:4], positives[:4], 1.0, 1.0)[0]
    assert found[0] == pytest.approx(alone, rel=1e-5)  # song 4 is its own positive again


def test_a_negative_hardness_is_refused():
    with pytest.raises(ValueError, match=r"Argument `hardness` must be at least 0. Received: -1"):
        bpr(np.eye(2), np.eye(2), hardness=-1)


def test_no_gradient_flows_through_the_weights():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("gradients are taken with TensorFlow here")
    import tensorflow as tf

    anchors = tf.Variable(np.random.default_rng(2).normal(size=(3, 3)).astype("float32"))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(bpr(anchors, tf.eye(3), hardness=3.0))
    scores = anchors.numpy()
    others = ~np.eye(3, dtype=bool)
    weights = np.where(others, np.exp(3.0 * scores), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    # d softplus(s_j - s_own) / d s_j = sigmoid(s_j - s_own), with the weights held fixed.
    slope = weights / (1 + np.exp(-(scores - np.diag(scores)[:, None])))
    np.fill_diagonal(slope, -slope.sum(axis=1))
    np.testing.assert_allclose(tape.gradient(loss, anchors), slope, rtol=1e-5)
