"""Titles of songs, from the columns that the catalogue carries for display."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tfx_pipeline.contract.ids import SONG_ID

#: Columns of songs.parquet that may name a song. The first one with a value is its title.
NAMING = ("title", "name", "artist")


class Titles:
    """The title of each song that has one.

    Args:
        ids: Ids of songs, each once.
        titles: Their titles, null where there is none.
    """

    def __init__(self, ids: pa.Array, titles: pa.Array) -> None:
        self._ids, self._titles = ids, titles

    @classmethod
    def read(cls, songs: Path) -> Titles:
        """Reads the titles of a prepared catalogue. Ids and titles stay in memory, as Arrow has them."""
        naming = [name for name in NAMING if name in pq.read_schema(songs).names]
        if not naming:
            return cls(pa.array([], pa.string()), pa.array([], pa.string()))
        table = pq.ParquetFile(songs).read(columns=[SONG_ID, *naming], use_threads=False)
        titles = pc.coalesce(*(_without_empty(table[name]) for name in naming))
        return cls(as_array(table[SONG_ID]), as_array(titles))

    def and_also(self, other: Titles) -> Titles:
        """Returns the titles of both. Where both have a song, the title of this one counts."""
        return Titles(pa.concat_arrays([self._ids, other._ids]), pa.concat_arrays([self._titles, other._titles]))

    def of(self, ids: pa.Array) -> pa.Array:
        """Returns the titles of songs, null where one has none or is not in the catalogue."""
        return self._titles.take(pc.index_in(ids, value_set=self._ids))

    def of_lists(self, ids: pa.Array) -> pa.Array:
        """Returns the titles of lists of songs, as lists."""
        ends = pc.cumulative_sum(pc.fill_null(pc.list_value_length(ids), 0))
        offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends.cast(pa.int32())])
        return pa.ListArray.from_arrays(offsets, self.of(pc.list_flatten(ids)))

    def named(self, song_id: str) -> str | None:
        """Returns the title of one song."""
        return self.of(pa.array([song_id], pa.string()))[0].as_py()


def as_array(column: pa.ChunkedArray) -> pa.Array:
    """Returns the chunks of a column as one array, also if it has no chunk."""
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _without_empty(column: pa.ChunkedArray) -> pa.ChunkedArray:
    text = column.cast(pa.string())
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
