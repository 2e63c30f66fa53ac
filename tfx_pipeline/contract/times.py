"""Times as text and as numbers: ISO 8601 in its usual forms, and counts of some unit since 1970.

Text is a date, or a date and a time with T or a blank between; the time may have a fraction of any length and a zone:
Z, UTC, GMT or an offset such as +02:00, +0530 or +05. Without a zone it is UTC. What lies below a microsecond is cut.

The unit of numbers is read off their size, because tools write all four:

| absolute value | unit | as seconds, these would be |
| --- | --- | --- |
| below 10^11 | seconds | up to the year 5138 |
| below 10^14 | milliseconds | 1973 to 5138 |
| below 10^17 | microseconds | 1973 to 5138 |
| from 10^17 on | nanoseconds | from 1973 on |

So milliseconds of the years 1970 to 1973 look like seconds; a column that holds both sizes is refused.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.contract.columns import Place, to_text

Numbers = npt.NDArray[Any]
TIME = pa.timestamp("us", "UTC")
#: Name of each unit, and how many make a second.
UNITS = {
    "s": ("seconds", 1),
    "ms": ("milliseconds", 10**3),
    "us": ("microseconds", 10**6),
    "ns": ("nanoseconds", 10**9),
}
_BOUNDS = (10**11, 10**14, 10**17)
_DAY = 86_400_000_000
_ISO = (
    r"^(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ](?P<time>[0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:[.,](?P<fraction>[0-9]+))?"
    r" ?(?P<zone>[Zz]|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?)?)?$"
)
_EXPECTED = "a time as 2024-05-31T12:00:00Z, or a number of seconds since 1970"


def epoch_unit(numbers: Numbers) -> str:
    """Return the unit of counts since 1970, "s", "ms", "us" or "ns": that of the largest; "s" of none.

    Args:
        numbers: `(n,)` integers or floats, without a missing one.
    """
    return list(UNITS)[int(_places(numbers).max(initial=0))]


class EpochUnit:
    """The one unit of a column of counts since 1970, found batch by batch."""

    def __init__(self) -> None:
        self.unit: str | None = None

    def add(self, numbers: Numbers, rows: Numbers, place: Place) -> None:
        """Take a batch into account. 0 is a time in every unit.

        Args:
            numbers: `(n,)` counts, without a missing one.
            rows: `(n,)` places of these in the batch.
            place: where the batch came from.

        Raises:
            ContractError: a number is of another size than those before it.
        """
        counted = np.flatnonzero(numbers)
        if not len(counted):
            return
        places = _places(numbers[counted])
        self.unit = self.unit or list(UNITS)[int(places[0])]
        other = np.flatnonzero(places != list(UNITS).index(self.unit))
        if len(other):
            index = counted[other[0]]
            found = UNITS[list(UNITS)[int(places[other[0]])]][0]
            expected = f"{UNITS[self.unit][0]} since 1970, as in the rows before"
            received = f"{numbers[index]}, which by its size counts {found}"
            raise place.broken(expected, received, int(rows[index]), remedy="Write all times in one unit.")


def epoch_times(numbers: Numbers, unit: str) -> Numbers:
    """Return microseconds since 1970 of counts in `unit`; what lies below a microsecond is cut towards the past."""
    per_second = UNITS[unit][1]
    if per_second <= 10**6:
        factor = 10**6 // per_second
        return np.floor(numbers * factor).astype(np.int64) if numbers.dtype.kind == "f" else numbers * factor
    return np.floor(numbers / 1000).astype(np.int64) if numbers.dtype.kind == "f" else numbers // 1000


def parse_times(text: pa.Array, place: Place) -> pa.Array:
    """Return the times of ISO 8601 text as timestamps of microseconds in UTC; null and the empty string are missing.

    Args:
        text: of any of Arrow's string types.
        place: where it came from.

    Raises:
        ContractError: a cell is no such text, or names a time that does not exist.
    """
    text = pc.utf8_trim_whitespace(to_text(text, place))
    text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    if text.null_count == len(text):
        return pa.nulls(len(text), TIME)
    parts = pc.extract_regex(text, _ISO)
    unread = np.asarray(text.is_valid()) & ~np.asarray(parts.is_valid())
    if unread.any():
        index = int(unread.argmax())
        raise place.broken(_EXPECTED, repr(text[index].as_py()), index)
    date, time, fraction, zone = (parts.field(name) for name in range(4))
    micros = (
        _each(date, _midnight, text, place)
        + _each(time, _since_midnight, text, place)
        + _fractions(fraction)
        - _each(zone, _offset, text, place)
    )
    return pa.array(micros, pa.int64(), mask=~np.asarray(text.is_valid())).cast(TIME)


def _places(numbers: Numbers) -> Numbers:
    """Return 0 to 3 for each number: the place of its unit."""
    # As floats, because the absolute value of the smallest int64 does not fit into one.
    return np.searchsorted(_BOUNDS, np.abs(numbers.astype(np.float64)), side="right")


def _each(parts: pa.Array, read: Any, text: pa.Array, place: Place) -> Numbers:
    """Return `read` of each part in microseconds, called once for each distinct one; 0 where there is none."""
    encoded = parts.dictionary_encode()
    micros = np.zeros(len(encoded.dictionary) + 1, np.int64)
    codes = np.asarray(pc.fill_null(encoded.indices, len(encoded.dictionary)))
    for code, part in enumerate(encoded.dictionary.to_pylist()):
        try:
            micros[code] = read(part or "")
        except ValueError as error:
            index = int((codes == code).argmax())
            if text[index].is_valid:
                raise place.broken("a time that exists", repr(text[index].as_py()), index) from error
    return micros[codes]


def _midnight(date: str) -> int:
    # Null cells and, in some versions of Arrow, absent groups come as the empty string.
    return int(np.datetime64(date, "D").astype(np.int64)) * _DAY if date else 0


def _since_midnight(time: str) -> int:
    hours, minutes, seconds = [int(part) for part in f"{time}:00:00".split(":")[:3]] if time else (0, 0, 0)
    if hours > 23 or minutes > 59 or seconds > 60:  # 60 is a leap second.
        raise ValueError(time)
    return ((hours * 60 + minutes) * 60 + seconds) * 10**6


def _fractions(digits: pa.Array) -> Numbers:
    """Return the microseconds of digits after a decimal point."""
    first = pc.utf8_slice_codeunits(pc.fill_null(digits, ""), 0, 6)
    return np.asarray(pc.utf8_rpad(first, 6, "0").cast(pa.int64()))


def _offset(zone: str) -> int:
    if not re.match("[+-]", zone):
        return 0
    hours, minutes = int(zone[1:3]), int(zone[3:].lstrip(":") or 0)
    if hours > 18 or minutes > 59:
        raise ValueError(zone)
    return (-1 if zone[0] == "-" else 1) * (hours * 60 + minutes) * 60 * 10**6
