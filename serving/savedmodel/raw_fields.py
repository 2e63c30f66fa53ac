"""The raw inputs of the served model: how `embed` and `match` take them, and how a tf.Example holds them.

This is the one place that writes and reads tf.Examples of songs for models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from serving.savedmodel.graph_checks import of_count, of_width

SONG_ID = "song_id"
#: The output of every signature that counts the fields of a song that the model knows.
KNOWN_FIELDS = "known_fields"
#: Signatures that give songs without known fields no matches, and those that give them some.
UNKNOWN_TOO = {"match": "match_unknown"}


@dataclass(frozen=True)
class RawKind:
    """How inputs of one kind of field are given to a served model.

    Attributes:
        dtype: Type of the values.
        is_list: Whether one song has a list of values.
        is_sized: Whether every list has the field's length.
        stand_in: One value for a warm-up request: nothing real, but not missing either.
    """

    dtype: tf.DType
    is_list: bool
    is_sized: bool
    stand_in: str | float


#: The wire form of the kinds in `bcl_keras.kinds`, which a server does not import.
RAW_KINDS: dict[str, RawKind] = {
    "category": RawKind(tf.string, is_list=False, is_sized=False, stand_in="-"),
    "multi_category": RawKind(tf.string, is_list=True, is_sized=False, stand_in="-"),
    "number": RawKind(tf.float32, is_list=False, is_sized=False, stand_in=0.0),
    "vector": RawKind(tf.float32, is_list=True, is_sized=True, stand_in=0.0),
}


@dataclass(frozen=True)
class RawField:
    """A raw input of the served model. `length` is that of a vector, else 1."""

    name: str
    kind: str
    length: int = 1

    @property
    def dtype(self) -> tf.DType:
        """Type of the values."""
        return RAW_KINDS[self.kind].dtype

    @property
    def is_categorical(self) -> bool:
        """Whether values are words. Else they are numbers."""
        return bool(self.dtype == tf.string)

    @property
    def is_list(self) -> bool:
        """Whether one song has a list of values."""
        return RAW_KINDS[self.kind].is_list

    @property
    def is_sized(self) -> bool:
        """Whether every list has `length` values."""
        return RAW_KINDS[self.kind].is_sized

    @property
    def missing(self) -> str | float:
        """The value that stands for a missing one."""
        return "" if self.is_categorical else float("nan")

    def tensor_spec(self) -> tf.TensorSpec:
        """Returns shape and dtype of the named input of `embed` and `match`."""
        row = [self.length if self.is_sized else None] if self.is_list else []
        return tf.TensorSpec([None, *row], self.dtype, name=self.name)

    def to_sparse(self, values: tf.Tensor) -> tf.SparseTensor:
        """Returns a named input in the form of a parsed tf.Example, which is what the feature transform takes.

        A vector of another length ends the run with INVALID_ARGUMENT. One with NaN is missing.
        """
        if self.is_sized:
            values = of_width(values, self.name, self.length)
        matrix = values if self.is_list else values[:, tf.newaxis]
        if self.is_categorical:
            present = tf.not_equal(matrix, "")
        else:
            finite = tf.logical_not(tf.math.is_nan(matrix))
            present = tf.broadcast_to(tf.reduce_all(finite, axis=1, keepdims=True), tf.shape(matrix))
        indices = tf.where(present)
        return tf.SparseTensor(indices, tf.gather_nd(matrix, indices), tf.shape(matrix, out_type=tf.int64))

    def checked_feature(self, parsed: tf.SparseTensor) -> tf.SparseTensor:
        """Returns the parsed feature of tf.Examples; one with too few or too many values ends the run."""
        is_any_length = self.is_list and not self.is_sized
        return parsed if is_any_length else of_count(parsed, self.name, self.length)

    def stand_in(self) -> Any:
        """Returns a value for a warm-up request: nothing real, but not missing either."""
        value = RAW_KINDS[self.kind].stand_in
        return [value] * self.length if self.is_list else value

    def to_array(self, values: Sequence[Any]) -> np.ndarray[Any, Any]:
        """Returns the named input for values of some songs; None is missing."""
        dtype = object if self.is_categorical else np.float32
        if not self.is_list:
            return np.array([self.missing if value is None else value for value in values], dtype)
        if self.is_sized:
            return np.array([[self.missing] * self.length if value is None else value for value in values], dtype)
        # The first value is "": a batching server fills up shorter requests with it.
        width = 1 + max((len(value or ()) for value in values), default=0)
        rows = [[self.missing, *(value or ())] for value in values]
        return np.array([row + [self.missing] * (width - len(row)) for row in rows], dtype)


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
    """Returns a song as a serialized tf.Example.

    Args:
        song: Values by name. None is missing, and so is a field that is not there. `song_id` may be left out.
        fields: The fields to write. Other values of the song are passed over.
    """
    example = tf.train.Example()
    feature = example.features.feature
    if song.get(SONG_ID) is not None:
        feature[SONG_ID].bytes_list.value.append(song[SONG_ID].encode())
    for field in fields:
        value = song.get(field.name)
        if value is None:
            continue
        values = value if field.is_list else [value]
        if field.is_categorical:
            feature[field.name].bytes_list.value.extend(text.encode() for text in values)
        else:
            feature[field.name].float_list.value.extend(values)
    return example.SerializeToString(deterministic=True)


def song_id_of(example: bytes) -> bytes:
    """Returns the id of a serialized tf.Example of a song, as UTF-8."""
    return bytes(_features(example)[SONG_ID].bytes_list.value[0])


def texts_of(example: bytes, name: str) -> list[str]:
    """Returns the texts that a serialized tf.Example holds under a name; none where it holds no text there."""
    return [text.decode() for text in _features(example)[name].bytes_list.value]


def _features(example: bytes) -> Any:
    return tf.train.Example.FromString(example).features.feature


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
    return tuple(_field_of_spec(name, spec) for name, spec in sorted(specs.items()))


def _field_of_spec(name: str, spec: tf.TensorSpec) -> RawField:
    is_categorical, is_list = spec.dtype == tf.string, spec.shape.rank == 2
    kinds = RAW_KINDS.items()
    kind = next(n for n, k in kinds if (k.dtype == tf.string, k.is_list) == (is_categorical, is_list))
    return RawField(name, kind, spec.shape[1] if RAW_KINDS[kind].is_sized else 1)
