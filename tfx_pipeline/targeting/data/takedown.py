"""Input tables without songs that were taken down: these are neither targeted nor a reason to target."""

from collections.abc import Collection
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.contract.ids import SONG_ID

#: Columns with a value for each match, in rows that have them.
_OF_MATCHES = ("match_shares", "match_chances", "match_chances_low", "match_chances_high")


def without_songs(inputs: dict[str, Any], gone: Collection[str]) -> dict[str, Any]:
    """Returns the inputs of `TargetListeners`, whose elements are tables, without songs that were taken down.

    Their plays may stay: plays of a song that the catalogue lacks are not used.

    Args:
        inputs: Tables by name, with catalogue and matches.
        gone: Ids of the songs.
    """
    if not gone:
        return inputs
    ids = sorted(gone)
    return {
        **inputs,
        "catalogue": inputs["catalogue"] | "CatalogueLeft" >> beam.Map(drop_songs, ids).with_output_types(pa.Table),
        "matches": inputs["matches"] | "MatchesLeft" >> beam.Map(drop_matches, ids).with_output_types(pa.Table),
    }


def drop_songs(table: pa.Table, gone: list[str]) -> pa.Table:
    """Returns the rows of other songs.

    Args:
        table: With a column song_id.
        gone: Ids of the songs that were taken down.
    """
    return table.filter(pc.invert(pc.is_in(_text(table[SONG_ID]), value_set=pa.array(gone, pa.string()))))


def drop_matches(table: pa.Table, gone: list[str]) -> pa.Table:
    """Returns the matches of other songs with other songs.

    Args:
        table: With song_id, match_ids, match_scores and optionally lists of the same length that a row may lack.
        gone: Ids of the songs that were taken down.
    """
    table = drop_songs(table, gone)
    lists = {name: table[name].combine_chunks() for name in ("match_ids", "match_scores")}
    lengths = {name: _lengths(column) for name, column in lists.items()}
    if (lengths["match_ids"] != lengths["match_scores"]).any():
        return table  # the next step refuses it with a message
    stays = ~np.asarray(pc.is_in(_text(lists["match_ids"].flatten()), value_set=pa.array(gone, pa.string())))
    row = np.repeat(np.arange(table.num_rows), lengths["match_ids"])
    for name, column in lists.items():
        table = _set(table, name, column.flatten(), row[stays], stays)
    for name in (name for name in _OF_MATCHES if name in table.column_names):
        values = table[name].combine_chunks()
        given = _lengths(values) == lengths["match_ids"]  # a row may have none
        table = _set(table, name, values.flatten(), row[stays & given[row]], stays[given[row]], given)
    return table


def _set(
    table: pa.Table, name: str, values: Any, row: npt.NDArray[Any], stays: npt.NDArray[Any], given: Any = None
) -> pa.Table:
    """Returns the table with a list of the values that stay for each row; null where no list was given."""
    ends = np.cumsum(np.bincount(row, minlength=table.num_rows))
    is_null = None if given is None else np.append(~given, False)
    offsets = pa.array(np.concatenate([[0], ends]).astype(np.int32), mask=is_null)
    left = pa.ListArray.from_arrays(offsets, values.filter(pa.array(stays)))
    return table.set_column(table.column_names.index(name), name, left)


def _text(values: Any) -> Any:
    return values.cast(pa.string())


def _lengths(lists: Any) -> npt.NDArray[Any]:
    return pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
