"""Losses over embeddings: pure functions that return one value per example, and Keras classes around them."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from bcl_keras.ops.numerics import l2_normalize

Tensor = Any

# Stands for minus infinity where that would make 0 * inf.
MASKED = -1e9
PADDING = -1  # fills rows of known positives


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
    `exp(hardness z.z_j / temperature)`: what drawing the negatives by their scores in place of uniformly would give.

    Args:
        anchors: `(n, d)`.
        positives: `(n, d)`, row i similar to anchor i.
        negatives: `(m, d)` shared by all anchors, `(n, k, d)` per anchor, or `None` (default) for the other positives
            of the batch.
        temperature: Divides the scores. Defaults to 1.
        positive_ids: `(n,)` integers. With them, negatives that are the anchor's positive are left out.
        negative_ids: `(m,)` or `(n, k)`; `positive_ids` in a batch's stead. Needed to mask given negatives.
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
    if hardness < 0:
        raise ValueError(f"Argument `hardness` must be at least 0. Received: {hardness}")
    positive, negative, valid = _scores(
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
        anchors, positives, negatives, temperature, positive_ids, negative_ids, known_positives: As in `bpr`.
        positive_log_q: `(n,)` log-probability of drawing each positive as a candidate. Defaults to no correction.
        negative_log_q: `(m,)` or `(n, k)`; `positive_log_q` in a batch's stead.

    Returns:
        `(n,)` float32.

    Raises:
        ValueError: As `bpr`.

    References:
        Bengio and Senecal, 2008; Yi et al., RecSys'19 (log-q correction in batches).
    """
    positive, negative, valid = _scores(
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


def info_nce(
    view_1: Tensor, view_2: Tensor, *, temperature: float = 0.15, ids: Tensor | None = None, symmetric: bool = True
) -> Tensor:
    """Compute infoNCE between two views of each song with the batch's other songs as negatives.

    `-log exp(cos(u_i, v_i) / temperature) / sum_j exp(cos(u_i, v_j) / temperature)`, the mean of both directions.

    Args:
        view_1: `(n, d)`.
        view_2: `(n, d)`, row i the same song as in `view_1`.
        temperature: Divides the cosines. Defaults to 0.15.
        ids: `(n,)` integers: a song that is drawn twice is no negative of itself. Defaults to all different.
        symmetric: Whether to add the direction from view 2 to view 1. Defaults to `True`.

    Returns:
        `(n,)` float32.

    Raises:
        ValueError: If shapes disagree, the temperature is not positive, or one song is alone in its batch.

    References:
        Zhao et al., WWW'23 Companion, section 3.1; van den Oord et al., arXiv 1807.03748.
    """
    _check(view_1, view_2, temperature, ("view_1", "view_2"))
    logits = ops.matmul(l2_normalize(view_1), ops.transpose(l2_normalize(view_2))) / temperature
    positive = ops.diagonal(logits)
    if ids is not None:
        logits = ops.where((ids[:, None] == ids[None, :]) & _off_diagonal(ids), MASKED, logits)
    forward = ops.logsumexp(logits, axis=1) - positive
    return 0.5 * (forward + ops.logsumexp(logits, axis=0) - positive) if symmetric else forward


def _check(first: Tensor, second: Tensor, temperature: float, names: tuple[str, str], in_batch: bool = True) -> None:
    if temperature <= 0:
        raise ValueError(f"Argument `temperature` must be above 0. Received: {temperature}")
    shapes = tuple(first.shape), tuple(second.shape)
    known = [size for shape in shapes for size in shape[:1] if size is not None]
    if any(len(shape) != 2 for shape in shapes) or shapes[0][1:] != shapes[1][1:] or len(set(known)) > 1:
        raise ValueError(f"Arguments `{names[0]}` and `{names[1]}` must both be (n, d). Received: {shapes}")
    if in_batch and known and known[0] < 2:
        raise ValueError(
            f"Argument `{names[0]}` must hold at least 2 songs: negatives come from the batch. Received: 1"
        )


def _off_diagonal(rows: Tensor) -> Tensor:
    position = ops.arange(ops.shape(rows)[0])
    return position[:, None] != position[None, :]


def _scores(
    anchors: Tensor,
    positives: Tensor,
    negatives: Tensor | None,
    temperature: float,
    positive_ids: Tensor | None,
    negative_ids: Tensor | None,
    known_positives: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return scores of positives `(n,)`, of negatives `(n, m)`, and which negatives count `(n, m)`."""
    _check(anchors, positives, temperature, ("anchors", "positives"), in_batch=negatives is None)
    anchors, positives = ops.cast(anchors, "float32"), ops.cast(positives, "float32")
    positive = ops.sum(anchors * positives, axis=1) / temperature
    if negatives is None:
        negative, valid = ops.matmul(anchors, ops.transpose(positives)), _off_diagonal(anchors)
        negative_ids = positive_ids if negative_ids is None else negative_ids
    elif len(negatives.shape) == 2:
        negative = ops.matmul(anchors, ops.transpose(ops.cast(negatives, "float32")))
        valid = ops.ones_like(negative, dtype="bool")
    else:
        negative = ops.sum(anchors[:, None, :] * ops.cast(negatives, "float32"), axis=2)
        valid = ops.ones_like(negative, dtype="bool")
    if negative_ids is not None:
        candidates = negative_ids if len(negative_ids.shape) == 2 else negative_ids[None, :]
        valid = valid & _not_among(candidates, positive_ids, known_positives)
    return positive, negative / temperature, valid


def _not_among(candidates: Tensor, positive_ids: Tensor | None, known_positives: Tensor | None) -> Tensor:
    """Return which candidates `(n, m)` are neither the positive nor a known positive of the anchor."""
    fresh = ops.ones_like(candidates, dtype="bool")
    if positive_ids is not None:
        fresh = fresh & (candidates != positive_ids[:, None])
    if known_positives is not None:
        # One column at a time: (n, m, P) at once would be the largest tensor of the step.
        for column in range(known_positives.shape[1]):
            fresh = fresh & (candidates != known_positives[:, column, None])
    return fresh


class _PairLoss(keras.losses.Loss):
    """Compute a loss of pairs `y_pred` `(n, 2, d)`, told apart by ids `y_true` `(n,)` or `(n, 1 + P)`.

    The first column of `y_true` is the id of the song at `y_pred[:, 1]`, the others known positives of the anchor,
    padded with -1. Ids pass through floats here: they must stay below 2**24; the functions take integers.
    """

    def __init__(self, temperature: float, name: str, reduction: str = "sum_over_batch_size", **kwargs: Any) -> None:
        super().__init__(name=name, reduction=reduction, **kwargs)
        if temperature <= 0:
            raise ValueError(f"Argument `temperature` must be above 0. Received: {temperature}")
        self.temperature = temperature

    def _ids(self, y_true: Tensor) -> dict[str, Tensor]:
        ids = ops.cast(y_true, "int32")
        if len(ids.shape) == 1:
            return {"positive_ids": ids}
        return {"positive_ids": ids[:, 0], "known_positives": ids[:, 1:]}

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "temperature": self.temperature}


@keras.saving.register_keras_serializable(package="bcl_keras")
class BPR(_PairLoss):
    """Compute `bpr` with in-batch negatives.

    Args:
        temperature: Divides the scores. Defaults to 1.
        name, reduction, **kwargs: As for every Keras loss.

    Call arguments:
        y_true: Ids `(n,)` or `(n, 1 + P)`: the positive's, then known positives of the anchor padded with -1.
        y_pred: `(n, 2, d)`: anchor and positive.
    """

    def __init__(self, temperature: float = 1.0, name: str = "bpr", **kwargs: Any) -> None:
        super().__init__(temperature, name, **kwargs)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return one value per pair."""
        return bpr(y_pred[:, 0], y_pred[:, 1], temperature=self.temperature, **self._ids(y_true))


@keras.saving.register_keras_serializable(package="bcl_keras")
class SampledSoftmax(_PairLoss):
    """Compute `sampled_softmax` with in-batch negatives.

    Args:
        temperature: Divides the scores. Defaults to 1.
        name, reduction, **kwargs: As for every Keras loss.

    Call arguments:
        y_true: Ids `(n,)` or `(n, 1 + P)`: the positive's, then known positives of the anchor padded with -1.
        y_pred: `(n, 2, d)`: anchor and positive.
    """

    def __init__(self, temperature: float = 1.0, name: str = "sampled_softmax", **kwargs: Any) -> None:
        super().__init__(temperature, name, **kwargs)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return one value per pair."""
        return sampled_softmax(y_pred[:, 0], y_pred[:, 1], temperature=self.temperature, **self._ids(y_true))


@keras.saving.register_keras_serializable(package="bcl_keras")
class InfoNCE(_PairLoss):
    """Compute `info_nce`.

    Args:
        temperature: Divides the cosines. Defaults to 0.15.
        name, reduction, **kwargs: As for every Keras loss.

    Call arguments:
        y_true: Ids `(n,)` of the songs.
        y_pred: `(n, 2, d)`: both views.
    """

    def __init__(self, temperature: float = 0.15, name: str = "info_nce", **kwargs: Any) -> None:
        super().__init__(temperature, name, **kwargs)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return one value per song."""
        ids = self._ids(y_true)["positive_ids"]
        return info_nce(y_pred[:, 0], y_pred[:, 1], temperature=self.temperature, ids=ids)
