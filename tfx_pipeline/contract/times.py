"""Reads times as text in the usual forms of ISO 8601, and as numbers that count some unit since 1970.

Text is a date, or a date and a time with T or a blank between; the time may have a fraction of any length and a zone:
Z, UTC, GMT or an offset such as +02:00, +0530 or +05. Without a zone it is UTC. What lies below a microsecond is cut.

The size of the numbers decides their unit, because tools write all four:

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
_FAR = 2.0**63
_DAY = 86_400_000_000
_ISO = (
    r"^(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ](?P<time>[0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:[.,](?P<fraction>[0-9]+))?"
    r" ?(?P<zone>[Zz]|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?)?)?$"
)
_ZONE = r"(?:[Zz]|UTC|GMT|:[0-9]{2}(?:[.,][0-9]+)? ?[+-][0-9]{2}(?::?[0-9]{2})?)$"
_COUNT = r"^[+-]?(?:[0-9]{1,19}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
_EXPECTED = "a time as 2024-05-31T12:00:00Z, or a number of seconds since 1970"


class EpochUnit:
    """The one unit of a column of counts since 1970, found batch by batch."""

    def __init__(self) -> None:
        self.unit: str | None = None

    def add(self, numbers: Numbers, rows: Numbers, place: Place) -> None:
        """Takes a batch into account. 0 is a time in every unit.

        Args:
            numbers: `(n,)` counts, without a missing one.
            rows: `(n,)` places of these in the batch.
            place: Where the batch came from.

        Raises:
            ContractError: A number is of another size than those before it.
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
    """Returns microseconds since 1970 of counts in `unit`; what lies below a microsecond is cut towards the past."""
    per_second = UNITS[unit][1]
    if per_second <= 10**6:
        factor = 10**6 // per_second
        return np.floor(numbers * factor).astype(np.int64) if numbers.dtype.kind == "f" else numbers * factor
    return np.floor(numbers / 1000).astype(np.int64) if numbers.dtype.kind == "f" else numbers // 1000


def parse_times(text: pa.Array, place: Place) -> pa.Array:
    """Returns the times of ISO 8601 text as timestamps of microseconds in UTC; null and the empty string are missing.

    Args:
        text: Of any of Arrow's string types.
        place: Where it came from.

    Raises:
        ContractError: A cell is no such text, or names a time that does not exist.
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
    micros: Numbers = (
        _each(date, _midnight, text, place)
        + _each(time, _since_midnight, text, place)
        + _fractions(fraction)
        - _each(zone, _offset, text, place)
    )
    return pa.array(micros, pa.int64(), mask=~np.asarray(text.is_valid())).cast(TIME)


def _places(numbers: Numbers) -> Numbers:
    """Returns 0 to 3 for each number: the place of its unit."""
    # As floats, because the absolute value of the smallest int64 does not fit into one.
    return np.searchsorted(_BOUNDS, np.abs(numbers.astype(np.float64)), side="right")


def _each(parts: pa.Array, read: Any, text: pa.Array, place: Place) -> Numbers:
    """Returns `read` of each part in microseconds, called once for each distinct one; 0 where there is none."""
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
    """Returns the microseconds of digits after a decimal point."""
    first = pc.utf8_slice_codeunits(pc.fill_null(digits, ""), 0, 6)
    return np.asarray(pc.utf8_rpad(first, 6, "0").cast(pa.int64()))


def _offset(zone: str) -> int:
    if not re.match("[+-]", zone):
        return 0
    hours, minutes = int(zone[1:3]), int(zone[3:].lstrip(":") or 0)
    if hours > 18 or minutes > 59:
        raise ValueError(zone)
    return (-1 if zone[0] == "-" else 1) * (hours * 60 + minutes) * 60 * 10**6


class TimeReader:
    """Reads a column of text that holds ISO 8601 or numbers, batch by batch, and remembers what it understood."""

    def __init__(self) -> None:
        self._unit = EpochUnit()
        self._texts = self._zoneless = self._numbers = 0
        self._first, self._last = np.iinfo(np.int64).max, np.iinfo(np.int64).min

    def read(self, cells: pa.Array, place: Place) -> pa.Array:
        """Returns the times of trimmed cells, null where the cell is null.

        Raises:
            ContractError: A cell is not a time, or the numbers are of several units.
        """
        numeric = np.asarray(pc.fill_null(pc.match_substring_regex(cells, _COUNT), False))
        times = parse_times(pc.if_else(pa.array(numeric), pa.scalar(None, pa.string()), cells), place)
        micros = np.array(pc.fill_null(times.cast(pa.int64()), 0))
        if numeric.any():
            counts = _counts(cells.filter(pa.array(numeric)))
            far = np.flatnonzero(np.abs(counts.astype(np.float64)) >= _FAR)
            if len(far):
                index = int(np.flatnonzero(numeric)[far[0]])
                raise place.broken("a time that nanoseconds can count", repr(cells[index].as_py()), index)
            self._unit.add(counts, np.flatnonzero(numeric), place)
            micros[numeric] = epoch_times(counts, self._unit.unit or "s")
        present = np.asarray(cells.is_valid())
        self._remember(cells.filter(pa.array(present & ~numeric)), int(numeric.sum()), micros[present])
        return pa.array(micros, pa.int64(), mask=~present).cast(TIME)

    def _remember(self, texts: pa.Array, numbers: int, micros: Numbers) -> None:
        self._texts += len(texts)
        self._numbers += numbers
        self._zoneless += len(texts) - int(pc.sum(pc.match_substring_regex(texts, _ZONE)).as_py() or 0)
        if len(micros):
            self._first, self._last = min(self._first, int(micros.min())), max(self._last, int(micros.max()))

    def notes(self) -> tuple[str, ...]:
        """Returns how the column was read, and the days it spans, which shows a wrong reading."""
        found = [f"{UNITS[self._unit.unit or 's'][0]} since 1970 (by the size of the numbers)"] * (self._numbers > 0)
        found += ["ISO 8601"] * (self._texts > 0)
        if not found:
            return ()
        zone = f"; {self._zoneless:,} without a zone are read as UTC" if self._zoneless else ""
        days = [str(np.datetime64(micros, "us").astype("datetime64[D]")) for micros in (self._first, self._last)]
        return (f"timestamp: read as {' and '.join(found)}, from {days[0]} to {days[1]}{zone}",)


def _counts(cells: pa.Array) -> Numbers:
    """Returns integers where all cells are written as such, so that no digit is lost, else floats."""
    whole = pc.all(pc.match_substring_regex(cells, "^-?[0-9]{1,18}$")).as_py()
    return np.asarray(cells.cast(pa.int64())) if whole else np.array([float(cell) for cell in cells.to_pylist()])
