"""Losses that rank an anchor's positive above negatives."""

from __future__ import annotations

from typing import Any

from keras import ops

from bcl_keras.losses.scores import MASKED, pair_scores

Tensor = Any


def bpr(
    anchors: Tensor,
    positives: Tensor,
    negatives: Tensor | None = None,
    *,
    temperature: float = 1.0,
    positive_ids: Tensor | None = None,
    negative_ids: Tensor | None = None,
    known_positives: Tensor | None = None,
    negative_log_q: Tensor | None = None,
    hardness: float = 0.0,
    margin: float = 0.0,
) -> Tensor:
    """Compute Bayesian personalised ranking: `-sum_j w_j log sigmoid((z.z_pos - z.z_j) / temperature - margin)`.

    With `hardness` 0, `w_j` is one over the number of negatives. Above 0, `w_j` is proportional to
    `exp(hardness z.z_j / temperature)`, as if negatives were drawn by their scores and not uniformly.

    Args:
        anchors: `(n, d)`.
        positives: `(n, d)`, row i similar to anchor i.
        negatives: `(m, d)` shared by all anchors, `(n, k, d)` per anchor, or `None` (default) for the other positives
            of the batch.
        temperature: Divides the scores. Defaults to 1.
        positive_ids: `(n,)` integers. With them, negatives that are the anchor's positive are left out.
        negative_ids: `(m,)` or `(n, k)`. Needed to mask given negatives. Those of the batch have `positive_ids`.
        known_positives: `(n, P)` ids of further positives of each anchor, padded with -1: left out too.
        negative_log_q: `(m,)` or `(n, k)` log-probability of drawing each negative; weighs the negatives by its
            inverse, as if they had been drawn uniformly. Defaults to equal weights.
        hardness: How much more a negative counts that scores high; at least 0. No gradient flows through the weights.
            Defaults to 0.
        margin: By how much a positive must score above a negative, in scores divided by the temperature. Defaults to 0.

    Returns:
        `(n,)` float32; 0 where no negative is left.

    Raises:
        ValueError: If shapes disagree, the temperature is not positive, the hardness is negative, or one song is alone
            in its batch.

    References:
        Zhao et al., WWW'23 Companion, section 3.1; Rendle et al., UAI'09; negatives by score: Zhang et al., SIGIR'13.
    """
    check_hardness(hardness)
    positive, negative, valid = pair_scores(
        anchors, positives, negatives, temperature, positive_ids, negative_ids, known_positives
    )
    weights = ops.cast(valid, "float32")
    if negative_log_q is not None:
        log_q = ops.cast(negative_log_q, "float32")
        weights = weights * ops.exp(ops.min(log_q, axis=-1, keepdims=True) - log_q)
    if hardness:
        known = ops.where(valid, ops.stop_gradient(negative), MASKED)
        weights = weights * ops.exp(hardness * (known - ops.max(known, axis=-1, keepdims=True)))
    per_negative = ops.softplus(negative - positive[:, None] + margin)  # -log sigmoid(x) = softplus(-x)
    return ops.sum(weights * per_negative, axis=-1) / ops.maximum(ops.sum(weights, axis=-1), 1e-12)


def sampled_softmax(
    anchors: Tensor,
    positives: Tensor,
    negatives: Tensor | None = None,
    *,
    temperature: float = 1.0,
    positive_ids: Tensor | None = None,
    negative_ids: Tensor | None = None,
    known_positives: Tensor | None = None,
    positive_log_q: Tensor | None = None,
    negative_log_q: Tensor | None = None,
) -> Tensor:
    """Compute the cross-entropy of the positive among sampled candidates.

    `-log exp(s_pos) / (exp(s_pos) + sum_j exp(s_j))` with `s = z.z / temperature - log q`.

    Args:
        anchors: `(n, d)`.
        positives: `(n, d)`, row i similar to anchor i.
        negatives: As in `bpr`. Defaults to the other positives of the batch.
        temperature: Divides the scores. Defaults to 1.
        positive_ids: As in `bpr`.
        negative_ids: As in `bpr`.
        known_positives: As in `bpr`.
        positive_log_q: `(n,)` log-probability of drawing each positive as a candidate. Defaults to no correction.
        negative_log_q: `(m,)` or `(n, k)`. Negatives of the batch have `positive_log_q`.

    Returns:
        `(n,)` float32.

    Raises:
        ValueError: As `bpr`.

    References:
        Bengio and Senecal, 2008; Yi et al., RecSys'19 (log-q correction in batches).
    """
    positive, negative, valid = pair_scores(
        anchors, positives, negatives, temperature, positive_ids, negative_ids, known_positives
    )
    if negative_log_q is None and negatives is None:
        negative_log_q = positive_log_q
    if positive_log_q is not None:
        positive = positive - ops.cast(positive_log_q, "float32")
    if negative_log_q is not None:
        negative = negative - ops.cast(negative_log_q, "float32")
    logits = ops.concatenate([positive[:, None], ops.where(valid, negative, MASKED)], axis=1)
    return ops.logsumexp(logits, axis=1) - positive


def check_hardness(hardness: float) -> None:
    """Raise if the hardness is below 0."""
    if hardness < 0:
        raise ValueError(f"Argument `hardness` must be at least 0. Received: {hardness}")
