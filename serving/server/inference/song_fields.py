"""Checks of songs in requests, before they reach a graph that might not check them.

Models exported today refuse vectors of the wrong length themselves; earlier ones took them as missing. No graph sees
the features of a tf.Example that it does not ask for, so only the server can refuse a misspelt name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError

from serving.protocol.errors import invalid_argument
from serving.protocol.protos import DATA_TYPES
from serving.server.inference.tensor_io import Array
from serving.server.refusals import exceeds

#: The names that the input contract lets a field of songs have.
FIELD_NAME = re.compile("(attribute|audio|lyric)_.")
_SONG_ID = "song_id"
_EXAMPLES = "examples"
# Of vectors: a row for each song, a column for each number.
_RANK = 2


class SongFields:
    """The fields of songs that a model takes: the inputs of its signature `embed`.

    Args:
        signatures: The model's SignatureDefs by name. A model that is not one of songs has no fields, and nothing of
            its requests is checked.
    """

    def __init__(self, signatures: Mapping[str, Any]) -> None:
        embed = signatures.get("embed")
        inputs = {} if embed is None else dict(embed.inputs)
        is_of_songs = all(FIELD_NAME.match(name) for name in inputs)
        self._lengths = {name: vector_length(info) for name, info in inputs.items()} if is_of_songs else {}

    def check(self, signature: Any, values: Mapping[str, Array]) -> None:
        """Checks the inputs of a request.

        Args:
            signature: The SignatureDef that is asked for.
            values: Its inputs by name.

        Raises:
            RequestError: INVALID_ARGUMENT, if a vector has the wrong length, or an example an unknown feature.
        """
        if not self._lengths:
            return
        for name, value in values.items():
            if (length := self._lengths.get(name)) is not None:
                _check_vectors(value, name, length)
        is_text = _EXAMPLES in values and signature.inputs[_EXAMPLES].dtype == DATA_TYPES["DT_STRING"]
        if len(values) == 1 and is_text and values[_EXAMPLES].dtype == object:
            for row, example in enumerate(values[_EXAMPLES].ravel().tolist()):
                self._check_example(example, row)

    def check_matches(self, values: Mapping[str, Array], most: int) -> None:
        """Refuses a request for too many matches, which are the rows times the largest `k`: each row has that length.

        Args:
            values: The inputs of a request by name.
            most: Matches of one request; 0 = no limit.

        Raises:
            RequestError: INVALID_ARGUMENT. It names the flag, its value and what was received.
        """
        k = values.get("k")
        if not self._lengths or most == 0 or k is None or k.dtype.kind not in "iu" or not k.size:
            return
        largest = int(k.max())
        # The graph has words of its own for a k beyond its range.
        if largest <= most < (matches := k.size * largest):
            raise exceeds("max_request_matches", most, matches, "matches, which are the rows times the largest k", "k")

    def _check_example(self, data: bytes, row: int) -> None:
        try:
            features = tf.train.Example.FromString(data).features.feature
        except (DecodeError, ValueError):  # the latter for names that are no UTF-8
            return  # TensorFlow has words for it
        for name in features:
            if name not in self._lengths and name != _SONG_ID:
                known = ", ".join(sorted(self._lengths))
                raise invalid_argument(
                    f"{_EXAMPLES}[{row}]: expected no features other than {known} and {_SONG_ID}. Received: {name}"
                )
            length, count = self._lengths.get(name), len(features[name].float_list.value)
            if length is not None and count not in (0, length):
                raise invalid_argument(f"{_EXAMPLES}[{row}]: {_expected(name, length)}, or none. Received: {count}")


def vector_length(info: Any) -> int | None:
    """Returns the numbers of a vector that an input takes for each row; None if it takes something else."""
    sizes = [dim.size for dim in info.tensor_shape.dim]
    is_vector = info.dtype == DATA_TYPES["DT_FLOAT"] and len(sizes) == _RANK and sizes[1] > 0
    return sizes[1] if is_vector else None


def _check_vectors(value: Array, name: str, length: int) -> None:
    if value.shape[1:] != (length,):
        row = " x ".join(map(str, value.shape[1:])) or "one number"
        raise invalid_argument(f"{_expected(name, length)}. Received: {row}")


def _expected(name: str, length: int) -> str:
    return f"{name}: expected {length} number{'' if length == 1 else 's'} for each song"
