"""Checks one batch of one column and converts it to the few types that the pipeline reads.

Every function takes the Arrow array of one batch and the place it came from. It returns an array of the same length, of
type string, list<string>, float32 or list<float32>, in which missing values are null.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.contract.arrow_types import is_text
from tfx_pipeline.contract.errors import ContractError, broken
from tfx_pipeline.contract.stores.location import Location
from tfx_pipeline.contract.text import quoted

Numbers = npt.NDArray[Any]
_FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Place:
    """Where an array came from: the file to name, the column, and the row of its first element."""

    file: Location | str
    column: str
    first_row: int = 0

    def broken(self, expected: str, received: object, index: int, remedy: str = "") -> ContractError:
        """Returns the error for the element at `index`."""
        return broken(self.file, expected, received, column=self.column, row=self.first_row + index, remedy=remedy)


def clean_category(array: pa.Array, place: Place) -> pa.Array:
    """Returns strings; the empty string is missing."""
    text = to_text(array, place)
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def clean_multi(array: pa.Array, place: Place) -> pa.Array:
    """Returns list<string>; null and empty elements are dropped, a list without elements is missing."""
    lengths, values = _flat(array)
    parents = np.repeat(np.arange(len(array)), lengths)
    text = to_text(values, Place(place.file, place.column), rows=parents + place.first_row)
    keep = np.asarray(pc.fill_null(pc.not_equal(text, ""), False))
    counts = np.bincount(parents[keep], minlength=len(array))
    return _lists(counts, text.filter(pa.array(keep)), present=counts > 0)


def clean_number(array: pa.Array, place: Place) -> pa.Array:
    """Returns float32.

    Raises:
        ContractError: A value is NaN or infinite, or beyond float32.
    """
    present = np.asarray(array.is_valid())
    numbers = _floats(array.filter(pa.array(present)))
    _check_finite(numbers, np.flatnonzero(present), place)
    cleaned = np.zeros(len(array), np.float32)
    cleaned[present] = numbers
    return pa.array(cleaned, mask=~present)


def clean_vector(array: pa.Array, place: Place) -> pa.Array:
    """Returns list<float32>. An empty vector, and one with a null element, is missing as a whole.

    Raises:
        ContractError: An element is NaN or infinite, or beyond float32.
    """
    lengths, values = _flat(array)
    parents = np.repeat(np.arange(len(array)), lengths)
    holed = np.zeros(len(array), bool)
    holed[parents[np.asarray(values.is_null())]] = True
    present = (lengths > 0) & ~holed
    keep = present[parents] if len(parents) else np.zeros(0, bool)
    numbers = _floats(values.filter(pa.array(keep)))
    _check_finite(numbers, parents[keep], place)
    return _lists(np.where(present, lengths, 0), pa.array(numbers.astype(np.float32)), present=present)


def clean_id(array: pa.Array, place: Place) -> pa.Array:
    """Returns strings without a missing one.

    Raises:
        ContractError: An id is null or empty, or holds a NUL character.
    """
    text = to_text(array, place)
    missing = np.asarray(pc.fill_null(pc.equal(text, ""), True))
    if missing.any():
        index = int(missing.argmax())
        raise place.broken("an id", "null" if text[index].as_py() is None else "an empty string", index)
    # Arrays of a fixed width drop trailing NULs, so such an id would become another one.
    with_nul = np.asarray(pc.match_substring(text, "\0"))
    if with_nul.any():
        index = int(with_nul.argmax())
        raise place.broken("an id without a NUL character", quoted(text[index].as_py()), index)
    return text


def display_text(array: pa.Array) -> pa.Array:
    """Returns any column as strings for display.

    Lists are joined by ", ", structures become JSON, and the empty string becomes null.
    """
    return pa.array(
        [_shown(value) for value in array.to_pylist()] if not is_text(array.type) else _decoded(array), pa.string()
    )


def to_text(array: pa.Array, place: Place, rows: Numbers | None = None) -> pa.Array:
    """Returns a string array from any of Arrow's string types.

    Args:
        array: String, large_string or dictionary of them.
        place: Where it came from.
        rows: The row of each element. Defaults to one element for each row.

    Raises:
        ContractError: An element is not UTF-8.
    """
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_null(array.type):
        return array.cast(pa.string())
    if not _is_utf8(array):
        low, high = 0, len(array)
        while high - low > 1:  # The first bad element, by halves.
            middle = (low + high) // 2
            low, high = (low, middle) if not _is_utf8(array.slice(low, middle - low)) else (middle, high)
        index = int(rows[low]) if rows is not None else low
        raise place.broken("text in UTF-8", "bytes that are not", index)
    return array.cast(pa.string())


def _is_utf8(array: pa.Array) -> bool:
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def list_lengths(array: pa.Array) -> Numbers:
    """Returns the number of elements of each list, 0 where null."""
    if pa.types.is_fixed_size_list(array.type):  # Some versions leave null lists out of the count, some do not.
        return np.where(np.asarray(array.is_valid()), array.type.list_size, 0).astype(np.int64)
    return np.asarray(pc.fill_null(pc.list_value_length(array), 0)).astype(np.int64)


def _flat(array: pa.Array) -> tuple[Numbers, pa.Array]:
    """Returns the length of each list (0 where null) and the elements of all."""
    lengths = list_lengths(array)
    return lengths, array.drop_null().flatten()


def _lists(counts: Numbers, values: pa.Array, *, present: Numbers) -> pa.Array:
    """Returns the list array with `counts[i]` elements in row i, null where not present."""
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    offsets = pa.array(ends, pa.int32(), mask=np.concatenate([~present, [False]]))
    return pa.ListArray.from_arrays(offsets, values)


def _floats(array: pa.Array) -> Numbers:
    """Returns the non-null numbers as float64."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return np.asarray(array.to_numpy(zero_copy_only=False)).astype(np.float64)


def _check_finite(numbers: Numbers, rows: Numbers, place: Place) -> None:
    bad = ~(np.abs(numbers) <= _FLOAT32_MAX)  # True for NaN as well.
    if not bad.any():
        return
    index = int(bad.argmax())
    expected = "finite numbers within float32 (null where the value is missing)"
    raise place.broken(expected, repr(float(numbers[index])), int(rows[index]))


def _decoded(array: pa.Array) -> list[str | None]:
    """Returns text for display. Bytes that are not UTF-8 become U+FFFD: here nothing depends on them."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    values = array.cast(pa.large_binary()).to_pylist()
    return [value.decode("utf-8", "replace") if value else None for value in values]


def _shown(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, list):
        return ", ".join(shown for shown in map(_shown, value) if shown) or None
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True, default=str)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value) or None
