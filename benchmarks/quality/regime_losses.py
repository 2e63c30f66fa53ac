"""Losses of the paper's regime that the library's settings do not name."""

from __future__ import annotations

from typing import Any

from bcl_keras import BCLConfig
from bcl_keras.losses import BPR, InfoNCE, info_nce

Tensor = Any


class OneNegative(BPR):
    """BPR in which pair i has negative i alone: one song, drawn uniformly, for each pair."""

    def pair_values(
        self, anchors: Tensor, positives: Tensor, negatives: Tensor | None, known: dict[str, Tensor]
    ) -> Tensor:
        """Returns one value per pair."""
        if negatives is None:
            raise ValueError("Argument `negatives` must hold one song for each pair. Received: None")
        own = {name: ids[:, None] if name == "negative_ids" else ids for name, ids in known.items()}
        return super().pair_values(anchors, positives, negatives[:, None, :], own)


class ShownSongs(InfoNCE):
    """InfoNCE among songs of which neither view is empty: others are no examples, and no negatives."""

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        """Returns one value per song."""
        return info_nce(
            y_pred["view_1"],
            y_pred["view_2"],
            temperature=self.temperature,
            ids=y_true["ids"],
            usable=y_pred["usable"],
        )


def regime_losses(config: BCLConfig, *, one_negative: bool, all_shown: bool) -> dict[str, Any] | None:
    """Returns the losses that replace those of the settings, by task; None for none.

    Args:
        config: Whose temperatures, margin and masks hold.
        one_negative: Whether a pair has one negative of its own.
        all_shown: Whether songs with an empty view are no negatives.
    """
    losses: dict[str, Any] = {}
    if one_negative:
        masks = config.mask_accidental_hits
        losses["supervised"] = OneNegative(config.temperature, margin=config.margin, mask_accidental_hits=masks)
    if all_shown:
        losses["contrastive"] = ShownSongs(config.contrast_temperature)
    return losses or None
