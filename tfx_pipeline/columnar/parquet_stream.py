"""Parquet read through Beam's file systems, in the calling thread alone.

Beam opens a file as a Python object. If pyarrow reads such an object with threads of its own, one of them releases the
last piece of Python memory after the read has returned. If Python ends at that moment, it stops the thread inside a C++
destructor. The process then ends with `terminate called without an active exception` and exit code 134, although its
output is correct. So no thread of Arrow may hold Python memory: what Beam opens is read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


def row_groups(stream: IO[bytes]) -> int:
    """Returns the number of row groups of an open Parquet file.

    Args:
        stream: The open file.
    """
    return int(pq.ParquetFile(stream).metadata.num_row_groups)


def read_table(
    stream: IO[bytes], groups: Sequence[int] | None = None, columns: Sequence[str] | None = None
) -> pa.Table:
    """Returns the rows of an open Parquet file.

    Args:
        stream: The open file.
        groups: Numbers of the row groups to read; default all.
        columns: Names of the columns to read; default all.
    """
    file = pq.ParquetFile(stream)
    wanted = range(file.metadata.num_row_groups) if groups is None else groups
    return file.read_row_groups(list(wanted), columns=columns, use_threads=False)


def read_rows_of(stream: IO[bytes], column: str, values: Sequence[str]) -> pa.Table:
    """Returns the rows whose string `column` is among `values`; row groups that cannot hold one are not read.

    Args:
        stream: The open file.
        column: Name of the column.
        values: Texts.
    """
    metadata = pq.ParquetFile(stream).metadata
    place = metadata.schema.names.index(column)
    groups = [
        group
        for group in range(metadata.num_row_groups)
        if _may_hold(metadata.row_group(group).column(place).statistics, values)
    ]
    table = read_table(stream, groups)
    return table.filter(pc.is_in(table[column], value_set=pa.array(values, pa.string())))


def _may_hold(statistics: Any, values: Sequence[str]) -> bool:
    if statistics is None or not statistics.has_min_max:
        return True
    low, high = statistics.min, statistics.max
    return any(low <= value <= high for value in values)
