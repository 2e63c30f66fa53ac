"""Corrupt field vectors, as masked image modelling corrupts patches."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

Tensor = Any


class _Operator(keras.layers.Layer):
    """Corrupt in training, pass through otherwise; same shape out as in."""

    def __init__(self, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: Any = None) -> None:
        """Create nothing: operators have no weights."""

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Corrupt the inputs if `training`."""
        return self.corrupt(inputs) if training else inputs

    def corrupt(self, inputs: Tensor) -> Tensor:
        """Return the corrupted inputs."""
        raise NotImplementedError

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "seed": self.seed}


class _RateOperator(_Operator):
    def __init__(self, rate: float = 0.2, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed=seed, **kwargs)
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"Argument `rate` must be in [0, 1). Received: {rate}")
        self.rate = rate

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable(package="bcl_keras")
class RandomMask(_RateOperator):
    """Set a random share of the elements to zero.

    Args:
        rate: Chance of each element, in [0, 1). Defaults to 0.2.
        seed: Seed of the draws. Defaults to `None` (random).

    Input shape: any. Output shape: the same.

    Examples:
        >>> mask = RandomMask(rate=0.5, seed=0)
        >>> tuple(mask(ops.ones((2, 6)), training=True).shape)
        (2, 6)

    References:
        Zhao et al., WWW'23 Companion, section 3.1.
    """

    def corrupt(self, inputs: Tensor) -> Tensor:
        """Return inputs with single elements zeroed."""
        kept = keras.random.uniform(ops.shape(inputs), dtype="float32", seed=self.seed_generator) >= self.rate
        return ops.where(kept, inputs, ops.zeros_like(inputs))


@keras.saving.register_keras_serializable(package="bcl_keras")
class SpanMask(_RateOperator):
    """Set a run of `round(rate * d)` neighbouring elements of each vector to zero, at a random place.

    Args:
        rate: Length of the run as a share of d, in [0, 1). Defaults to 0.2.
        seed: Seed of the draws. Defaults to `None` (random).

    Input shape: `(..., d)`. Output shape: the same.

    Examples:
        >>> mask = SpanMask(rate=0.5, seed=0)
        >>> float(ops.sum(mask(ops.ones((1, 6)), training=True)))
        3.0

    References:
        Zhao et al., WWW'23 Companion, section 3.1.
    """

    def corrupt(self, inputs: Tensor) -> Tensor:
        """Return inputs with one run of each vector zeroed."""
        dim = inputs.shape[-1]
        length = round(self.rate * dim)
        shape = (*ops.shape(inputs)[:-1], 1)
        place = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)
        start = ops.floor(place * (dim - length + 1))
        position = ops.arange(dim, dtype="float32")
        hidden = (position >= start) & (position < start + length)
        return ops.where(hidden, ops.zeros_like(inputs), inputs)


@keras.saving.register_keras_serializable(package="bcl_keras")
class UniformNoise(_Operator):
    """Add uniform noise in `+- scale` standard deviations of each coordinate over the batch.

    Args:
        scale: Half-width of the noise in standard deviations, at least 0. Defaults to 0.1.
        seed: Seed of the draws. Defaults to `None` (random).

    Input shape: `(n, ..., d)`. Output shape: the same.

    Examples:
        >>> noise = UniformNoise(scale=0.1, seed=0)
        >>> tuple(noise(ops.ones((2, 6)), training=True).shape)
        (2, 6)

    References:
        Zhao et al., WWW'23 Companion, section 3.1; the scaling by the deviation is ours.
    """

    def __init__(self, scale: float = 0.1, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed=seed, **kwargs)
        if scale < 0.0:
            raise ValueError(f"Argument `scale` must be at least 0. Received: {scale}")
        self.scale = scale

    def corrupt(self, inputs: Tensor) -> Tensor:
        """Return inputs with noise added."""
        deviation = ops.stop_gradient(ops.std(ops.cast(inputs, "float32"), axis=0, keepdims=True))
        noise = keras.random.uniform(ops.shape(inputs), -1.0, 1.0, dtype="float32", seed=self.seed_generator)
        return inputs + ops.cast(self.scale * deviation * noise, inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "scale": self.scale}


@keras.saving.register_keras_serializable(package="bcl_keras")
class FieldDropout(_RateOperator):
    """Declare whole fields missing, at least one present field kept per song.

    Args:
        rate: Chance of each field, in [0, 1). Defaults to 0.2.
        seed: Seed of the draws. Defaults to `None` (random).

    Input shape: presence `(n, F)`, 1 or true where a song has the field. Output shape and type: the same.

    Examples:
        >>> dropout = FieldDropout(rate=0.9, seed=0)
        >>> float(ops.sum(dropout(ops.ones((1, 6)), training=True))) >= 1.0
        True
    """

    def corrupt(self, inputs: Tensor) -> Tensor:
        """Return presence with fields taken out."""
        draws = keras.random.uniform(ops.shape(inputs), dtype="float32", seed=self.seed_generator)
        draws = ops.where(ops.cast(inputs, "bool"), draws, -1.0)
        # The field with the largest draw stays, so that no song is left without content.
        kept = (draws >= self.rate) | (draws == ops.max(draws, axis=-1, keepdims=True))
        return ops.where(kept, inputs, ops.zeros_like(inputs))
