"""Checks one batch of a column of plays and converts it to int64: how often, whether liked, when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import numpy as np
import pyarrow as pa

from tfx_pipeline.contract.arrow_types import is_number, is_text, plain_type
from tfx_pipeline.contract.columns import Numbers, Place
from tfx_pipeline.contract.source import Header, Source
from tfx_pipeline.contract.stores.location import Location
from tfx_pipeline.contract.times import UNITS, EpochUnit, parse_times

_MOST_PLAYS = 2**62
_WHOLE = "a whole number of plays, 0 or more"


def is_count(arrow_type: pa.DataType) -> bool:
    """Returns whether numbers of plays may have this type."""
    return is_number(arrow_type) or bool(pa.types.is_null(arrow_type))


def is_flag(arrow_type: pa.DataType) -> bool:
    """Returns whether `liked` may have this type."""
    return bool(pa.types.is_boolean(plain_type(arrow_type))) or is_count(arrow_type)


def is_time(arrow_type: pa.DataType) -> bool:
    """Returns whether times may have this type."""
    plain = plain_type(arrow_type)
    return bool(pa.types.is_timestamp(plain) or pa.types.is_date(plain)) or is_text(plain) or is_count(plain)


def to_counts(array: pa.Array, place: Place) -> pa.Array:
    """Returns the plays of each row as int64; null counts as 1, as an absent column does.

    Raises:
        ContractError: A number is negative, is not a whole number or does not fit.
    """
    if (found := bad_count(array)) is not None:
        index, expected = found
        raise place.broken(expected, array[index].as_py(), index)
    return count_plays(array)


def bad_count(array: pa.Array) -> tuple[int, str] | None:
    """Returns the first element that is not a number of plays, and what was expected there; None if all are."""
    array = _plain(array)
    numbers, rows = _exact(array.drop_null()), np.flatnonzero(np.asarray(array.is_valid()))
    bad = np.asarray(numbers < 0, bool)
    if numbers.dtype.kind == "f":
        bad |= ~np.isfinite(numbers) | (np.trunc(numbers) != numbers)
    elif numbers.dtype.kind == "O":
        bad |= np.array([number != number.to_integral_value() for number in numbers], bool)
    for mask, expected in ((bad, _WHOLE), (np.asarray(numbers > _MOST_PLAYS, bool), f"{_WHOLE}, within int64")):
        if mask.any():
            return int(rows[mask.argmax()]), expected
    return None


def count_plays(array: pa.Array) -> pa.Array:
    """Returns numbers of plays that were checked before as int64; null counts as 1."""
    array = _plain(array)
    counts = np.ones(len(array), np.int64)
    counts[np.asarray(array.is_valid())] = _exact(array.drop_null()).astype(np.int64)
    return pa.array(counts)


def to_flags(array: pa.Array, place: Place) -> pa.Array:
    """Returns 1 where liked, else 0; null counts as not liked.

    Raises:
        ContractError: A number is neither 0 nor 1.
    """
    array = _plain(array)
    given, rows = array.drop_null(), np.flatnonzero(np.asarray(array.is_valid()))
    numbers = _exact(given)
    _refuse((numbers != 0) & (numbers != 1), given, rows, place, "true or false, or 1 or 0")
    flags = np.zeros(len(array), np.int64)
    flags[rows] = numbers.astype(np.int64)
    return pa.array(flags)


def to_seconds(array: pa.Array, place: Place, unit: str) -> pa.Array:
    """Returns seconds since 1970, rounded towards the past; null stays null.

    Args:
        array: Times, dates, text in ISO 8601, or counts of `unit` since 1970.
        place: Where it came from.
        unit: "s", "ms", "us" or "ns", as `epoch_units` found.
    """
    array = _plain(array)
    if is_text(array.type):
        array = parse_times(array, place)
    if pa.types.is_date(array.type):
        array = array.cast(pa.timestamp("s"))
    if pa.types.is_timestamp(array.type):
        unit = array.type.unit
        array = array.cast(pa.int64())
    present = np.asarray(array.is_valid())
    seconds = np.zeros(len(array), np.int64)
    if present.any():
        seconds[present] = (_moments(array.drop_null()) // UNITS[unit][1]).astype(np.int64)
    return pa.array(seconds, pa.int64(), mask=~present)


def epoch_units(source: Source, name: str, headers: Sequence[Header] | None = None) -> dict[Location, str]:
    """Returns, for each file in which times are numbers, the unit in which they count since 1970.

    Args:
        source: The table.
        name: The column.
        headers: The files to look at; None for all.

    Raises:
        ContractError: A number is not finite, or a file holds counts of two units.
    """
    found: dict[Location, EpochUnit] = {}
    given_headers = source.filled if headers is None else headers
    if not any(name in header.schema.names and is_number(header.schema.field(name).type) for header in given_headers):
        return {}
    for rows in (rows for header in given_headers for rows in source.batches_of(header, [name])):
        array = _plain(rows.column(name))
        if not is_number(array.type):
            continue
        given, places = array.drop_null(), np.flatnonzero(np.asarray(array.is_valid()))
        numbers, place = _moments(given), rows.place(name)
        far = ~(np.abs(numbers.astype(np.float64)) < float(2**63))  # True for NaN as well.
        _refuse(far, given, places, place, "a finite number since 1970 (null where the time is missing)")
        found.setdefault(rows.file, EpochUnit()).add(numbers, places, place)
    return {file: unit.unit for file, unit in found.items() if unit.unit}


def unit_notes(name: str, units: Mapping[Location, str]) -> Iterable[str]:
    """Yields a sentence that says in which unit numbers are read."""
    if not units:
        return
    names = list(dict.fromkeys(units.values()))
    if len(names) == 1:
        yield f"{name} is read as {UNITS[names[0]][0]} since 1970."
        return
    counted = [f"{UNITS[unit][0]} in {sum(u == unit for u in units.values())}" for unit in names]
    yield f"{name} is read as {', '.join(counted)} of {len(units)} files, since 1970."


def _plain(array: pa.Array) -> pa.Array:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _exact(array: pa.Array) -> Numbers:
    """Returns numbers without nulls as int64, uint64 or float64; decimals that are not whole stay Python objects."""
    if pa.types.is_null(array.type):
        return np.zeros(0, np.int64)
    if pa.types.is_boolean(array.type) or pa.types.is_decimal(array.type):
        with suppress(pa.ArrowInvalid):
            array = array.cast(pa.int64())
    numbers: Numbers = np.asarray(array.to_numpy(zero_copy_only=False))
    if numbers.dtype.kind == "f":
        return numbers.astype(np.float64)
    return numbers.astype(np.int64) if numbers.dtype.kind == "i" else numbers


def _moments(array: pa.Array) -> Numbers:
    numbers = _exact(array)
    return numbers.astype(np.float64) if numbers.dtype.kind == "O" else numbers


def _refuse(bad: Numbers, array: pa.Array, rows: Numbers, place: Place, expected: str) -> None:
    mask = np.asarray(bad, bool)
    if mask.any():
        index = int(mask.argmax())
        raise place.broken(expected, array[index].as_py(), int(rows[index]))
