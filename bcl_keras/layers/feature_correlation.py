"""Keep the correlation between fields up to date while the encoders learn."""

from __future__ import annotations

from typing import Any, get_args

import keras
from keras import ops

from bcl_keras.config import CorrelationMode
from bcl_keras.distribution import gather_replicas
from bcl_keras.ops.correlation import distance_correlation

Tensor = Any


@keras.saving.register_keras_serializable(package="bcl_keras")
class FeatureCorrelation(keras.layers.Layer):
    """Track the distance correlation between fields as a slow-moving average.

    Every `update_every` training steps, `C <- momentum * C + (1 - momentum) * C_batch`; the first update takes
    `C_batch` as it is. Until then, and outside training, C is what was last known (ones at the start: no preference).
    Under a `tf.distribute` strategy the songs of all replicas are joined, so that every replica holds the matrix that
    one device would get from the whole batch. No gradient flows through the matrix.

    Args:
        num_fields: F, at least 2.
        momentum: Share of the old matrix kept by an update. Defaults to 0.9.
        update_every: Training steps between updates (k). Defaults to 10.
        mode: `"ewma"`; `"static"` keeps the first batch's matrix; `"last_batch"` keeps the latest only. Defaults to
            `"ewma"`.
        max_songs: Songs of the batch used, its first ones; the plain estimate's bias depends on it. Defaults to 512.
        unbiased: Use U-centred distances. Defaults to `False`.

    Call arguments:
        fields: `(n, F, d)`, or a list of F tensors `(n, d_f)`.
        presence: `(n, F)`; defaults to all present.
        training: Whether to count a step, and update when one is due.

    Returns:
        `(F, F)` float32, whatever the precision policy.

    Examples:
        >>> layer = FeatureCorrelation(num_fields=2)
        >>> songs = keras.random.normal((8, 2, 3), seed=0)
        >>> tuple(layer(songs, training=True).shape)
        (2, 2)

    References:
        Zhao et al., WWW'23 Companion, section 3.1.1.
    """

    def __init__(
        self,
        num_fields: int,
        momentum: float = 0.9,
        update_every: int = 10,
        mode: CorrelationMode = "ewma",
        max_songs: int = 512,
        unbiased: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        if num_fields < 2:
            raise ValueError(f"Argument `num_fields` must be at least 2. Received: {num_fields}")
        if not 0.0 <= momentum < 1.0:
            raise ValueError(f"Argument `momentum` must be in [0, 1). Received: {momentum}")
        if update_every < 1:
            raise ValueError(f"Argument `update_every` must be at least 1. Received: {update_every}")
        if mode not in get_args(CorrelationMode):
            raise ValueError(f"Argument `mode` must be one of {get_args(CorrelationMode)}. Received: {mode!r}")
        if max_songs < 4:
            raise ValueError(f"Argument `max_songs` must be at least 4. Received: {max_songs}")
        self.num_fields, self.momentum, self.update_every = num_fields, momentum, update_every
        self.mode, self.max_songs, self.unbiased = mode, max_songs, unbiased

    def build(self, input_shape: Any = None) -> None:
        """Create the matrix and the step counter."""
        # Every replica computes the same values from the joined batch, so any one of them stands for all.
        shared: dict[str, Any] = {"trainable": False, "autocast": False, "aggregation": "only_first_replica"}
        square = (self.num_fields, self.num_fields)
        self.matrix = self.add_weight(shape=square, initializer="ones", dtype="float32", name="matrix", **shared)
        self.steps = self.add_weight(shape=(), initializer="zeros", dtype="int32", name="steps", **shared)

    def call(self, fields: Any, presence: Tensor | None = None, training: bool = False) -> Tensor:
        """Return the matrix, updated first if a training step is due for it."""
        current = ops.convert_to_tensor(self.matrix)
        if not training:
            return current
        columns, mask = self._batch(fields, presence)
        steps = ops.convert_to_tensor(self.steps)
        due = steps == 0 if self.mode == "static" else steps % self.update_every == 0
        # The assignment stays outside the condition: a variable of several replicas cannot be assigned within one.
        updated = ops.cond(due, lambda: self._blend(current, columns, mask, steps), lambda: current)
        self.matrix.assign(updated)
        self.steps.assign(steps + 1)
        return updated

    def _batch(self, fields: Any, presence: Tensor | None) -> tuple[list[Tensor], Tensor | None]:
        columns = list(fields) if isinstance(fields, (list, tuple)) else ops.unstack(fields, self.num_fields, axis=1)
        replicas = [gather_replicas(ops.cast(column, "float32")) for column in columns]
        columns = [ops.stop_gradient(column[: self.max_songs]) for column in replicas]
        if presence is None:
            return columns, None
        return columns, gather_replicas(ops.cast(presence, "float32"))[: self.max_songs]

    def _blend(self, current: Tensor, columns: list[Tensor], mask: Tensor | None, steps: Tensor) -> Tensor:
        batch = distance_correlation(columns, mask=mask, unbiased=self.unbiased)
        if self.mode != "ewma":
            return batch
        kept = ops.where(steps == 0, 0.0, self.momentum)
        return kept * current + (1.0 - kept) * batch

    def compute_output_shape(self, fields_shape: Any, presence_shape: Any = None) -> tuple[int, int]:
        """Return `(F, F)`."""
        return (self.num_fields, self.num_fields)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        own = ("num_fields", "momentum", "update_every", "mode", "max_songs", "unbiased")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
