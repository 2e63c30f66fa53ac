"""ExampleGen executor for Parquet that keeps zeros, copies columns in C++ and never makes a Beam element of a row.

TFX's own Parquet executor writes every falsy value (0, 0.0, False) as a missing feature: a song with `audio_mode` 0
would lose it. It also sends each row through the runner as a Python dict, which costs a gigabyte per million plays in
the in-memory runner. Here an element is a row group, and what it holds is written to a file of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from apache_beam.io.filesystems import FileSystems
from google.protobuf import json_format
from tfx import types
from tfx.components.example_gen import utils
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx.types import standard_component_specs as specs
from tfx_bsl.coders import example_coder

_ROWS_AT_ONCE = 20_000

RowGroup = tuple[str, int]  # file, number of the group


class Executor(base_beam_executor.BaseBeamExecutor):
    """Turns Parquet into serialized tf.Example: strings to bytes, integers and booleans to int64, floats to float32."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes each input split as gzipped TFRecord files, one for each row group of its Parquet files.

        Raises:
            ValueError: If the output is to be split anew.
            FileNotFoundError: If a split has no file.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        given = json_format.Parse(exec_properties[specs.INPUT_CONFIG_KEY], example_gen_pb2.Input())
        wanted = json_format.Parse(exec_properties[specs.OUTPUT_CONFIG_KEY], example_gen_pb2.Output())
        if wanted.split_config.splits:
            raise ValueError(f"`output_config` must leave the input's splits as they are. Received: {wanted}")
        outputs = output_dict[specs.EXAMPLES_KEY]
        artifact = artifact_utils.get_single_instance(outputs)
        artifact.split_names = artifact_utils.encode_split_names(utils.generate_output_split_names(given, wanted))
        with self._make_beam_pipeline() as pipeline:
            for split in given.splits:
                groups = row_groups(os.path.join(exec_properties[specs.INPUT_BASE_KEY], split.pattern))
                folder = artifact_utils.get_split_uri(outputs, split.name)
                _ = (
                    pipeline
                    | f"RowGroups[{split.name}]" >> beam.Create(groups)
                    | f"Spread[{split.name}]" >> beam.Reshuffle()
                    | f"Write[{split.name}]" >> beam.Map(_write_examples, folder)
                )
        examples_utils.set_payload_format(artifact, exec_properties[specs.OUTPUT_DATA_FORMAT_KEY])


def row_groups(pattern: str) -> list[RowGroup]:
    """Returns the row groups of the files that match, by their footers."""
    files = sorted(tf.io.gfile.glob(pattern))
    if not files:
        raise FileNotFoundError(f"expected a Parquet file. Received: none at {pattern}")
    found = []
    for file in files:
        with FileSystems.open(file) as opened:
            found += [(file, group) for group in range(pq.ParquetFile(opened).metadata.num_row_groups)]
    return found


def _write_examples(group: RowGroup, folder: str) -> None:
    file, number = group
    name = f"{os.path.splitext(os.path.basename(file))[0]}-{number:05}"
    # Aside first: a worker that is stopped leaves no file that a later step would read.
    tf.io.gfile.makedirs(folder)
    aside, path = os.path.join(folder, f".{name}"), os.path.join(folder, f"{name}.gz")
    with (
        FileSystems.open(file) as opened,
        tf.io.TFRecordWriter(aside, tf.io.TFRecordOptions(compression_type="GZIP")) as writer,
    ):
        for batch in pq.ParquetFile(opened).iter_batches(_ROWS_AT_ONCE, row_groups=[number], use_threads=False):
            for example in to_examples(pa.Table.from_batches([batch])):
                writer.write(example)
    tf.io.gfile.rename(aside, path, overwrite=True)


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
