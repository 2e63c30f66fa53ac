"""Rows that come one by one, gathered into Arrow tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam import pvalue
from apache_beam.transforms.window import GlobalWindows

_ROWS_PER_TABLE = 20_000


class ToTables(beam.PTransform[Any, Any]):
    """Gathers rows, given as dicts, into Arrow tables; tables among the elements pass as they are.

    Args:
        schema: Columns of the tables. A column that no row of a table has is left out there.
    """

    def __init__(self, schema: pa.Schema) -> None:
        super().__init__()
        self._schema = schema

    def expand(self, rows: pvalue.PCollection[Any]) -> pvalue.PCollection[Any]:
        """Adds the step to the pipeline."""
        return rows | "Gather" >> beam.ParDo(_Gather(self._schema)).with_output_types(pa.Table)


class _Gather(beam.DoFn):
    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema

    def start_bundle(self) -> None:
        self._rows: list[dict[str, Any]] = []

    def process(self, element: Any) -> Iterator[pa.Table]:
        if isinstance(element, pa.Table):
            if element.num_rows:
                yield element
            return
        self._rows.append(element)
        if len(self._rows) >= _ROWS_PER_TABLE:
            yield self._table()

    def finish_bundle(self) -> Iterator[Any]:
        if self._rows:
            yield GlobalWindows.windowed_value(self._table())

    def _table(self) -> pa.Table:
        rows, self._rows = self._rows, []
        names = [name for name in self._schema.names if any(name in row for row in rows)]
        schema = pa.schema([self._schema.field(name) for name in names])
        return pa.Table.from_pylist(rows, schema=schema)
