"""Songs and plays as ExampleGen wrote them: files of a split, songs one by one, plays in columns."""

from __future__ import annotations

import os
from collections.abc import Iterator

import apache_beam as beam
import pyarrow as pa
import tensorflow as tf
from tfx import v1 as tfx
from tfx.types import artifact_utils
from tfx_bsl.coders import example_coder

from serving.savedmodel.raw_fields import song_id_of

#: The one split that both ExampleGens write.
ALL = "all"
_PLAYS_AT_ONCE = 20_000


def split_pattern(examples: tfx.types.standard_artifacts.Examples, split: str) -> str:
    """Returns the file pattern of one split of an Examples artifact."""
    return os.path.join(artifact_utils.get_split_uri([examples], split), "*.gz")


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


class ReadSongs(beam.PTransform):
    """Reads (song_id, serialized tf.Example) from TFRecord files."""

    def __init__(self, pattern: str) -> None:
        super().__init__()
        self._pattern = pattern

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        return (
            pipeline
            | "Read" >> beam.io.ReadFromTFRecord(self._pattern)
            | "KeyById" >> beam.Map(_with_song_id).with_output_types(tuple[bytes, bytes])
        )


def _with_song_id(serialized: bytes) -> tuple[bytes, bytes]:
    return song_id_of(serialized), serialized


def read_examples(pattern: str) -> Iterator[tuple[str, bytes]]:
    """Yields id and serialized tf.Example of each song."""
    files = sorted(tf.io.gfile.glob(pattern))
    for record in tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator():
        yield song_id_of(record).decode(), record
