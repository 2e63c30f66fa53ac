"""The losses of the method as Keras classes, which `BCLModel` trains with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from bcl_keras.losses.contrastive import info_nce
from bcl_keras.losses.embedding_loss import EmbeddingLoss, as_ids
from bcl_keras.losses.ranking import bpr, check_hardness, sampled_softmax

Tensor = Any

_IDS = ("positive_ids", "negative_ids", "known_positives")
_LOG_Q = ("positive_log_q", "negative_log_q")


class PairLoss(EmbeddingLoss):
    """Base of losses that rank the positive of an anchor above negatives; a subclass has `pair_values`.

    Args:
        temperature: Divides the scores; above 0. Defaults to 1.
        mask_accidental_hits: Whether known positives of an anchor are not negatives of it. Defaults to `True`.
        correct_log_q: Whether to undo that popular songs are drawn more often, where log-probabilities are given.
            Defaults to `False`.
        name: Name of the loss.
        **kwargs: As for every Keras loss.

    Call arguments:
        y_true: What is known of the songs. Either ids `(n,)` of the positives or `(n, 1 + P)`, with known positives of
            the anchor after the first column, padded with -1. Or a dict, every key optional: `positive_ids` `(n,)`,
            `known_positives` `(n, P)`, `negative_ids` `(m,)`, `positive_log_q` `(n,)` and `negative_log_q` `(m,)`.
            Ids are integers.
        y_pred: Embeddings. Either `(n, 2, d)`, anchor and positive, or a dict of `anchor` and `positive` `(n, d)` and
            optionally `negative` `(m, d)`. Without it the other positives of the batch are the negatives.
        sample_weight: `(n,)`. Defaults to equal weights.

    Examples:
        >>> import numpy as np
        >>> class Difference(PairLoss):
        ...     def pair_values(self, anchors, positives, negatives, known):
        ...         return keras.ops.sum(anchors - positives, axis=1)
        >>> float(Difference()(np.array([7, 8]), np.ones((2, 2, 3), "float32")))
        0.0
    """

    def __init__(
        self,
        temperature: float = 1.0,
        mask_accidental_hits: bool = True,
        correct_log_q: bool = False,
        name: str = "pair_loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(temperature, name, **kwargs)
        self.mask_accidental_hits, self.correct_log_q = mask_accidental_hits, correct_log_q

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        """Return one value per pair."""
        if not isinstance(y_pred, Mapping):
            y_pred = {"anchor": y_pred[:, 0], "positive": y_pred[:, 1]}
        known = self._known(y_true if isinstance(y_true, Mapping) else _ids_by_name(y_true))
        return self.pair_values(y_pred["anchor"], y_pred["positive"], y_pred.get("negative"), known)

    def _known(self, y_true: Mapping[str, Tensor]) -> dict[str, Tensor]:
        known: dict[str, Tensor] = {}
        if self.mask_accidental_hits:
            known |= {name: as_ids(y_true[name]) for name in _IDS if y_true.get(name) is not None}
        if self.correct_log_q:
            known |= {name: y_true[name] for name in _LOG_Q if y_true.get(name) is not None}
        return known

    def pair_values(
        self, anchors: Tensor, positives: Tensor, negatives: Tensor | None, known: dict[str, Tensor]
    ) -> Tensor:
        """Return one value per pair.

        Args:
            anchors: `(n, d)`.
            positives: `(n, d)`.
            negatives: `(m, d)`, or `None` for the other positives of the batch.
            known: The entries of `y_true` that the settings use.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        own = {"mask_accidental_hits": self.mask_accidental_hits, "correct_log_q": self.correct_log_q}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="bcl_keras")
class BPR(PairLoss):
    """Rank the positive above the negatives: `bcl_keras.losses.bpr` as a Keras loss.

    Args:
        temperature: Divides the scores; above 0. Defaults to 1.
        margin: By how much a positive must score above a negative, in scores divided by the temperature. Defaults to 0.
        hardness: How much more a negative counts that scores high; at least 0. Defaults to 0, all alike.
        mask_accidental_hits: Whether known positives of an anchor are not negatives of it. Defaults to `True`.
        correct_log_q: Whether to undo that popular songs are drawn more often. Defaults to `False`.
        name: Name of the loss. Defaults to `"bpr"`.
        **kwargs: As for every Keras loss.

    Call arguments:
        y_true: Ids, or a dict of what is known of the songs: see `PairLoss`.
        y_pred: `(n, 2, d)`, or a dict of embeddings: see `PairLoss`.

    Examples:
        >>> import numpy as np
        >>> pairs = np.array([[[1, 0], [1, 0]], [[0, 1], [0, 1]]], "float32")  # (n, 2, d): anchor and positive
        >>> round(float(BPR(temperature=0.5)(np.array([7, 8]), pairs)), 4)
        0.1269
    """

    def __init__(
        self, temperature: float = 1.0, *, margin: float = 0.0, hardness: float = 0.0, name: str = "bpr", **kwargs: Any
    ) -> None:
        super().__init__(temperature, name=name, **kwargs)
        check_hardness(hardness)
        self.margin, self.hardness = margin, hardness

    def pair_values(
        self, anchors: Tensor, positives: Tensor, negatives: Tensor | None, known: dict[str, Tensor]
    ) -> Tensor:
        """Return one value per pair."""
        # In a batch the positives of other anchors are the negatives: they were drawn as positives.
        negative_log_q = known.pop("negative_log_q", known.get("positive_log_q"))
        known.pop("positive_log_q", None)
        own = {"temperature": self.temperature, "hardness": self.hardness, "margin": self.margin}
        return bpr(anchors, positives, negatives, negative_log_q=negative_log_q, **own, **known)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "margin": self.margin, "hardness": self.hardness}


@keras.saving.register_keras_serializable(package="bcl_keras")
class SampledSoftmax(PairLoss):
    """Tell the positive from sampled candidates: `bcl_keras.losses.sampled_softmax` as a Keras loss.

    Args:
        temperature: Divides the scores; above 0. Defaults to 1.
        mask_accidental_hits: Whether known positives of an anchor are not negatives of it. Defaults to `True`.
        correct_log_q: Whether to undo that popular songs are drawn more often. Defaults to `False`.
        name: Name of the loss. Defaults to `"sampled_softmax"`.
        **kwargs: As for every Keras loss.

    Call arguments:
        y_true: Ids, or a dict of what is known of the songs: see `PairLoss`.
        y_pred: `(n, 2, d)`, or a dict of embeddings: see `PairLoss`.

    Examples:
        >>> import numpy as np
        >>> pairs = np.array([[[1, 0], [1, 0]], [[0, 1], [0, 1]]], "float32")
        >>> round(float(SampledSoftmax()(np.array([7, 8]), pairs)), 4)
        0.3133
    """

    def __init__(self, temperature: float = 1.0, *, name: str = "sampled_softmax", **kwargs: Any) -> None:
        super().__init__(temperature, name=name, **kwargs)

    def pair_values(
        self, anchors: Tensor, positives: Tensor, negatives: Tensor | None, known: dict[str, Tensor]
    ) -> Tensor:
        """Return one value per pair."""
        known.setdefault("negative_log_q", known.get("positive_log_q"))
        return sampled_softmax(anchors, positives, negatives, temperature=self.temperature, **known)


@keras.saving.register_keras_serializable(package="bcl_keras")
class InfoNCE(EmbeddingLoss):
    """Tell a song's second view from other songs: `bcl_keras.losses.info_nce` as a Keras loss.

    Args:
        temperature: Divides the cosines; above 0. Defaults to 0.15; without a loss given to `compile`, `BCLModel` uses
            `BCLConfig.contrast_temperature`.
        symmetric: Whether to add the direction from view 2 to view 1. Defaults to `True`.
        name: Name of the loss. Defaults to `"info_nce"`.
        **kwargs: As for every Keras loss.

    Call arguments:
        y_true: Integer ids `(n,)` of the songs, or a dict of them as `ids`.
        y_pred: `(n, 2, d)`, both views, or a dict of `view_1` and `view_2` `(n, d)`.

    Examples:
        >>> import numpy as np
        >>> views = np.array([[[1, 0], [1, 0]], [[0, 1], [0, 1]]], "float32")
        >>> round(float(InfoNCE(temperature=1.0)(np.array([7, 8]), views)), 4)
        0.3133
    """

    def __init__(
        self, temperature: float = 0.15, *, symmetric: bool = True, name: str = "info_nce", **kwargs: Any
    ) -> None:
        super().__init__(temperature, name, **kwargs)
        self.symmetric = symmetric

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        """Return one value per song."""
        if not isinstance(y_pred, Mapping):
            y_pred = {"view_1": y_pred[:, 0], "view_2": y_pred[:, 1]}
        ids = as_ids(y_true["ids"] if isinstance(y_true, Mapping) else y_true)
        views = y_pred["view_1"], y_pred["view_2"]
        return info_nce(*views, temperature=self.temperature, ids=ids, symmetric=self.symmetric)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "symmetric": self.symmetric}


def _ids_by_name(y_true: Any) -> dict[str, Tensor]:
    ids = as_ids(y_true)
    return {"positive_ids": ids} if len(ids.shape) == 1 else {"positive_ids": ids[:, 0], "known_positives": ids[:, 1:]}
