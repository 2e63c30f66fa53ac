"""Rows as a table: Parquet or CSV, by the name of the file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import astuple, fields
from itertools import islice
from pathlib import Path
from typing import Any

from serving.files.whole_files import writing_whole
from serving.request_log.reading import LogError
from serving.request_log.rows import Asked

_ROWS_AT_ONCE = 10_000
COLUMNS = tuple(field.name for field in fields(Asked))


def write_table(rows: Iterable[Asked], out: Path) -> int:
    """Writes rows to a file that ends in `.parquet` or `.csv`, and returns their number.

    Raises:
        LogError: If the name ends otherwise, or pyarrow is missing for Parquet.
        OSError: If the file cannot be written.
    """
    write = {".parquet": _write_parquet, ".csv": _write_csv}.get(out.suffix)
    if write is None:
        raise LogError(f"--out: expected a name that ends in .parquet or .csv. Received: {out.name}")
    with writing_whole(out) as aside:
        return write(rows, aside)


def _write_csv(rows: Iterable[Asked], path: Path) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow([_cell(value) for value in astuple(row)])
            count += 1
    return count


def _cell(value: Any) -> Any:
    """Returns a value as CSV has it: times by ISO 8601, lists as JSON."""
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return value.isoformat() if hasattr(value, "isoformat") else value


def _write_parquet(rows: Iterable[Asked], path: Path) -> int:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise LogError(
            f"--out: expected pyarrow to be installed for {path.suffix}. Received: none. Use .csv"
        ) from error
    types = {
        "time": pa.timestamp("ms", tz="UTC"),
        "version": pa.int64(),
        "row": pa.int64(),
        "match_ids": pa.list_(pa.string()),
        "match_scores": pa.list_(pa.float32()),
    }
    schema = pa.schema([(name, types.get(name, pa.string())) for name in COLUMNS])
    count = 0
    with pq.ParquetWriter(path, schema) as writer:
        for batch in _batches(rows):
            columns = zip(*map(astuple, batch), strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(batch)
    return count


def _batches(rows: Iterable[Asked]) -> Iterator[list[Asked]]:
    pending = iter(rows)
    while batch := list(islice(pending, _ROWS_AT_ONCE)):
        yield batch
