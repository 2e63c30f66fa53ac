"""Split the fields into two groups of correlated ones."""

from __future__ import annotations

from typing import Any, get_args

import keras
from keras import ops

from bcl_keras.config import Grouping
from bcl_keras.ops.grouping import group_fields

Tensor = Any

SMALLEST_UNIFORM = 1e-7


@keras.saving.register_keras_serializable(package="bcl_keras")
class CorrelationGrouping(keras.layers.Layer):
    """Draw a group of fields around a seed field; the fields left over are the other group.

    The seed is uniform. The other members are, by `strategy`:
    `"gumbel"` drawn without replacement with probability proportional to their correlation with the seed (BCL);
    `"top"` the most correlated ones (CFM); `"uniform"` any (RFM).

    Args:
        num_fields: F, at least 2.
        group_size: Fields in the group, the seed included, `1 .. F - 1`. Defaults to half of the fields.
        strategy: As above. Defaults to `"gumbel"`.
        seed: Seed of the draws. Defaults to `None` (random).

    Call arguments:
        correlation: `(F, F)`.
        num_draws: Number of independent groups. Defaults to `None`, one group without a leading axis.

    Returns:
        `(F,)`, or `(num_draws, F)`: boolean, whether a field belongs to the group.

    Examples:
        >>> grouping = CorrelationGrouping(num_fields=4, seed=0)
        >>> groups = grouping(ops.ones((4, 4)), num_draws=3)
        >>> ops.convert_to_numpy(groups).sum(axis=1).tolist()
        [2, 2, 2]

    References:
        Zhao et al., WWW'23 Companion, section 3.1.2; Yao et al., CIKM'21 (CFM and RFM).
    """

    def __init__(
        self,
        num_fields: int,
        group_size: int | None = None,
        strategy: Grouping = "gumbel",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        if num_fields < 2:
            raise ValueError(f"Argument `num_fields` must be at least 2. Received: {num_fields}")
        size = num_fields // 2 if group_size is None else group_size
        if not 1 <= size < num_fields:
            raise ValueError(f"Argument `group_size` must be in 1 .. {num_fields - 1}. Received: {group_size}")
        if strategy not in get_args(Grouping):
            raise ValueError(f"Argument `strategy` must be one of {get_args(Grouping)}. Received: {strategy!r}")
        self.num_fields, self.group_size, self.strategy, self.seed = num_fields, size, strategy, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: Any = None) -> None:
        """Create nothing: the layer has no weights of its own."""

    def call(self, correlation: Tensor, num_draws: Any = None) -> Tensor:
        """Draw the group or groups."""
        draws = 1 if num_draws is None else num_draws
        shape = (draws, self.num_fields)
        # A permutation's first field is a uniform seed: one stream of random numbers serves both needs.
        seeds = ops.argmax(keras.random.uniform(shape, seed=self.seed_generator), axis=-1)
        if self.strategy == "uniform":
            correlation = ops.ones_like(correlation)
        noise = ops.zeros(shape) if self.strategy == "top" else self._gumbel(shape)
        groups = group_fields(correlation, seeds, noise, self.group_size)
        return groups[0] if num_draws is None else groups

    def _gumbel(self, shape: Any) -> Tensor:
        uniform = keras.random.uniform(shape, minval=SMALLEST_UNIFORM, dtype="float32", seed=self.seed_generator)
        return -ops.log(-ops.log(uniform))

    def compute_output_shape(self, input_shape: Any, num_draws: int | None = None) -> tuple[int | None, ...]:
        """Return `(F,)` or `(num_draws, F)`."""
        return (self.num_fields,) if num_draws is None else (num_draws, self.num_fields)

    def compute_output_spec(self, correlation: Any, num_draws: int | None = None) -> Any:
        """Return the shape and the boolean type."""
        return keras.KerasTensor(self.compute_output_shape(correlation.shape, num_draws), dtype="bool")

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        own = ("num_fields", "group_size", "strategy", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
