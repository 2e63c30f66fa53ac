"""Parts of an artifact become one file: by a hard link where one part is the whole, else row group by row group."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tfx_pipeline.outputs.schemas import Table
from tfx_pipeline.outputs.titles import Titles, as_array

_ROWS_PER_GROUP = 10_000
#: Where the file system has no hard links, or the file lies on another one.
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)


def link_or_copy(source: Path, out: Path) -> None:
    """Makes `out` the same file as `source`; a copy of it where that cannot be."""
    try:
        os.link(source, out)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(source, out)


def write_table(table: Table, parts: Sequence[Path], out: Path, titles: Titles) -> int:
    """Writes a published table from the parts of an artifact, which need not fit in memory.

    Args:
        table: What to write.
        parts: Parquet files with its columns but for the titles.
        out: The file.
        titles: Of songs.

    Returns:
        Its number of rows.

    Raises:
        ValueError: If a part lacks a column, or has one of another type.
    """
    if not table.titles and len(parts) == 1 and pq.read_schema(parts[0]).equals(table.schema):
        link_or_copy(parts[0], out)
        return int(pq.read_metadata(out).num_rows)
    rows = 0
    with pq.ParquetWriter(out, table.schema, compression="snappy") as writer:
        for group in _in_groups(_rows(table, parts, titles)):
            writer.write_table(group)
            rows += group.num_rows
    return rows


def _rows(table: Table, parts: Sequence[Path], titles: Titles) -> Iterator[pa.Table]:
    added = dict(table.titles)
    wanted = [column.name for column in table.columns if column.name not in added]
    for part in parts:
        with pq.ParquetFile(part) as file:
            names = file.schema_arrow.names
            if missing := [name for name in wanted if name not in names]:
                raise ValueError(f"{part}: expected the columns {wanted}. Received: a file without {missing}")
            for batch in file.iter_batches(_ROWS_PER_GROUP, columns=wanted, use_threads=False):
                yield _with_titles(table, pa.Table.from_batches([batch]), titles)


def _with_titles(table: Table, rows: pa.Table, titles: Titles) -> pa.Table:
    columns = {name: as_array(rows[name]).cast(table.schema.field(name).type) for name in rows.schema.names}
    for name, of in table.titles:
        ids = columns[of]
        columns[name] = titles.of_lists(ids) if pa.types.is_list(ids.type) else titles.of(ids)
    return pa.Table.from_arrays([columns[name] for name in table.schema.names], schema=table.schema)


def _in_groups(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Joins small tables, of which there is one for each part of a small run, to row groups of a useful size."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(one.num_rows for one in waiting) >= _ROWS_PER_GROUP:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)
