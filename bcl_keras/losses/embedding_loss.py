"""The base of the loss classes: Keras losses whose ids stay integers."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from bcl_keras.losses.scores import check_temperature

Tensor = Any


class EmbeddingLoss(keras.losses.Loss):
    """Base of losses over embeddings of songs; a subclass has `call(y_true, y_pred)` with one value per example.

    `keras.losses.Loss` casts `y_true` to floats, and float32 holds no integer above 2**24 exactly. This class leaves
    `y_true` and `y_pred` as they are.

    Args:
        temperature: Divides the scores; above 0.
        name: Name of the loss.
        reduction: As for every Keras loss. Defaults to `"mean_with_sample_weight"`: examples of weight 0 do not count.
        **kwargs: As for every Keras loss.

    Raises:
        ValueError: If the temperature is not positive.

    Examples:
        >>> import keras
        >>> class Distance(EmbeddingLoss):
        ...     def call(self, y_true, y_pred):
        ...         return keras.ops.sum((y_pred["anchor"] - y_pred["positive"]) ** 2, axis=1)
        >>> pair = {"anchor": keras.ops.ones((2, 4)), "positive": keras.ops.zeros((2, 4))}
        >>> float(Distance(1.0, "distance")({}, pair))
        4.0
    """

    def __init__(
        self, temperature: float, name: str, reduction: str = "mean_with_sample_weight", **kwargs: Any
    ) -> None:
        super().__init__(name=name, reduction=reduction, **kwargs)
        check_temperature(temperature)
        self.temperature = temperature

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Tensor | None = None) -> Tensor:
        """Return the loss of a batch: the values of `call`, weighted and reduced."""
        with keras.name_scope(self.name):
            return self._reduce(self.call(y_true, y_pred), sample_weight)

    def _reduce(self, values: Tensor, weights: Tensor | None) -> Tensor:
        if weights is not None:
            weights = ops.cast(weights, "float32")
            values = values * weights
            if self.reduction == "mean_with_sample_weight":
                return ops.sum(values) / ops.maximum(ops.sum(weights), 1e-12)
        if self.reduction == "sum":
            return ops.sum(values)
        return values if self.reduction in (None, "none") else ops.mean(values)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "temperature": self.temperature}


def as_ids(values: Any) -> Tensor:
    """Return ids as a tensor of integers.

    Args:
        values: Integers of any width that the backend holds; JAX holds 32 bits unless it is told otherwise.

    Raises:
        ValueError: If they are not integers, whose last digits may be lost already.
    """
    tensor = ops.convert_to_tensor(values)
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if "int" not in dtype:
        raise ValueError(f"Argument `y_true` must hold integer ids. Received: dtype {dtype}")
    if isinstance(values, np.ndarray) and not np.array_equal(ops.convert_to_numpy(tensor), values):
        raise ValueError(f"Argument `y_true` must hold ids that {dtype} can hold. Received: {values.max()}")
    return tensor
