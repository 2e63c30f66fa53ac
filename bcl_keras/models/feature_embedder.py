"""A model that trains on row numbers, seen as one that embeds songs by their features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

Tensor = Any


class FeatureEmbedder(keras.Model):
    """Embed songs by their features with another model's weights: what Keras predicts with, and exports.

    Args:
        model: A model with `embed_features`, built already.

    Call arguments:
        features: As for `embed_features`.

    Returns:
        Embeddings `(n, embedding_dim)`.
    """

    def __init__(self, model: Any, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.model = model
        self.built = True

    def call(self, features: Mapping[str, Tensor]) -> Tensor:
        """Embed songs."""
        return self.model.embed_features(features)
