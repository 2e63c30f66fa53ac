"""Songs, as dicts or Arrow rows, to the arrays that a signature takes."""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from serving.client.signatures import Signature, TensorSpec
from serving.protocol.arrays import object_array, padded
from serving.protocol.data_types import numpy_dtype

Song = Mapping[str, Any]
Arrays = dict[str, np.ndarray[Any, Any]]

# Inputs of `match` that are not fields of a song.
CONTROLS = ("k", "exclude")
SONG_ID = "song_id"


def as_songs(songs: Any) -> list[Song]:
    """Returns the rows of a dict, a sequence of dicts, or an Arrow Table, RecordBatch, StructArray or row of one.

    Raises:
        TypeError: If it is something else.
    """
    if hasattr(songs, "as_py"):
        songs = songs.as_py()
    if isinstance(songs, Mapping):
        return [songs]
    if hasattr(songs, "to_pylist"):
        songs = songs.to_pylist()
    if isinstance(songs, (str, bytes)) or not isinstance(songs, Sequence):
        raise TypeError(f"`songs` must be dicts or an Arrow table. Received: {type(songs).__name__}")
    songs = [song.as_py() if hasattr(song, "as_py") else song for song in songs]
    for row, song in enumerate(songs):
        if not isinstance(song, Mapping):
            raise TypeError(f"`songs[{row}]` must be a dict of fields. Received: {song!r}")
    return songs


def check_fields(songs: Sequence[Song], signature: Signature, ignore: Collection[str] = ()) -> None:
    """Refuses fields that the signature lacks: a misspelt field would silently count as missing.

    Args:
        songs: The songs.
        signature: Of `embed` or `match`.
        ignore: Columns carried for display. `song_id` never is a field.

    Raises:
        ValueError: If a field is unknown.
    """
    known = [name for name in signature.inputs if name not in CONTROLS]
    allowed = {*known, *ignore, SONG_ID}
    for row, song in enumerate(songs):
        unknown = sorted(str(name) for name in song if name not in allowed)
        if unknown:
            raise ValueError(
                f"`songs[{row}]` must have no fields other than {known}, apart from columns named in `ignore`. "
                f"Received: {unknown}"
            )


def song_arrays(songs: Sequence[Song], signature: Signature) -> Arrays:
    """Returns one array per field of the signature, a row per song; what a song lacks, or has as None, is missing.

    Raises:
        ValueError, TypeError: If a value has the wrong kind or length. Song and field are named.
    """
    return {
        name: _column([song.get(name) for song in songs], name, spec)
        for name, spec in signature.inputs.items()
        if name not in CONTROLS
    }


def _column(values: Sequence[Any], name: str, spec: TensorSpec) -> np.ndarray[Any, Any]:
    rank = -1 if spec.shape is None else len(spec.shape)
    if spec.is_string and rank == 1:
        return object_array([_string(value, row, name) for row, value in enumerate(values)])
    if spec.is_string and rank == 2:
        return _string_lists(values, name)
    dtype = numpy_dtype(spec.dtype)
    if dtype is not None and dtype.kind == "f" and rank == 1:
        limit = _largest(dtype)
        return np.array([_number(value, row, name, limit) for row, value in enumerate(values)], dtype)
    if dtype is not None and dtype.kind == "f" and rank == 2:
        return _vectors(values, name, dtype, spec.shape[1] if spec.shape else -1)
    if dtype is not None and dtype.kind in "iub" and rank == 1:
        return np.array([_integer(value, row, name, dtype) for row, value in enumerate(values)], dtype)
    raise TypeError(f"input `{name}` must be of a kind that songs have. Received: {spec}")


def _refuse(row: int, name: str, expected: str, value: Any) -> TypeError:
    return TypeError(f"`songs[{row}][{name!r}]` must be {expected} or None. Received: {value!r}")


def _string(value: Any, row: int, name: str) -> bytes:
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise _refuse(row, name, "a string", value)
    return utf8(value, f"`songs[{row}][{name!r}]`")


def utf8(text: str, name: str) -> bytes:
    """Returns a text as a request carries it.

    Args:
        text: What was given.
        name: What it was given for.

    Raises:
        ValueError: If it holds half of a surrogate pair, as a JSON escape or an argument in another encoding may.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} must be text that UTF-8 can hold, without lone surrogates. Received: {text!r}"
        ) from error


def _largest(dtype: np.dtype[Any]) -> float:
    return float(np.finfo(dtype).max)


def _number(value: Any, row: int, name: str, limit: float) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise _refuse(row, name, "a finite number", value)
    # A number that the model's type cannot hold would become infinity, and the answer NaN.
    size: Any = abs(value)
    if size > limit:
        raise ValueError(
            f"`songs[{row}][{name!r}]` must be a finite number or None, at most {limit:.8g} in size. "
            f"Received: {shown(value)}"
        )
    return float(value)


def shown(number: Any) -> str:
    """Returns a number for a message; Python refuses to write integers of thousands of digits."""
    if isinstance(number, int) and number.bit_length() > 256:
        return f"an integer of {number.bit_length()} bits"
    return repr(number)


def _integer(value: Any, row: int, name: str, dtype: np.dtype[Any]) -> int:
    # No integer can mean "missing".
    if not isinstance(value, numbers.Integral):
        raise TypeError(f"`songs[{row}][{name!r}]` must be an integer. Received: {value!r}")
    return checked_integer(int(value), f"`songs[{row}][{name!r}]`", dtype)


def checked_integer(value: int, name: str, dtype: np.dtype[Any], least: int | None = None) -> int:
    """Returns `value` if `dtype` can hold it.

    Args:
        value: What was given.
        name: What it was given for.
        dtype: Of the tensor.
        least: Smallest allowed value; default the type's.

    Raises:
        ValueError: If it cannot.
    """
    low, high = (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    low = low if least is None else least
    if not low <= value <= high:
        raise ValueError(f"{name} must be an integer from {low} to {high}. Received: {shown(value)}")
    return value


def _string_lists(values: Sequence[Any], name: str) -> np.ndarray[Any, Any]:
    rows: list[list[bytes]] = []
    for row, value in enumerate(values):
        if value is not None and (isinstance(value, (str, bytes)) or not isinstance(value, (Sequence, np.ndarray))):
            raise _refuse(row, name, "a list of strings", value)
        rows.append([_string(part, row, name) for part in (() if value is None else value)])
    return np.array(padded(rows, b""), object).reshape(len(rows), -1 if rows else 1)


def _vectors(values: Sequence[Any], name: str, dtype: np.dtype[Any], size: int) -> np.ndarray[Any, Any]:
    if size < 0:
        size = max((len(value) for value in values if value is not None), default=0)
    array = np.full((len(values), size), np.nan, dtype)
    limit = _largest(dtype)
    for row, value in enumerate(values):
        if value is None:
            continue
        if isinstance(value, (str, bytes)) or not isinstance(value, (Sequence, np.ndarray)):
            raise _refuse(row, name, f"a list of {size} numbers", value)
        if len(value) != size:
            raise ValueError(f"`songs[{row}][{name!r}]` must have {size} numbers. Received: {len(value)}")
        array[row] = [_number(part, row, name, limit) for part in value]
    return array


def own_ids(songs: Sequence[Song]) -> list[Any]:
    """Returns the songs' own ids, None where one has none."""
    return [song.get(SONG_ID) for song in songs]
