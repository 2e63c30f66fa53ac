"""Turn all fields of a song into one vector whose products are a weighted sum of the fields' cosines."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from bcl_keras.content.words import WordMatrix
from bcl_keras.fields import Array, Field, as_fields, blocks_of, check_values, first_known
from bcl_keras.ops.lists import first_values
from bcl_keras.ops.numerics import l2_normalize

Tensor = Any


@keras.saving.register_keras_serializable(package="bcl_keras")
class ContentVector(keras.layers.Layer):
    """Join fields as unit blocks: `x . y = sum_b w_b cos_b(x, y)`, without anything learned from plays.

    Every field of ids is a block: inverse-document-frequency weights, unit length, and for more than `max_rank` ids
    their projection on the `max_rank` directions that hold most of the songs seen by `adapt`. Every vector is a block;
    all single numbers together are one. A missing value is a block of zeros, whose products are 0.

    Args:
        fields: `Field` objects or their dicts. Numbers should have mean 0 and deviation 1, as the pipeline's have.
        max_rank: Most elements of a block of ids. Defaults to 512.

    Call arguments:
        features: Dict of field name to values (see `Field`), any number of songs.

    Returns:
        `(n, dim)` float32.

    Examples:
        >>> from bcl_keras import Field
        >>> layer = ContentVector([Field("genre", "category", 3), Field("timbre", "vector", 2)])
        >>> songs = {"genre": np.array([1, 2]), "timbre": np.array([[3.0, 4.0], [0.0, 1.0]], "float32")}
        >>> layer.adapt(songs)
        >>> tuple(layer(songs).shape)
        (2, 5)

    References:
        Latent semantic analysis: Deerwester et al., JASIS 1990.
    """

    def __init__(
        self,
        fields: Sequence[Field | Mapping[str, Any]],
        max_rank: int = 512,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        if max_rank < 1:
            raise ValueError(f"Argument `max_rank` must be at least 1. Received: {max_rank}")
        self.fields = as_fields(fields)
        self.max_rank = max_rank
        self.blocks = blocks_of(self.fields)
        self.sizes = {name: self._size(block) for name, block in self.blocks.items()}
        self.dim = sum(self.sizes.values())

    def _size(self, block: tuple[Field, ...]) -> int:
        field = block[0]
        if field.is_categorical:
            return min(field.size, self.max_rank)
        return sum(field.size for field in block)

    def build(self, input_shape: Any = None) -> None:
        """Create the tables, zero until `adapt`; block weights are 1."""
        self.idf, self.bases = {}, {}
        for index, field in enumerate(self.fields):
            if field.is_categorical:
                shape = (field.size, self._size((field,)))
                self.idf[field.name] = self._state((field.size,), f"idf_{index}")
                self.bases[field.name] = self._state(shape, f"basis_{index}")
        self.scales = self._state((len(self.blocks),), "scales", "ones")

    def _state(self, shape: tuple[int, ...], name: str, initializer: str = "zeros") -> Any:
        return self.add_weight(
            shape=shape, initializer=initializer, trainable=False, autocast=False, dtype="float32", name=name
        )

    def adapt(self, features: Mapping[str, Any]) -> None:
        """Learn the weight of every id and the main directions of every field of many ids.

        Args:
            features: Field name to array of the songs to learn from, one row per song.

        Raises:
            ValueError: If a field is absent or breaks its contract.
        """
        if not self.built:
            self.build()
        for field in self.fields:
            if field.name not in features:
                raise ValueError(f"Argument `features` must hold every field. Received: nothing for {field.name!r}")
            values = check_values(field, features[field.name])
            if field.is_categorical:
                words = WordMatrix(first_known(field, values.reshape(len(values), -1)), field.size)
                self.idf[field.name].assign(words.idf)
                self.bases[field.name].assign(words.basis(self._size((field,))))

    def set_block_weights(self, weights: Mapping[str, float]) -> None:
        """Set by how much the cosine of each block counts.

        Args:
            weights: Number of at least 0 by name of block, for every one of `blocks`.

        Raises:
            ValueError: If a block is absent or unknown, or a weight is negative.
        """
        self.scales.assign(block_scales(weights, self.blocks))

    def block_vectors(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the unit rows of every block, `(n, size of the block)`, before they are weighted."""
        return {name: self._block(block, features) for name, block in self.blocks.items()}

    def scaled_blocks(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weighted rows of every block, which side by side are the joined vectors."""
        blocks = self.block_vectors(features).items()
        return {name: self.scales[place] * block for place, (name, block) in enumerate(blocks)}

    def call(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return the joined vectors."""
        return ops.concatenate(list(self.scaled_blocks(features).values()), axis=1)

    def _block(self, block: tuple[Field, ...], features: Mapping[str, Tensor]) -> Tensor:
        if block[0].is_categorical:
            return self._words(block[0], ops.convert_to_tensor(features[block[0].name]))
        return unit_numbers(block, features)

    def _words(self, field: Field, ids: Tensor) -> Tensor:
        ids = first_values(ids, field.max_values) if field.is_list else ids[:, None]
        ids = ops.cast(ids, "int32")
        weights = l2_normalize(ops.take(self.idf[field.name], ids, axis=0))
        vectors = ops.take(self.bases[field.name], ids, axis=0)  # (n, L, size)
        return ops.squeeze(ops.matmul(weights[:, None, :], vectors), axis=1)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, int]:
        """Return `(n, dim)`."""
        return (input_shape[self.fields[0].name][0], self.dim)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        own = {"fields": [f.to_dict() for f in self.fields], "max_rank": self.max_rank}
        return {**super().get_config(), **own}


def block_scales(weights: Mapping[str, float], blocks: Collection[str]) -> Array:
    """Return the root of the weight of each block, `(blocks,)` float32.

    Raises:
        ValueError: If a block is absent or unknown, or a weight is negative.
    """
    if set(weights) != set(blocks) or min(weights.values()) < 0:
        raise ValueError(f"Argument `weights` must hold {list(blocks)}, at least 0 each. Received: {dict(weights)}")
    return np.sqrt([weights[name] for name in blocks]).astype("float32")


def unit_numbers(block: Sequence[Field], features: Mapping[str, Tensor]) -> Tensor:
    """Return the numbers of a block as unit rows, `(n, numbers)`; missing values are zeros."""
    return l2_normalize(ops.concatenate([_known_numbers(field, features[field.name]) for field in block], axis=1))


def _known_numbers(field: Field, values: Tensor) -> Tensor:
    """Return numbers as `(n, size)` float32, with a row of zeros where the value is missing."""
    values = ops.cast(values, "float32")
    values = values if field.is_list else values[:, None]
    absent = ops.any(ops.isnan(values), axis=1, keepdims=True)
    return ops.where(absent, ops.zeros_like(values), values)
