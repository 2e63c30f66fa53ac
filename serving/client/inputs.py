"""Inputs that are not fields of a song: raw arrays, `k`, `exclude`; and the ids that come back."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.client.signatures import TensorSpec
from serving.client.songs import Song, checked_integer, own_ids, utf8
from serving.protocol.arrays import as_array, object_array
from serving.protocol.data_types import dtype_name, numpy_dtype

Array = np.ndarray[Any, Any]
OBJECT = np.dtype(object)


def as_input(name: str, value: Any, spec: TensorSpec | None) -> Array:
    """Converts to the input's own type; one that the signature lacks (`spec` None) is refused later.

    Raises:
        TypeError: If values are of another kind, such as strings for numbers.
    """
    dtype = None if spec is None else numpy_dtype(spec.dtype)
    array = as_array(value) if dtype == OBJECT else np.asarray(value)
    if dtype == OBJECT == array.dtype:
        return _strings(name, array)
    if spec is None or dtype is None or array.dtype == dtype:
        return array
    # Python's own numbers arrive as float64 and int64, and are meant for whatever type the model takes.
    if OBJECT in (array.dtype, dtype) or not (np.can_cast(array.dtype, dtype, "same_kind") or not array.size):
        raise TypeError(f"`inputs[{name!r}]` must be {dtype_name(spec.dtype)}. Received: dtype {array.dtype}")
    return array.astype(dtype)


def _strings(name: str, array: Array) -> Array:
    values = array.ravel().tolist()
    for value in values:
        if not isinstance(value, (str, bytes)):
            raise TypeError(f"`inputs[{name!r}]` must hold strings. Received: {value!r}")
    encoded = [utf8(value, f"`inputs[{name!r}]`") if isinstance(value, str) else value for value in values]
    return object_array(encoded).reshape(array.shape)


def k_input(k: int, rows: int, spec: TensorSpec) -> Array:
    """Returns how many matches: one number per song, or one for all where the signature takes a scalar."""
    dtype = numpy_dtype(spec.dtype)
    if dtype is not None and dtype.kind in "iu":
        checked_integer(int(k), "`k`", dtype, least=1)
    return np.full(rows, k, dtype) if spec.per_row else np.array(k, dtype)


def exclude_input(songs: Sequence[Song], exclude: Sequence[Any] | None, spec: TensorSpec) -> Array:
    """Returns the id that must not come back, per song; "" or -1 where there is none.

    It is the song's own where `exclude` is None.

    Raises:
        ValueError: If there is not one id per song, or the model's integers cannot hold an id.
        TypeError: If an id is of another type than the model's. Integers may be text, as songs.parquet has them.
    """
    ids = own_ids(songs) if exclude is None else list(exclude)
    if len(ids) != len(songs):
        raise ValueError(f"`exclude` must have one id per song, {len(songs)} of them. Received: {len(ids)}")
    if not spec.is_string:
        dtype = numpy_dtype(spec.dtype) or np.dtype(np.int64)
        return np.array([_integer_id(song_id, row, dtype) for row, song_id in enumerate(ids)], dtype)
    for row, song_id in enumerate(ids):
        if song_id is not None and not isinstance(song_id, str):
            raise TypeError(f"`exclude[{row}]` must be a string or None. Received: {song_id!r}")
    return object_array([b"" if i is None else utf8(i, f"`exclude[{row}]`") for row, i in enumerate(ids)])


def _integer_id(song_id: Any, row: int, dtype: np.dtype[Any]) -> int:
    if song_id is None:
        return -1
    if isinstance(song_id, str) and song_id.isascii() and song_id.isdigit():
        # No id has more digits, and Python refuses to read thousands of them.
        song_id = int(song_id[:100])
    if isinstance(song_id, bool) or not isinstance(song_id, numbers.Integral):
        raise TypeError(f"`exclude[{row}]` must be an integer or None. Received: {song_id!r}")
    return checked_integer(int(song_id), f"`exclude[{row}]`", dtype)


def decoded(ids: Array) -> Array:
    """Returns ids as str in place of bytes."""
    return object_array([value.decode() for value in ids.ravel().tolist()]).reshape(ids.shape)
