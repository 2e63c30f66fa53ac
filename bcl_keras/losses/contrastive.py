"""The contrastive loss between two views of each song."""

from __future__ import annotations

from typing import Any

from keras import ops

from bcl_keras.losses.scores import MASKED, check_pairs, off_diagonal
from bcl_keras.ops.numerics import l2_normalize

Tensor = Any


def info_nce(
    view_1: Tensor,
    view_2: Tensor,
    *,
    temperature: float = 0.15,
    ids: Tensor | None = None,
    symmetric: bool = True,
    usable: Tensor | None = None,
) -> Tensor:
    """Compute infoNCE between two views of each song with the batch's other songs as negatives.

    `-log exp(cos(u_i, v_i) / temperature) / sum_j exp(cos(u_i, v_j) / temperature)`, the mean of both directions.

    Args:
        view_1: `(n, d)`.
        view_2: `(n, d)`, row i the same song as in `view_1`.
        temperature: Divides the cosines. Defaults to 0.15; `BCLModel` trains with `BCLConfig.contrast_temperature`.
        ids: `(n,)` integers: a song that is drawn twice is not a negative of itself. Defaults to all different.
        symmetric: Whether to add the direction from view 2 to view 1. Defaults to `True`.
        usable: `(n,)`, 0 or false for a song of which a view is empty: it is not a negative of others. Weigh its own
            value by 0. Defaults to all usable.

    Returns:
        `(n,)` float32.

    Raises:
        ValueError: If shapes disagree, the temperature is not positive, or one song is alone in its batch.

    References:
        Zhao et al., WWW'23 Companion, section 3.1; van den Oord et al., arXiv 1807.03748.
    """
    check_pairs(view_1, view_2, temperature, ("view_1", "view_2"))
    logits = ops.matmul(l2_normalize(view_1), ops.transpose(l2_normalize(view_2))) / temperature
    positive = ops.diagonal(logits)
    if ids is not None:
        logits = ops.where((ids[:, None] == ids[None, :]) & off_diagonal(ids), MASKED, logits)
    if usable is not None:
        shown = ops.cast(usable, "bool")
        logits = ops.where(off_diagonal(shown) & ops.logical_not(shown[:, None] & shown[None, :]), MASKED, logits)
    forward = ops.logsumexp(logits, axis=1) - positive
    return 0.5 * (forward + ops.logsumexp(logits, axis=0) - positive) if symmetric else forward
