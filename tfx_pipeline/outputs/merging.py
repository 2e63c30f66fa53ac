"""Joins the parts of an artifact to one file: a hard link to a single part, else row group by row group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from serving.files.linked_files import link_or_copy
from tfx_pipeline.outputs.schemas import Table
from tfx_pipeline.outputs.titles import Titles, as_array

_ROWS_PER_GROUP = 10_000
#: Finding titles costs a pass over the catalogue for each batch, so batches are as large as memory allows.
_ROWS_AT_ONCE, _WITH_LISTS_AT_ONCE = 250_000, 10_000


@dataclass(frozen=True)
class Computed:
    """A column that is computed from others.

    Attributes:
        name: Its name.
        needs: The columns of the parts that it is computed from.
        of: Computes it from a table with these columns.
    """

    name: str
    needs: tuple[str, ...]
    of: Callable[[pa.Table], pa.Array]


def write_table(
    table: Table, parts: Sequence[Path], out: Path, titles: Titles, computed: Sequence[Computed] = ()
) -> int:
    """Writes a published table from the parts of an artifact, which need not fit in memory.

    Args:
        table: What to write.
        parts: Parquet files with its columns but for the titles and those that are computed.
        out: The file.
        titles: Of songs.
        computed: Columns that the parts lack.

    Returns:
        Its number of rows.

    Raises:
        ValueError: If a part lacks a column, or has one of another type.
    """
    if not table.titles and len(parts) == 1 and pq.read_schema(parts[0]).equals(table.schema):
        link_or_copy(parts[0], out)
        return int(pq.read_metadata(out).num_rows)
    has_lists = any(pa.types.is_list(table.schema.field(of).type) for _, of in table.titles)
    at_once = _WITH_LISTS_AT_ONCE if has_lists else _ROWS_AT_ONCE
    rows = 0
    with pq.ParquetWriter(out, table.schema, compression="snappy") as writer:
        for batch in _joined(_batches(table, parts, at_once, computed), at_once):
            complete = _with_computed(table, batch, computed)
            writer.write_table(_with_titles(table, complete, titles), row_group_size=_ROWS_PER_GROUP)
            rows += batch.num_rows
    return rows


def _batches(table: Table, parts: Sequence[Path], most: int, computed: Sequence[Computed]) -> Iterator[pa.Table]:
    added = {*dict(table.titles), *(column.name for column in computed)}
    own = [column.name for column in table.columns if column.name not in added]
    wanted = list(dict.fromkeys([*own, *(name for column in computed for name in column.needs)]))
    for part in parts:
        with pq.ParquetFile(part) as file:
            names = file.schema_arrow.names
            if missing := [name for name in wanted if name not in names]:
                raise ValueError(f"{part}: expected the columns {wanted}. Received: a file without {missing}")
            for batch in file.iter_batches(most, columns=wanted, use_threads=False):
                yield pa.Table.from_batches([batch])


def _joined(tables: Iterator[pa.Table], least: int) -> Iterator[pa.Table]:
    """Joins small tables: a small run has one for each of its many parts."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(one.num_rows for one in waiting) >= least:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _with_computed(table: Table, rows: pa.Table, computed: Sequence[Computed]) -> pa.Table:
    for column in computed:
        rows = rows.append_column(table.schema.field(column.name), column.of(rows))
    return rows


def _with_titles(table: Table, rows: pa.Table, titles: Titles) -> pa.Table:
    own = [name for name in rows.schema.names if name in table.schema.names]
    columns = {name: as_array(rows[name]).cast(table.schema.field(name).type) for name in own}
    for name, of in table.titles:
        ids = columns[of]
        columns[name] = titles.of_lists(ids) if pa.types.is_list(ids.type) else titles.of(ids)
    return pa.Table.from_arrays([columns[name] for name in table.schema.names], schema=table.schema)
