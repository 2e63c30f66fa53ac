"""Songs that were taken down are neither targeted nor a reason to target: tables without them."""

from collections.abc import Collection
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def without_songs(inputs: dict[str, Any], gone: Collection[str]) -> dict[str, Any]:
    """Returns the inputs of `TargetListeners`, whose elements are tables, without songs that were taken down.

    Their plays may stay: they are of a song that the catalogue lacks then, and are not used.
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
    """Returns the rows of other songs."""
    return table.filter(pc.invert(pc.is_in(_text(table["song_id"]), value_set=pa.array(gone, pa.string()))))


def drop_matches(table: pa.Table, gone: list[str]) -> pa.Table:
    """Returns the rows of other songs, and of their matches the others."""
    table = drop_songs(table, gone)
    lists = {name: table[name].combine_chunks() for name in ("match_ids", "match_scores")}
    lengths = {name: _lengths(column) for name, column in lists.items()}
    if (lengths["match_ids"] != lengths["match_scores"]).any():
        return table  # what comes next refuses it, in words
    stays = ~np.asarray(pc.is_in(_text(lists["match_ids"].flatten()), value_set=pa.array(gone, pa.string())))
    row = np.repeat(np.arange(table.num_rows), lengths["match_ids"])[stays]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=table.num_rows))]).astype(np.int32)
    for name, column in lists.items():
        left = pa.ListArray.from_arrays(pa.array(offsets), column.flatten().filter(pa.array(stays)))
        table = table.set_column(table.column_names.index(name), name, left)
    return table


def _text(values: Any) -> Any:
    return values.cast(pa.string())


def _lengths(lists: Any) -> np.ndarray:
    return pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
