"""The raw inputs of the served model: how `embed` and `match` take them, and how a tf.Example holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

SONG_ID = "song_id"
#: The output of every signature that counts the fields of a song that the model knows.
KNOWN_FIELDS = "known_fields"


@dataclass(frozen=True)
class RawField:
    """A raw input of the served model. `length` is that of a vector, else 1."""

    name: str
    kind: str
    length: int = 1

    @property
    def dtype(self) -> tf.DType:
        return tf.string if self.kind in ("category", "multi_category") else tf.float32

    def tensor_spec(self) -> tf.TensorSpec:
        """Returns shape and dtype of the named input of `embed` and `match`."""
        shape = {"multi_category": [None, None], "vector": [None, self.length]}.get(self.kind, [None])
        return tf.TensorSpec(shape, self.dtype, name=self.name)

    def to_sparse(self, values: tf.Tensor) -> tf.SparseTensor:
        """Turns a named input into what parsing a tf.Example gives, which is what the feature transform takes."""
        matrix = values if self.kind in ("multi_category", "vector") else values[:, tf.newaxis]
        if self.dtype == tf.string:
            present = tf.not_equal(matrix, "")
        else:
            finite = tf.logical_not(tf.math.is_nan(matrix))
            present = tf.broadcast_to(tf.reduce_all(finite, axis=1, keepdims=True), tf.shape(matrix))
        indices = tf.where(present)
        return tf.SparseTensor(indices, tf.gather_nd(matrix, indices), tf.shape(matrix, out_type=tf.int64))

    def stand_in(self) -> Any:
        """Returns a value for a warm-up request: nothing real, but not missing either."""
        return {"category": "-", "multi_category": ["-"], "number": 0.0}.get(self.kind, [0.0] * self.length)

    def to_array(self, values: Sequence[Any]) -> np.ndarray:
        """Returns the named input for values of some songs; None is missing."""
        if self.kind == "category":
            return np.array([value or "" for value in values], object)
        if self.kind == "number":
            return np.array([np.nan if value is None else value for value in values], np.float32)
        if self.kind == "vector":
            return np.array([[np.nan] * self.length if value is None else value for value in values], np.float32)
        width = 1 + max((len(value or ()) for value in values), default=0)
        rows = [["", *(value or ())] for value in values]
        return np.array([row + [""] * (width - len(row)) for row in rows], object)


def integer_id(song_id: str) -> int:
    """Returns an id as int64, for an index whose ids are integers.

    Raises:
        ValueError: If it is not the one way to write an integer of 0 or more: "007" and "7" must not become one song.
    """
    is_number = song_id.isascii() and song_id.isdigit() and len(song_id) <= len(str(2**63))
    if not (is_number and str(int(song_id)) == song_id and int(song_id) < 2**63):
        raise ValueError(
            f"song_id: expected an integer of 0 or more without leading zeros, as the index has. Received: {song_id!r}"
        )
    return int(song_id)


def encode_song(song: Mapping[str, Any], fields: Sequence[RawField]) -> bytes:
    """Returns a song as a serialized tf.Example: its `song_id`, if it has one, and its fields; None is missing."""
    example = tf.train.Example()
    feature = example.features.feature
    if song.get(SONG_ID) is not None:
        feature[SONG_ID].bytes_list.value.append(song[SONG_ID].encode())
    for field in fields:
        value = song.get(field.name)
        if value is None:
            continue
        values = [value] if field.kind in ("category", "number") else value
        if field.dtype == tf.string:
            feature[field.name].bytes_list.value.extend(text.encode() for text in values)
        else:
            feature[field.name].float_list.value.extend(values)
    return example.SerializeToString(deterministic=True)


def fields_of(signature: Any) -> tuple[RawField, ...]:
    """Returns the fields that a SignatureDef of `embed` takes: type and shape of an input say its kind."""
    return fields_of_specs(
        {
            name: tf.TensorSpec(tf.TensorShape(info.tensor_shape), tf.as_dtype(info.dtype))
            for name, info in signature.inputs.items()
        }
    )


def fields_of_specs(specs: Mapping[str, tf.TensorSpec]) -> tuple[RawField, ...]:
    """Returns the fields that a function of `embed`'s inputs takes."""
    fields = []
    for name, spec in sorted(specs.items()):
        if spec.dtype == tf.string:
            fields.append(RawField(name, "multi_category" if spec.shape.rank == 2 else "category"))
        elif spec.shape.rank == 2:
            fields.append(RawField(name, "vector", spec.shape[1]))
        else:
            fields.append(RawField(name, "number"))
    return tuple(fields)
