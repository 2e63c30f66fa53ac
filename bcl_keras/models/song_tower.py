"""The query tower: a song's embedding from its content alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from bcl_keras.config import BCLConfig, as_config
from bcl_keras.fields import Array, Field, as_fields, blocks_of
from bcl_keras.layers.field_encoder import FieldEncoder
from bcl_keras.layers.operators import FieldDropout
from bcl_keras.ops.numerics import l2_normalize

Tensor = Any


@keras.saving.register_keras_serializable(package="bcl_keras")
class SongTower(keras.layers.Layer):
    """Encode every field, join the field vectors and map them to one embedding.

    `call` is `encode_fields`, then `aggregate`, then unit length. The two halves are public because views act on
    field vectors between them.

    Args:
        fields: At least two fields, `Field` objects or their dicts.
        config: Settings, or their dict. Defaults to `BCLConfig()`.

    Call arguments:
        features: Dict of field name to values (see `Field`), any number of songs.
        training: Whether dropout is active.

    Returns:
        `(n, embedding_dim)` float32, of unit length if `config.normalize`.

    Examples:
        >>> tower = SongTower([Field("genre", "category", 3), Field("tempo", "number")])
        >>> songs = {"genre": ops.convert_to_tensor([1, 2]), "tempo": ops.convert_to_tensor([0.1, 0.9])}
        >>> tuple(tower(songs).shape)
        (2, 128)

    References:
        Zhao et al., WWW'23 Companion, section 3.1.
    """

    def __init__(
        self,
        fields: Sequence[Field | Mapping[str, Any]],
        config: BCLConfig | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.fields = as_fields(fields)
        if len(self.fields) < 2:
            raise ValueError(f"Argument `fields` must hold at least 2 fields. Received: {len(self.fields)}")
        self.config = as_config(config)
        seed = self.config.seed
        self.encoders = [
            FieldEncoder(field, self.config.field_dim, name=f"encoder_{index}", dtype=self.dtype_policy)
            for index, field in enumerate(self.fields)
        ]
        self.field_dropout = FieldDropout(self.config.field_dropout, seed=seed + 1)
        self.input_dropout = keras.layers.Dropout(self.config.input_dropout, seed=seed + 2, dtype=self.dtype_policy)
        self.hidden = [
            keras.layers.Dense(units, activation="gelu", name=f"hidden_{index}", dtype=self.dtype_policy)
            for index, units in enumerate(self.config.hidden_dims)
        ]
        self.hidden_dropouts = [
            keras.layers.Dropout(self.config.hidden_dropout, seed=seed + 3 + index, dtype=self.dtype_policy)
            for index in range(len(self.hidden))
        ]
        self.output_layer = keras.layers.Dense(self.config.embedding_dim, name="embedding", dtype=self.dtype_policy)

    def build(self, input_shape: Any = None) -> None:
        """Build every part; sizes follow from fields and settings alone."""
        for encoder in self.encoders:
            encoder.build()
        self.field_dropout.build()
        width = len(self.fields) * self.config.field_dim
        for layer in self.hidden:
            layer.build((None, width))
            width = layer.units
        self.output_layer.build((None, width))

    def encode_fields(self, features: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return field vectors `(n, F, field_dim)` and presence `(n, F)` boolean, fields in their order."""
        absent = [field.name for field in self.fields if field.name not in features]
        if absent:
            raise ValueError(f"Argument `features` must hold every field. Received: nothing for {absent}")
        values = [ops.convert_to_tensor(features[field.name]) for field in self.fields]
        vectors = [encoder(value) for encoder, value in zip(self.encoders, values, strict=True)]
        presence = [encoder.presence(value) for encoder, value in zip(self.encoders, values, strict=True)]
        return ops.stack(vectors, axis=1), ops.stack(presence, axis=1)

    def aggregate(self, vectors: Tensor, presence: Tensor, training: bool = False) -> Tensor:
        """Return embeddings `(n, embedding_dim)` before they get unit length.

        Args:
            vectors: `(n, F, field_dim)`.
            presence: `(n, F)`; where it is false, the field's learned vector for "missing" stands in.
            training: Whether dropout is active.
        """
        missing = ops.stack([ops.cast(encoder.missing_vector, vectors.dtype) for encoder in self.encoders])
        joined = ops.where(ops.cast(presence, "bool")[:, :, None], vectors, missing[None])
        width = len(self.fields) * self.config.field_dim
        joined = self.input_dropout(ops.reshape(joined, (-1, width)), training=training)
        for layer, dropout in zip(self.hidden, self.hidden_dropouts, strict=True):
            joined = dropout(layer(joined), training=training)
        return self.output_layer(joined)

    def finish(self, content: Tensor) -> Tensor:
        """Return content vectors `(n, embedding_dim)` as embeddings: float32, of unit length if so set."""
        return l2_normalize(content) if self.config.normalize else ops.cast(content, "float32")

    def block_parts(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return the part of each block in the embeddings, `(n, blocks, embedding_dim)`.

        It is the mean of two differences: what the block adds to a song without any other block, and what the song
        loses without the block. Two blocks that carry the same information share its effect; leaving one out alone
        would give nothing to either. Where blocks act alone or in pairs this is the Shapley value.
        """
        vectors, presence = self.encode_fields(features)

        def embed(shown: Array) -> Tensor:
            return self.finish(self.aggregate(vectors, ops.logical_and(presence, shown[None])))

        fields = np.array([field.name for field in self.fields])
        everything, nothing = embed(np.ones(len(fields), bool)), embed(np.zeros(len(fields), bool))
        parts = []
        for block in blocks_of(self.fields).values():
            own = np.isin(fields, [field.name for field in block])
            parts.append((embed(own) - nothing + everything - embed(~own)) / 2.0)
        return ops.stack(parts, axis=1)

    def call(self, features: Mapping[str, Tensor], training: bool = False) -> Tensor:
        """Embed songs by their content."""
        vectors, presence = self.encode_fields(features)
        presence = self.field_dropout(presence, training=training)
        return self.finish(self.aggregate(vectors, presence, training=training))

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, int]:
        """Return `(n, embedding_dim)`."""
        return (input_shape[self.fields[0].name][0], self.config.embedding_dim)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        own = {"fields": [field.to_dict() for field in self.fields], "config": self.config.to_dict()}
        return {**super().get_config(), **own}
