"""plays.parquet: checked in one pass, read again as clean batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.contract.columns import Numbers, Place, clean_id
from tfx_pipeline.contract.errors import broken
from tfx_pipeline.contract.fields import is_text
from tfx_pipeline.contract.source import Source
from tfx_pipeline.contract.text import quoted

_OPTIONAL = ("plays", "liked", "timestamp")
# 10^11 seconds is the year 5138: such a number counts milliseconds or less.
_LAST_SECOND = 100_000_000_000


@dataclass(frozen=True)
class Plays:
    """What one pass over plays.parquet found.

    Attributes:
        columns: the columns the pipeline reads, in order.
        num_plays: rows kept: of known songs, with at least one play.
        num_users: distinct users of the rows kept.
        unknown: rows dropped because songs.parquet lacks the song.
        zero: rows dropped because `plays` is 0.
        notes: what was passed over, in words.
    """

    columns: tuple[str, ...]
    num_plays: int
    num_users: int
    unknown: int
    zero: int
    notes: tuple[str, ...]

    @property
    def unknown_share(self) -> float:
        """Share of all rows that play an unknown song."""
        return self.unknown / max(self.num_plays + self.zero + self.unknown, 1)


def scan_plays(source: Source, song_ids: pa.Array, *, max_unknown_plays: float) -> Plays:
    """Check plays.parquet and return what it holds.

    Raises:
        ContractError: whatever breaks the contract first.
    """
    schema = source.schema()
    columns = _columns(schema, source)
    users, kept, unknown, zero, example = _Distinct(), 0, 0, 0, ""
    for first_row, batch in source.batches(list(columns)):
        cleaned, known, counted = _clean(batch, first_row, source, song_ids)
        if not known.all():
            index = int((~known).argmax())
            example = example or f"{quoted(cleaned.column('song_id')[index].as_py())} in row {first_row + index}"
        users.add(cleaned.column("user_id").filter(pa.array(known & counted)))
        kept += int((known & counted).sum())
        unknown += int((~known).sum())
        zero += int((known & ~counted).sum())
    notes = [f"Column {name} of plays is not read." for name in schema.names if name not in columns]
    notes += [f"{zero} rows with 0 plays are left out."] if zero else []
    notes += [f"{unknown} plays of unknown songs are left out, first {example}."] if unknown else []
    plays = Plays(columns, kept, users.count(), unknown, zero, tuple(notes))
    if plays.unknown_share > max_unknown_plays:
        expected = f"at most {max_unknown_plays:.2%} of plays of songs that songs.parquet lacks"
        raise broken(
            source.shown, expected, f"{plays.unknown_share:.2%} ({unknown} rows), first {example}", column="song_id"
        )
    if not kept:
        raise broken(source.shown, "at least one play of a known song", "none")
    return plays


def clean_plays(source: Source, plays: Plays, song_ids: pa.Array) -> Iterator[pa.RecordBatch]:
    """Yield the batches the pipeline reads: user_id, song_id, plays, then liked and timestamp where present."""
    for first_row, batch in source.batches(list(plays.columns)):
        cleaned, known, counted = _clean(batch, first_row, source, song_ids)
        yield cleaned.filter(pa.array(known & counted))


def read_plays(source: Source) -> pa.Table:
    """Return all plays in the pipeline's types, of whatever songs and also those with 0 plays.

    Raises:
        ContractError: whatever breaks the contract first.
    """
    columns = _columns(source.schema(), source)
    batches = [_clean(batch, first_row, source, None)[0] for first_row, batch in source.batches(list(columns))]
    return pa.Table.from_batches(batches, _schema(columns))


def plays_schema(plays: Plays) -> pa.Schema:
    """Return the schema of the prepared plays.parquet."""
    return _schema(plays.columns)


def _schema(columns: tuple[str, ...]) -> pa.Schema:
    found = [("user_id", pa.string()), ("song_id", pa.string()), ("plays", pa.int64())]
    return pa.schema([*found, *((name, pa.int64()) for name in ("liked", "timestamp") if name in columns)])


def _columns(schema: pa.Schema, source: Source) -> tuple[str, ...]:
    for name in ("user_id", "song_id"):
        if name not in schema.names:
            raise broken(source.shown, f"a column `{name}`", f"the columns {', '.join(schema.names) or '(none)'}")
        if not is_text(schema.field(name).type):
            received = schema.field(name).type
            raise broken(source.shown, "strings", received, column=name, remedy="Write the ids as strings.")
    present = [name for name in _OPTIONAL if name in schema.names]
    tests = {
        "plays": (_is_int, "whole numbers"),
        "liked": (_is_flag, "bool"),
        "timestamp": (_is_time, "a timestamp, or seconds since 1970 as int"),
    }
    for name in present:
        test, expected = tests[name]
        if not test(schema.field(name).type):
            raise broken(source.shown, expected, schema.field(name).type, column=name)
    return ("user_id", "song_id", *present)


def _is_int(arrow_type: pa.DataType) -> bool:
    return bool(pa.types.is_integer(arrow_type) or pa.types.is_null(arrow_type))


def _is_flag(arrow_type: pa.DataType) -> bool:
    return bool(pa.types.is_boolean(arrow_type)) or _is_int(arrow_type)


def _is_time(arrow_type: pa.DataType) -> bool:
    return pa.types.is_timestamp(arrow_type) or pa.types.is_date(arrow_type) or _is_int(arrow_type)


def _clean(
    batch: pa.RecordBatch, first_row: int, source: Source, song_ids: pa.Array | None
) -> tuple[pa.RecordBatch, Numbers, Numbers]:
    """Return the batch in the pipeline's types, whether each row's song is known, and whether it has plays."""
    place = {name: Place(source.shown, name, first_row) for name in batch.schema.names}
    arrays = {name: clean_id(batch.column(name), place[name]) for name in ("user_id", "song_id")}
    known = np.ones(len(batch), bool)
    if song_ids is not None:
        known = np.asarray(pc.is_in(arrays["song_id"], value_set=song_ids))
    names = batch.schema.names
    arrays["plays"] = _counts(batch.column("plays"), place["plays"]) if "plays" in names else _ones(batch.num_rows)
    if "liked" in names:
        arrays["liked"] = _flags(batch.column("liked"), place["liked"])
    if "timestamp" in names:
        arrays["timestamp"] = _seconds(batch.column("timestamp"), place["timestamp"])
    return pa.RecordBatch.from_pydict(arrays), known, np.asarray(arrays["plays"]) > 0


def _ones(rows: int) -> pa.Array:
    return pa.array(np.ones(rows, np.int64))


def _refuse(bad: pa.Array, array: pa.Array, place: Place, expected: str) -> None:
    mask = np.asarray(pc.fill_null(bad, False))
    if mask.any():
        index = int(mask.argmax())
        raise place.broken(expected, array[index].as_py(), index)


def _counts(array: pa.Array, place: Place) -> pa.Array:
    """Return the plays of each row as int64; null counts as 1, as an absent column does."""
    if pa.types.is_uint64(array.type):
        _refuse(pc.greater(array, pa.scalar(2**62, pa.uint64())), array, place, "a number of plays within int64")
    counts = array.cast(pa.int64())
    _refuse(pc.less(counts, 0), array, place, "a number of plays, 0 or more")
    return pc.fill_null(counts, 1)


def _flags(array: pa.Array, place: Place) -> pa.Array:
    """Return 1 where liked, else 0; null counts as not liked."""
    flags = array.cast(pa.int8() if pa.types.is_boolean(array.type) else array.type)
    if not pa.types.is_null(array.type):
        _refuse(pc.invert(pc.is_in(flags, value_set=pa.array([0, 1, None], flags.type))), array, place, "true or false")
    return pc.fill_null(flags.cast(pa.int64()), 0)


def _seconds(array: pa.Array, place: Place) -> pa.Array:
    """Return seconds since 1970; null stays null."""
    if pa.types.is_date(array.type):
        array = array.cast(pa.timestamp("s"))
    if pa.types.is_timestamp(array.type):
        per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[array.type.unit]
        ticks = array.cast(pa.int64())
        present = np.asarray(ticks.is_valid())
        seconds = np.asarray(pc.fill_null(ticks, 0)) // per_second  # Rounds towards the past before 1970 as well.
        return pa.array(seconds, pa.int64(), mask=~present)
    seconds = array.cast(pa.int64(), safe=False)
    limit = pc.or_(pc.greater(seconds, _LAST_SECOND), pc.less(seconds, -_LAST_SECOND))
    _refuse(limit, array, place, "seconds since 1970")
    return seconds


class _Distinct:
    """Number of distinct strings, in memory that grows with that number alone."""

    def __init__(self) -> None:
        self._known = pa.array([], pa.string())
        self._new: list[pa.Array] = []

    def add(self, values: pa.Array) -> None:
        self._new.append(pc.unique(values))
        if sum(map(len, self._new)) > max(len(self._known), 200_000):
            self._merge()

    def _merge(self) -> None:
        self._known, self._new = pc.unique(pa.chunked_array([self._known, *self._new])), []

    def count(self) -> int:
        self._merge()
        return len(self._known)
