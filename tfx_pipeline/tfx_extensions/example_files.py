"""Songs and plays as ExampleGen wrote them: songs as tf.Examples, one by one, plays as Parquet, in columns."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from apache_beam import pvalue
from tfx import v1 as tfx
from tfx.types import artifact_utils

from serving.savedmodel.raw_fields import song_id_of
from tfx_pipeline.columnar.reading import ReadParquet
from tfx_pipeline.contract.ids import SONG_ID, USER_ID

#: The one split that both ExampleGens write.
ALL = "all"


def split_pattern(examples: tfx.types.standard_artifacts.Examples, split: str) -> str:
    """Returns the pattern of the tf.Example files of one split.

    Args:
        examples: An artifact of tf.Examples.
        split: Name of the split.
    """
    return os.path.join(artifact_utils.get_split_uri([examples], split), "*.gz")


def plays_pattern(plays: tfx.types.standard_artifacts.Examples) -> str:
    """Returns the pattern of the Parquet files of plays.

    Args:
        plays: The artifact that PlayGen wrote, in `FORMAT_PARQUET`.

    Raises:
        FileNotFoundError: If it holds none: without plays, every song would count as new.
    """
    pattern = os.path.join(artifact_utils.get_split_uri([plays], ALL), "*.parquet")
    if not tf.io.gfile.glob(pattern):
        raise FileNotFoundError(f"`plays` must hold Parquet files, of `FORMAT_PARQUET`. Received: none at {pattern}")
    return pattern


class ReadPlays(beam.PTransform[Any, Any]):
    """Reads plays as Arrow tables of user_id, song_id and plays, one for each row group.

    Args:
        pattern: Of the files, see `plays_pattern`. They are found when the pipeline runs.
    """

    def __init__(self, pattern: str) -> None:
        super().__init__()
        self._pattern = pattern

    def expand(self, pipeline: beam.Pipeline) -> pvalue.PCollection[Any]:
        """Adds the steps to the pipeline."""
        return (
            pipeline
            | "Read" >> ReadParquet(self._pattern, (USER_ID, SONG_ID, "plays"))
            | "OneValueEach" >> beam.Map(_without_lists).with_output_types(pa.Table)
        )


def _without_lists(table: pa.Table) -> pa.Table:
    values = {name: pc.list_flatten(table[name]) for name in table.column_names}
    for name, column in values.items():
        if len(column) != table.num_rows:
            raise ValueError(f"each play must have one `{name}`. Received: {len(column)} in {table.num_rows} plays")
    texts = {name: values[name].cast(pa.string()) for name in (USER_ID, SONG_ID)}
    return pa.table({**values, **texts})


class ReadSongs(beam.PTransform[Any, Any]):
    """Reads (song_id, serialized tf.Example) from TFRecord files.

    Args:
        pattern: Of the files, see `split_pattern`.
    """

    def __init__(self, pattern: str) -> None:
        super().__init__()
        self._pattern = pattern

    def expand(self, pipeline: beam.Pipeline) -> pvalue.PCollection[Any]:
        """Adds the steps to the pipeline."""
        return (
            pipeline
            | "Read" >> beam.io.ReadFromTFRecord(self._pattern)
            | "KeyById" >> beam.Map(_with_song_id).with_output_types(tuple[bytes, bytes])
        )


def _with_song_id(serialized: bytes) -> tuple[bytes, bytes]:
    return song_id_of(serialized), serialized


def read_examples(pattern: str) -> Iterator[tuple[str, bytes]]:
    """Yields id and serialized tf.Example of each song.

    Args:
        pattern: Of gzipped TFRecord files, see `split_pattern`.
    """
    files = sorted(tf.io.gfile.glob(pattern))
    for record in tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator():
        yield song_id_of(record).decode(), record
