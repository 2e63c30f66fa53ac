"""Turn the values of one field into one vector per song."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from bcl_keras.fields import Field
from bcl_keras.ops.lists import first_values

Tensor = Any


@keras.saving.register_keras_serializable(package="bcl_keras")
class FieldEncoder(keras.layers.Layer):
    """Encode one field, of any kind, as a vector.

    A category is looked up. A set of categories is the weighted sum of its vectors over the root of the sum of squared
    weights, `sum_i w_i e_i / sqrt(sum_i w_i^2)`, with one learned weight per id. Common ids can get less weight, and
    long sets have the scale of short ones. Numbers and vectors pass one dense layer. A missing value gives a learned
    vector.

    Args:
        field: A `Field`, or its dict.
        dim: Length of the vector. Defaults to 64.

    Input shape: `(n,)`, `(n, L)` or `(n, size)` as the field's kind says.
    Output shape: `(n, dim)`.

    Examples:
        >>> from bcl_keras import Field
        >>> encoder = FieldEncoder(Field("genre", "category", 3), dim=8)
        >>> tuple(encoder(ops.convert_to_tensor([1, 2, 0])).shape)
        (3, 8)

    References:
        Zhao et al., WWW'23 Companion, section 3.1 (attribute, audio and lyric fields).
    """

    def __init__(self, field: Field | Mapping[str, Any], dim: int = 64, **kwargs: Any) -> None:
        # Numbers may be large and NaN marks a gap: half precision starts after the first product.
        super().__init__(autocast=False, **kwargs)
        self.field = field if isinstance(field, Field) else Field(**field)
        if dim < 1:
            raise ValueError(f"Argument `dim` must be at least 1. Received: {dim}")
        self.dim = dim

    def build(self, input_shape: Any = None) -> None:
        """Create the table of vectors or the dense kernel."""
        deviation = self.dim**-0.5
        normal = keras.initializers.RandomNormal(stddev=deviation)
        self.missing_vector = self.add_weight(shape=(self.dim,), initializer="zeros", name="missing_vector")
        if self.field.is_categorical:
            self.table = self.add_weight(shape=(self.field.size, self.dim), initializer=normal, name="table")
            if self.field.is_list:
                self.log_weights = self.add_weight(shape=(self.field.size,), initializer="zeros", name="log_weights")
        else:
            kernel_init = "glorot_uniform" if self.field.is_list else normal
            self.kernel = self.add_weight(shape=(self.field.size, self.dim), initializer=kernel_init, name="kernel")
            self.bias = self.add_weight(shape=(self.dim,), initializer="zeros", name="bias")

    def presence(self, values: Tensor) -> Tensor:
        """Return whether each song has the field, `(n,)` boolean."""
        if self.field.is_categorical:
            known = values > 0
            return ops.any(known, axis=-1) if self.field.is_list else known
        missing = ops.isnan(values)
        return ops.logical_not(ops.any(missing, axis=-1) if self.field.is_list else missing)

    def call(self, values: Tensor) -> Tensor:
        """Encode a batch of values."""
        present = self.presence(values)
        if self.field.is_categorical:
            encoded = self._encode_ids(ops.cast(values, "int32"))
        else:
            encoded = self._encode_numbers(ops.cast(values, "float32"), present)
        missing = ops.cast(self.missing_vector, self.compute_dtype)
        return ops.where(present[:, None], encoded, missing)

    def _encode_ids(self, ids: Tensor) -> Tensor:
        if not self.field.is_list:
            return ops.cast(ops.take(self.table, ids, axis=0), self.compute_dtype)
        ids = first_values(ids, self.field.max_values)
        weights = ops.exp(ops.cast(ops.take(self.log_weights, ids, axis=0), "float32")) * ops.cast(ids > 0, "float32")
        length = ops.sqrt(ops.maximum(ops.sum(ops.square(weights), axis=-1, keepdims=True), 1e-12))
        shares = ops.cast(weights / length, self.compute_dtype)  # (n, L)
        vectors = ops.cast(ops.take(self.table, ids, axis=0), self.compute_dtype)  # (n, L, dim)
        return ops.squeeze(ops.matmul(shares[:, None, :], vectors), axis=1)

    def _encode_numbers(self, values: Tensor, present: Tensor) -> Tensor:
        values = values if self.field.is_list else values[:, None]
        # Zero before the product: NaN times a zero gradient is NaN.
        values = ops.where(present[:, None], values, ops.zeros_like(values))
        encoded = ops.matmul(values, ops.cast(self.kernel, "float32")) + ops.cast(self.bias, "float32")
        return ops.cast(encoded, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, int]:
        """Return `(n, dim)`."""
        return (input_shape[0], self.dim)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "field": self.field.to_dict(), "dim": self.dim}
