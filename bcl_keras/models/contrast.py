"""The views that the contrastive task compares, from the correlation and grouping of the fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from bcl_keras.config import BCLConfig, as_config
from bcl_keras.layers.correlation_grouping import CorrelationGrouping
from bcl_keras.layers.feature_correlation import FeatureCorrelation
from bcl_keras.layers.operators import RandomMask, SpanMask, UniformNoise
from bcl_keras.layers.views import CorruptViews, SplitViews

Tensor = Any


@keras.saving.register_keras_serializable(package="bcl_keras")
class ContrastiveViews(keras.layers.Layer):
    """Follow the correlation of the fields, group them and make the two views of each song.

    Args:
        num_fields: F, at least 2.
        config: Settings, or their dict. Defaults to `BCLConfig()`.

    Call arguments:
        inputs: `(vectors, presence)` of `(n, F, d)` and `(n, F)`.
        training: Whether the correlation is updated. Views are drawn and corrupted either way.

    Returns:
        `(vectors, presence)` of `(2n, F, d)` and `(2n, F)`: view 1 of all songs, then view 2.

    References:
        Zhao et al., WWW'23 Companion, sections 3.1.1 and 3.1.2.
    """

    def __init__(self, num_fields: int, config: BCLConfig | Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.num_fields, self.config = num_fields, as_config(config)
        settings = self.config
        self.correlation = FeatureCorrelation(
            num_fields,
            settings.momentum,
            settings.update_every,
            settings.correlation_mode,
            settings.correlation_songs,
            settings.unbiased_correlation,
            name="correlation",
        )
        self.grouping = CorrelationGrouping(num_fields, strategy=settings.grouping, seed=settings.seed + 201)
        self.views = {"split": SplitViews, "corrupt": CorruptViews}[settings.views](self._operators())

    def _operators(self) -> list[keras.layers.Layer]:
        rate, seed, policy = self.config.mask_rate, self.config.seed + 202, self.dtype_policy
        made: dict[str, Callable[[], keras.layers.Layer]] = {
            "random_mask": lambda: RandomMask(rate, seed=seed, dtype=policy),
            "span_mask": lambda: SpanMask(rate, seed=seed + 1, dtype=policy),
            "uniform_noise": lambda: UniformNoise(self.config.noise_scale, seed=seed + 2, dtype=policy),
        }
        return [made[name]() for name in self.config.operators]

    def build(self, input_shape: Any = None) -> None:
        """Build the parts."""
        shape = (None, self.num_fields, self.config.field_dim)
        self.correlation.build(shape)
        self.grouping.build((self.num_fields, self.num_fields))
        self.views.build([shape, shape[:2]])

    def call(self, inputs: Any, training: bool = False) -> tuple[Tensor, Tensor]:
        """Return both views of each song."""
        vectors, presence = inputs
        correlation = self.correlation(vectors, presence=presence, training=training)
        groups = self.grouping(correlation, num_draws=ops.shape(presence)[0])
        views: tuple[Tensor, Tensor] = self.views((vectors, presence, groups), training=True)
        return views

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, Any]:
        """Return twice the songs."""
        return self.views.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "num_fields": self.num_fields, "config": self.config.to_dict()}
