"""Checks plays.parquet in one pass, and reads it again as clean batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.contract.columns import Numbers, clean_id
from tfx_pipeline.contract.errors import broken
from tfx_pipeline.contract.forgotten import NOBODY, Forgotten
from tfx_pipeline.contract.ids import SONG_ID, USER_ID
from tfx_pipeline.contract.play_columns import (
    epoch_units,
    is_count,
    is_flag,
    is_time,
    to_counts,
    to_flags,
    to_seconds,
    unit_notes,
)
from tfx_pipeline.contract.schemas import plays_schema
from tfx_pipeline.contract.source import Rows, Source
from tfx_pipeline.contract.stores.location import Location
from tfx_pipeline.contract.text import quoted

_OPTIONAL = {
    "plays": (is_count, "whole numbers"),
    "liked": (is_flag, "bool, or 1 and 0"),
    "timestamp": (is_time, "a timestamp, a date, text in ISO 8601 or a number since 1970"),
}


@dataclass(frozen=True)
class CheckedPlays:
    """What one pass over plays.parquet found.

    Attributes:
        columns: The columns the pipeline reads, in order.
        num_plays: Rows kept: of known songs, with at least one play.
        num_users: Distinct users of the rows kept.
        unknown: Rows dropped because songs.parquet lacks the song.
        zero: Rows dropped because `plays` is 0.
        notes: What was passed over or guessed, in words.
        units: For each file in which times are numbers, the unit in which they count since 1970.
        forgotten: Whose rows are left out.
    """

    columns: tuple[str, ...]
    num_plays: int
    num_users: int
    unknown: int
    zero: int
    notes: tuple[str, ...]
    units: Mapping[Location, str] = field(default_factory=dict)
    forgotten: Forgotten = NOBODY

    @property
    def unknown_share(self) -> float:
        """Share of all rows that play an unknown song."""
        return self.unknown / max(self.num_plays + self.zero + self.unknown, 1)


def scan_plays(
    source: Source, song_ids: pa.Array, *, max_unknown_plays: float, forgotten: Forgotten = NOBODY
) -> CheckedPlays:
    """Checks plays.parquet and returns what it holds.

    Args:
        source: The table.
        song_ids: The known songs.
        max_unknown_plays: The largest share of plays of other songs.
        forgotten: Listeners whose plays are left out, and counted.

    Raises:
        ContractError: Whatever breaks the contract first.
    """
    columns = _columns(source)
    units = epoch_units(source, "timestamp") if "timestamp" in columns else {}
    users, kept, unknown, zero, example = _Distinct(), 0, 0, 0, ""
    gone, plays_gone = _Distinct(), 0
    for rows in source.batches(columns):
        cleaned, known, counted = _clean(rows, columns, units, song_ids)
        marked = forgotten.marks(cleaned.column(USER_ID))
        if marked.any():
            gone.add(cleaned.column(USER_ID).filter(pa.array(marked)))
            plays_gone += int(marked.sum())
        known, counted, absent = known & ~marked, counted & ~marked, ~known & ~marked
        if absent.any() and not example:
            index = int(absent.argmax())
            where = f" of {rows.file}" if len(source.parts) > 1 else ""
            example = f"{quoted(cleaned.column(SONG_ID)[index].as_py())} in row {rows.first_row + index}{where}"
        users.add(cleaned.column(USER_ID).filter(pa.array(known & counted)))
        kept += int((known & counted).sum())
        unknown += int(absent.sum())
        zero += int((known & ~counted).sum())
    notes = [*source.notes, *unit_notes(source.own("timestamp"), units)]
    notes += [f"Column {source.own(name)} of plays is not read." for name in source.names if name not in columns]
    notes += [f"{zero} rows with 0 plays are left out."] if zero else []
    notes += [f"{unknown} plays of unknown songs are left out, first {example}."] if unknown else []
    notes += [f"{plays_gone:,} plays of {gone.count():,} forgotten listeners are left out."] if plays_gone else []
    plays = CheckedPlays(columns, kept, users.count(), unknown, zero, tuple(notes), units, forgotten)
    if plays.unknown_share > max_unknown_plays:
        expected = f"at most {max_unknown_plays:.2%} of plays of songs that songs.parquet lacks"
        received = f"{plays.unknown_share:.2%} ({unknown} rows), first {example}"
        raise broken(source.shown, expected, received, column=source.own(SONG_ID))
    if not kept:
        raise broken(source.shown, "at least one play of a known song", "none")
    return plays


def clean_plays(source: Source, plays: CheckedPlays, song_ids: pa.Array) -> Iterator[pa.RecordBatch]:
    """Yields the batches the pipeline reads: user_id, song_id, plays, then liked and timestamp where present."""
    for rows in source.batches(plays.columns):
        cleaned, known, counted = _clean(rows, plays.columns, plays.units, song_ids)
        yield cleaned.filter(pa.array(known & counted & ~plays.forgotten.marks(cleaned.column(USER_ID))))


def read_plays(source: Source) -> pa.Table:
    """Returns all plays in the pipeline's types, of whatever songs and also those with 0 plays.

    Raises:
        ContractError: Whatever breaks the contract first.
    """
    columns = _columns(source)
    units = epoch_units(source, "timestamp") if "timestamp" in columns else {}
    batches = [_clean(rows, columns, units, None)[0] for rows in source.batches(columns)]
    return pa.Table.from_batches(batches, plays_schema(columns))


def _columns(source: Source) -> tuple[str, ...]:
    for name in (USER_ID, SONG_ID):
        source.check_ids(name)
    present = [name for name in _OPTIONAL if name in source.names]
    for name in present:
        source.check_column(name, *_OPTIONAL[name])
    return (USER_ID, SONG_ID, *present)


def _clean(
    rows: Rows, columns: tuple[str, ...], units: Mapping[Location, str], song_ids: pa.Array | None
) -> tuple[pa.RecordBatch, Numbers, Numbers]:
    """Returns the rows in the pipeline's types, whether each one's song is known, and whether it has plays."""
    arrays = {name: clean_id(rows.column(name), rows.place(name)) for name in (USER_ID, SONG_ID)}
    known = np.ones(len(rows), bool)
    if song_ids is not None:
        known = np.asarray(pc.is_in(arrays[SONG_ID], value_set=song_ids))
    arrays["plays"] = to_counts(rows.column("plays"), rows.place("plays"))
    if "liked" in columns:
        arrays["liked"] = to_flags(rows.column("liked"), rows.place("liked"))
    if "timestamp" in columns:
        unit = units.get(rows.file, "s")
        arrays["timestamp"] = to_seconds(rows.column("timestamp"), rows.place("timestamp"), unit)
    return pa.RecordBatch.from_pydict(arrays), known, np.asarray(arrays["plays"]) > 0


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
