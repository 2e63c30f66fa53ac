"""Make two views of each song from two groups of its fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

Tensor = Any


class _PairOfViews(keras.layers.Layer):
    """Base of two views of each song; `compose` makes them of original and corrupted field vectors.

    Args:
        operators: Layers applied one after the other to field vectors, for instance `RandomMask`. Defaults to none.

    Call arguments:
        inputs: `(vectors, presence, group)`: `(n, F, d)`, `(n, F)` boolean or 0/1, and `(n, F)` or `(F,)` boolean,
            true for the fields of group A.
        training: Whether the operators are active.

    Returns:
        `(vectors, presence)` of `(2n, F, d)` and `(2n, F)`: first view 1 of all songs, then view 2.
    """

    def __init__(self, operators: Sequence[Any] = (), **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.operators = [
            keras.saving.deserialize_keras_object(layer) if isinstance(layer, dict) else layer for layer in operators
        ]

    def build(self, input_shape: Any) -> None:
        """Build the operators."""
        for operator in self.operators:
            operator.build(input_shape[0])

    def call(self, inputs: Any, training: bool = False) -> tuple[Tensor, Tensor]:
        """Return both views of each song."""
        vectors, presence, group = inputs
        group = ops.broadcast_to(ops.cast(group, "bool"), ops.shape(presence))
        groups = ops.concatenate([group, ops.logical_not(group)], axis=0)
        original = ops.concatenate([vectors, vectors], axis=0)
        presence = ops.concatenate([presence, presence], axis=0)
        corrupted = original
        for operator in self.operators:
            corrupted = operator(corrupted, training=training)
        return self.compose(original, corrupted, presence, groups)

    def compose(self, original: Tensor, corrupted: Tensor, presence: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
        """Return the views from all fields and the group of each view."""
        raise NotImplementedError

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, Any]:
        """Return twice the songs."""
        vectors, presence = tuple(input_shape[0]), tuple(input_shape[1])
        twice = None if vectors[0] is None else 2 * vectors[0]
        return (twice, *vectors[1:]), (twice, *presence[1:])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.operators]
        return {**super().get_config(), "operators": layers}


@keras.saving.register_keras_serializable(package="bcl_keras")
class SplitViews(_PairOfViews):
    """Let view 1 keep the fields of group A and view 2 those of group B (V1).

    The fields a view does not keep count as missing there. The operators act on what is kept.
    Arguments and shapes are those of the pair of views: see `call`.

    Examples:
        >>> vectors, presence = ops.ones((1, 2, 3)), ops.ones((1, 2))
        >>> _, kept = SplitViews()((vectors, presence, ops.convert_to_tensor([True, False])))
        >>> ops.convert_to_numpy(kept).tolist()
        [[1.0, 0.0], [0.0, 1.0]]

    References:
        Zhao et al., WWW'23 Companion, section 3.1.2; Yao et al., CIKM'21.
    """

    def compose(self, original: Tensor, corrupted: Tensor, presence: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
        """Hide the other group of each view."""
        return corrupted, ops.where(groups, presence, ops.zeros_like(presence))


@keras.saving.register_keras_serializable(package="bcl_keras")
class CorruptViews(_PairOfViews):
    """Let both views keep all fields, corrupted by the operators in group A for view 1, in group B for view 2 (V2).

    Arguments and shapes are those of the pair of views: see `call`.

    Examples:
        >>> vectors, presence = ops.ones((1, 2, 3)), ops.ones((1, 2))
        >>> views, kept = CorruptViews()((vectors, presence, ops.convert_to_tensor([True, False])))
        >>> tuple(views.shape), ops.convert_to_numpy(kept).tolist()
        ((2, 2, 3), [[1.0, 1.0], [1.0, 1.0]])

    References:
        Zhao et al., WWW'23 Companion, section 3.1.2.
    """

    def compose(self, original: Tensor, corrupted: Tensor, presence: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
        """Corrupt one group of each view."""
        return ops.where(groups[:, :, None], corrupted, original), presence
