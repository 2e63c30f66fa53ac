"""Plays as ExampleGen wrote them, read in columns: a record is never a Beam element."""

from __future__ import annotations

from collections.abc import Iterator

import apache_beam as beam
import pyarrow as pa
import tensorflow as tf
from tfx_bsl.coders import example_coder

_PLAYS_AT_ONCE = 20_000


class ReadPlays(beam.PTransform):
    """Reads gzipped TFRecord files of tf.Example as `pyarrow.RecordBatch`es of list columns.

    Args:
        pattern: Of the files. They are found when the pipeline is made.
    """

    def __init__(self, pattern: str) -> None:
        super().__init__()
        self._pattern = pattern

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        files = sorted(tf.io.gfile.glob(self._pattern))
        return (
            pipeline
            | "Files" >> beam.Create(files)
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.FlatMap(_batches).with_output_types(pa.RecordBatch)
        )


def _batches(file: str) -> Iterator[pa.RecordBatch]:
    decoder = example_coder.ExamplesToRecordBatchDecoder()
    for examples in tf.data.TFRecordDataset(file, "GZIP").batch(_PLAYS_AT_ONCE).as_numpy_iterator():
        yield decoder.DecodeBatch(examples.tolist())
