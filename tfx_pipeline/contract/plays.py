"""Checks plays.parquet in one pass, and reads it again as clean batches."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from tfx_pipeline.contract.forgotten import NOBODY, Forgotten
from tfx_pipeline.contract.ids import SONG_ID, USER_ID
from tfx_pipeline.contract.play_columns import (
    epoch_units,
    is_count,
    is_flag,
    is_time,
)
from tfx_pipeline.contract.play_counts import CheckedPlays, Distinct, PlayColumns, PlayCount, clean_rows
from tfx_pipeline.contract.schemas import plays_schema
from tfx_pipeline.contract.source import Source

_OPTIONAL = {
    "plays": (is_count, "whole numbers"),
    "liked": (is_flag, "bool, or 1 and 0"),
    "timestamp": (is_time, "a timestamp, a date, text in ISO 8601 or a number since 1970"),
}


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
    columns = play_columns(source)
    units = epoch_units(source, "timestamp") if "timestamp" in columns else {}
    of = PlayColumns(columns, units, song_ids, forgotten, len(source.parts) <= 1)
    count, users, gone = PlayCount(), Distinct(), Distinct()
    for rows in source.batches(columns):
        kept_users, gone_users = count.add(rows, of)
        users.add(kept_users)
        gone.add(gone_users)
    return count.finished(source, of, users.count(), gone.count(), max_unknown_plays)


def clean_plays(source: Source, plays: CheckedPlays, song_ids: pa.Array) -> Iterator[pa.RecordBatch]:
    """Yields the batches the pipeline reads: user_id, song_id, plays, then liked and timestamp where present."""
    for rows in source.batches(plays.columns):
        cleaned, known, counted = clean_rows(rows, plays.columns, plays.units, song_ids)
        yield cleaned.filter(pa.array(known & counted & ~plays.forgotten.marks(cleaned.column(USER_ID))))


def read_plays(source: Source) -> pa.Table:
    """Returns all plays in the pipeline's types, of whatever songs and also those with 0 plays.

    Raises:
        ContractError: Whatever breaks the contract first.
    """
    columns = play_columns(source)
    units = epoch_units(source, "timestamp") if "timestamp" in columns else {}
    batches = [clean_rows(rows, columns, units, None)[0] for rows in source.batches(columns)]
    return pa.Table.from_batches(batches, plays_schema(columns))


def play_columns(source: Source) -> tuple[str, ...]:
    """Returns the columns that the pipeline reads.

    Raises:
        ContractError: One that is needed is missing, or one has a type that it cannot have.
    """
    for name in (USER_ID, SONG_ID):
        source.check_ids(name)
    present = [name for name in _OPTIONAL if name in source.names]
    for name in present:
        source.check_column(name, *_OPTIONAL[name])
    return (USER_ID, SONG_ID, *present)
