"""ExampleGen executor for Parquet that keeps zeros and copies columns in C++.

TFX's own Parquet executor writes every falsy value (0, 0.0, False) as a missing feature: a song with `audio_mode` 0
would lose it. It also goes through a Python dict per row.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from tfx.components.example_gen.base_example_gen_executor import BaseExampleGenExecutor
from tfx.types import standard_component_specs
from tfx_bsl.coders import example_coder


def to_examples(table: pa.Table) -> Iterable[bytes]:
    """Yields one serialized tf.Example per row of `table`; null becomes a missing feature, as statistics count it."""
    for batch in table.combine_chunks().to_batches():
        columns = [_as_lists(column) for column in batch.columns]
        yield from example_coder.RecordBatchToExamples(pa.RecordBatch.from_arrays(columns, batch.schema.names))


def _as_lists(column: pa.Array) -> pa.Array:
    """Casts to the list types that the example coder takes: of large_binary, int64 or float32."""
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        column = pa.LargeListArray.from_arrays(_offsets(column), column.drop_null())
    value_type = column.type.value_type
    if pa.types.is_integer(value_type) or pa.types.is_boolean(value_type):
        return column.cast(pa.large_list(pa.int64()))
    if pa.types.is_floating(value_type):
        return column.cast(pa.large_list(pa.float32()))
    return column.cast(pa.large_list(pa.large_binary()))


def _offsets(column: pa.Array) -> pa.Array:
    """Where each row's one value starts; null where the row has none."""
    present = column.is_valid().to_numpy(zero_copy_only=False)
    starts = np.concatenate([[0], np.cumsum(present)])
    return pa.array(starts, pa.int64(), mask=np.append(~present, False))


@beam.ptransform_fn
@beam.typehints.with_input_types(beam.Pipeline)
@beam.typehints.with_output_types(bytes)
def _ParquetToExamples(pipeline: beam.Pipeline, exec_properties: dict[str, Any], split_pattern: str):  # noqa: N802
    pattern = os.path.join(exec_properties[standard_component_specs.INPUT_BASE_KEY], split_pattern)
    return (
        pipeline
        | "ReadParquet" >> beam.io.ReadFromParquetBatched(pattern)
        | "ToExamples" >> beam.FlatMap(to_examples).with_output_types(bytes)
    )


class Executor(BaseExampleGenExecutor):
    """Turns Parquet into serialized tf.Example: strings to bytes, integers and booleans to int64, floats to float32."""

    def GetInputSourceToExamplePTransform(self) -> Callable[..., beam.PTransform]:
        return _ParquetToExamples
