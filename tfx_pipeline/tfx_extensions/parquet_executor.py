"""ExampleGen executor for Parquet that keeps zeros, copies columns in C++ and never makes a Beam element of a row.

TFX's own Parquet executor writes every falsy value (0, 0.0, False) as a missing feature: a song with `audio_mode` 0
would lose it. It also sends each row through the runner as a Python dict, which costs a gigabyte per million plays in
the in-memory runner. Here an element is a row group, and what it holds is written to a file of its own: as tf.Examples,
or as Parquet again, for tables that nobody reads row by row.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator
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
    """Turns Parquet into the payload format that `output_data_format` asks for.

    `FORMAT_TF_EXAMPLE`: gzipped TFRecord files of tf.Example. `FORMAT_PARQUET`: Parquet files of list columns, one
    value or none in each list, as TFX's statistics read them. In both, text becomes bytes, integers and booleans become
    int64, and floats become float32.
    """

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes each input split as one file for each row group of its Parquet files.

        Args:
            input_dict: Not read: the input is a folder.
            output_dict: The Examples artifact to fill.
            exec_properties: Those of `FileBasedExampleGen`.

        Raises:
            ValueError: If the output is to be split anew, or in another format.
            FileNotFoundError: If a split has no file.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        given = json_format.Parse(exec_properties[specs.INPUT_CONFIG_KEY], example_gen_pb2.Input())
        wanted = json_format.Parse(exec_properties[specs.OUTPUT_CONFIG_KEY], example_gen_pb2.Output())
        if wanted.split_config.splits:
            raise ValueError(f"`output_config` must leave the input's splits as they are. Received: {wanted}")
        payload = exec_properties[specs.OUTPUT_DATA_FORMAT_KEY]
        if payload not in _WRITERS:
            names = [example_gen_pb2.PayloadFormat.Name(known) for known in _WRITERS]
            raise ValueError(f"`output_data_format` must be one of {names}. Received: {payload}")
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
                    | f"Write[{split.name}]" >> beam.Map(_write_group, folder, payload)
                )
        examples_utils.set_payload_format(artifact, payload)
        if payload == example_gen_pb2.PayloadFormat.FORMAT_PARQUET:  # of tf.Examples, TFX expects gzipped TFRecord
            file_format = example_gen_pb2.FileFormat.FILE_FORMAT_PARQUET
            examples_utils.set_file_format(artifact, example_gen_pb2.FileFormat.Name(file_format))


def row_groups(pattern: str) -> list[RowGroup]:
    """Returns the row groups of the files that match, by their footers.

    Args:
        pattern: A pattern of Parquet files.

    Raises:
        FileNotFoundError: If no file matches.
    """
    files = sorted(tf.io.gfile.glob(pattern))
    if not files:
        raise FileNotFoundError(f"expected a Parquet file. Received: none at {pattern}")
    found = []
    for file in files:
        with FileSystems.open(file) as opened:
            found += [(file, group) for group in range(pq.ParquetFile(opened).metadata.num_row_groups)]
    return found


def to_examples(table: pa.Table) -> Iterator[bytes]:
    """Yields one serialized tf.Example per row.

    Args:
        table: Any columns; a null becomes a missing feature, as statistics count it.
    """
    for batch in table.combine_chunks().to_batches():
        yield from example_coder.RecordBatchToExamples(list_columns(batch))


def list_columns(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Returns the columns as lists: of large_binary, int64 or float32, the types that TFX's readers and coders take.

    Args:
        batch: Any columns; a null becomes a null list.
    """
    return pa.RecordBatch.from_arrays([_as_lists(column) for column in batch.columns], batch.schema.names)


def _write_group(group: RowGroup, folder: str, payload: int) -> None:
    file, number = group
    extension, write = _WRITERS[payload]
    name = f"{os.path.splitext(os.path.basename(file))[0]}-{number:05}"
    # Aside first: a worker that is stopped leaves no file that a later step would read. Each attempt has a file of its
    # own, because an engine may start a second one while the first still writes.
    tf.io.gfile.makedirs(folder)
    aside, path = os.path.join(folder, f".{name}-{uuid.uuid4().hex}"), os.path.join(folder, f"{name}{extension}")
    with FileSystems.open(file) as opened:
        source = pq.ParquetFile(opened)
        write(source.iter_batches(_ROWS_AT_ONCE, row_groups=[number], use_threads=False), source.schema_arrow, aside)
    tf.io.gfile.rename(aside, path, overwrite=True)


def _write_examples(batches: Iterable[pa.RecordBatch], _: pa.Schema, path: str) -> None:
    with tf.io.TFRecordWriter(path, tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
        for batch in batches:
            for example in to_examples(pa.Table.from_batches([batch])):
                writer.write(example)


def _write_parquet(batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: str) -> None:
    """Writes a row group for each batch, so that a reader of the file holds one batch at a time."""
    lists = list_columns(pa.RecordBatch.from_pylist([], schema)).schema
    with FileSystems.create(path) as file, pq.ParquetWriter(file, lists) as writer:
        for batch in batches:
            writer.write_table(pa.Table.from_batches([list_columns(batch)]), row_group_size=_ROWS_AT_ONCE)


_Writer = Callable[[Iterable[pa.RecordBatch], pa.Schema, str], None]
_WRITERS: dict[int, tuple[str, _Writer]] = {  # ending of the files, how they are written
    example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE: (".gz", _write_examples),
    example_gen_pb2.PayloadFormat.FORMAT_PARQUET: (".parquet", _write_parquet),
}


def _as_lists(column: pa.Array) -> pa.Array:
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        column = pa.LargeListArray.from_arrays(_offsets(column), column.drop_null())
    value_type = column.type.value_type
    if pa.types.is_integer(value_type) or pa.types.is_boolean(value_type):
        return column.cast(pa.large_list(pa.int64()))
    if pa.types.is_floating(value_type):
        return column.cast(pa.large_list(pa.float32()))
    return column.cast(pa.large_list(pa.large_binary()))


def _offsets(column: pa.Array) -> pa.Array:
    """Returns where each row's one value starts; null where the row has none."""
    present = column.is_valid().to_numpy(zero_copy_only=False)
    starts = np.concatenate([[0], np.cumsum(present)])
    return pa.array(starts, pa.int64(), mask=np.append(~present, False))
