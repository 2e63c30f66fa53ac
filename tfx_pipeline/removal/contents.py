"""What a file holds, whatever packs it: its kind, its listeners, its words and its records."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tfx_pipeline.contract.ids import USER_ID
from tfx_pipeline.removal.wanted import ListenerColumns, contract_columns

STATISTICS = "FeatureStats.pb"
_CHUNK = 1 << 24


def kind_of(path: Path) -> str:
    """Returns the kind of a file, by its first bytes or its name."""
    with path.open("rb") as stream:
        first = stream.read(16)
    for mark, kind in ((b"PAR1", "parquet"), (b"\x1f\x8b", "gzip"), (b"PK\x03\x04", "zip"), (b"SQLite", "sqlite")):
        if first.startswith(mark):
            return kind
    if path.name == STATISTICS:
        return "statistics"
    return "text" if _is_text(path) else "binary"


def listeners_of(path: Path, columns: ListenerColumns = contract_columns) -> set[str]:
    """Returns the ids in the column of listeners of a Parquet file; none where it has no such column."""
    found: set[str] = set()
    with pq.ParquetFile(path) as file:
        for name in set(columns(path)) & set(file.schema_arrow.names):
            for group in range(file.metadata.num_row_groups):
                found.update(as_text(file.read_row_group(group, [name])[name]).unique().to_pylist())
    return found - {None}


def words_of(path: Path, columns: ListenerColumns = contract_columns) -> set[str]:
    """Returns every distinct text in a Parquet file, but not the ids of its listeners."""
    with pq.ParquetFile(path) as file:
        return {text for texts in texts_of(path, file, but=columns(path)) for text in texts}


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns a column of ids as strings, whatever wrote it."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):  # one id each, as PlayGen writes them
        column = pc.list_flatten(column)
    return column.cast(pa.string())


def feature_of(record: bytes) -> bool:
    """Returns whether a record is a tf.Example with the ids of a listener."""
    import tensorflow as tf

    try:
        return USER_ID in tf.train.Example.FromString(record).features.feature
    except Exception:
        return False


def user_statistics(data: bytes) -> tuple[Any, list[Any]]:
    """Returns TFDV's statistics, and the features among them that count listeners' ids."""
    from tensorflow_metadata.proto.v0 import statistics_pb2

    found = statistics_pb2.DatasetFeatureStatisticsList.FromString(data)
    features = [feature for dataset in found.datasets for feature in dataset.features]
    return found, [feature for feature in features if (feature.name or feature.path.step[0]) == USER_ID]


def records_of(path: Path) -> Iterator[bytes]:
    """Yields the records of a gzipped TFRecord file."""
    import tensorflow as tf

    yield from tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator()


def has_examples(path: Path) -> bool:
    """Returns whether a gzipped file is one of tf.Examples of plays."""
    from tensorflow.errors import DataLossError

    try:
        return feature_of(next(records_of(path), b""))
    except DataLossError:
        return False


def users_of(records: list[bytes]) -> list[bytes]:
    """Returns the listener of each tf.Example."""
    from tfx_bsl.coders import example_coder

    column = example_coder.ExamplesToRecordBatchDecoder().DecodeBatch(records)
    values = column.column(column.schema.names.index(USER_ID))
    return [found[0] if found else b"" for found in values.to_pylist()]


def _is_text(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as stream:
        try:
            while block := stream.read(_CHUNK):
                if "\0" in decoder.decode(block):
                    return False
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def batches(records: Iterator[bytes], size: int = 20_000) -> Iterator[list[bytes]]:
    """Yields lists of records."""
    part: list[bytes] = []
    for record in records:
        part.append(record)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


def texts_of(path: Path, file: pq.ParquetFile, *, but: tuple[str, ...] = ()) -> Iterator[list[str]]:
    """Yields the distinct texts of each column and row group, also of dictionary pages that no row uses.

    Args:
        path: The file.
        file: The same, open.
        but: Columns that are left out.
    """
    schema = file.schema
    columns = [schema.column(number) for number in range(len(schema))]
    paths = [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]
    paths = [name for name in paths if name.split(".")[0] not in but]
    with pq.ParquetFile(path, read_dictionary=paths) as coded:
        for group in range(coded.metadata.num_row_groups):
            for name in paths:
                for column in coded.read_row_group(group, [name]).columns:
                    for chunk in column.chunks:
                        yield [
                            text if isinstance(text, str) else text.decode("utf-8", "replace")
                            for leaf in _leaves(chunk)
                            for text in leaf.to_pylist()
                            if text is not None
                        ]


def _leaves(array: pa.Array) -> Iterator[pa.Array]:
    if pa.types.is_dictionary(array.type):
        yield array.dictionary
    elif pa.types.is_struct(array.type):
        for part in array.flatten():
            yield from _leaves(part)
    elif pa.types.is_nested(array.type):
        yield from _leaves(array.values if pa.types.is_map(array.type) else array.flatten())
    else:
        yield pc.unique(array)
