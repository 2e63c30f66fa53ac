"""Parquet files as Arrow tables in Beam, one element for each row group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam import pvalue
from apache_beam.io.filesystems import FileSystems

from tfx_pipeline.columnar.parquet_stream import read_table, row_groups

_RowGroup = tuple[str, int]  # file, number of the group


class ReadParquet(beam.PTransform[Any, Any]):
    """Reads Parquet files as Arrow tables, one for each row group.

    Args:
        pattern: Of the files, for Beam's file systems. They are found when the pipeline runs.
        columns: Names of those to read; default all.
    """

    def __init__(self, pattern: str, columns: Sequence[str] | None = None) -> None:
        super().__init__()
        self._pattern, self._columns = pattern, columns and list(columns)

    def expand(self, pipeline: beam.Pipeline) -> pvalue.PCollection[Any]:
        """Adds the steps to the pipeline."""
        return (
            pipeline
            | "Pattern" >> beam.Create([self._pattern])
            | "RowGroups" >> beam.FlatMap(_row_groups_of).with_output_types(_RowGroup)
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.Map(_read_group, self._columns).with_output_types(pa.Table)
        )


def _row_groups_of(pattern: str) -> Iterator[_RowGroup]:
    for found in FileSystems.match([pattern])[0].metadata_list:
        with FileSystems.open(found.path) as stream:
            yield from ((found.path, group) for group in range(row_groups(stream)))


def _read_group(group: _RowGroup, columns: list[str] | None) -> pa.Table:
    file, number = group
    with FileSystems.open(file) as stream:
        return read_table(stream, [number], columns=columns)
