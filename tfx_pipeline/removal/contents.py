"""What a file holds, whatever packs it: where listeners' ids may stand in it."""

from __future__ import annotations

import codecs
import gzip
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tfx_pipeline.removal.csv_rows import USER, without_rows
from tfx_pipeline.removal.wanted import Wanted

STATISTICS = "FeatureStats.pb"
_CHUNK = 1 << 24


def kind_of(path: Path) -> str:
    """Returns what the first bytes of a file, or its name, say that it is."""
    with path.open("rb") as stream:
        first = stream.read(16)
    for mark, kind in ((b"PAR1", "parquet"), (b"\x1f\x8b", "gzip"), (b"PK\x03\x04", "zip"), (b"SQLite", "sqlite")):
        if first.startswith(mark):
            return kind
    if path.name == STATISTICS:
        return "statistics"
    return "text" if _is_text(path) else "binary"


def holds(path: Path, wanted: Wanted) -> bool:
    """Returns whether one of the ids stands in a file.

    Raises:
        Exception: Of a library, where the file cannot be read to its end.
    """
    return _SEARCHES[kind_of(path)](path, wanted)


def in_name(path: Path, wanted: Wanted) -> bool:
    """Returns whether one of the ids is part of a path."""
    return any(wanted.hits(str(path).encode(), is_text=True))


def listeners_of(path: Path) -> set[str]:
    """Returns the ids in the column of listeners of a Parquet file; none where it has no such column."""
    found: set[str] = set()
    with pq.ParquetFile(path) as file:
        if USER in file.schema_arrow.names:
            for group in range(file.metadata.num_row_groups):
                found.update(as_text(file.read_row_group(group, [USER])[USER]).unique().to_pylist())
    return found - {None}


def words_of(path: Path) -> set[str]:
    """Returns every distinct text in a Parquet file."""
    with pq.ParquetFile(path) as file:
        return {text for texts in _texts(path, file, with_listeners=False) for text in texts}


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
        return USER in tf.train.Example.FromString(record).features.feature
    except Exception:
        return False


def user_statistics(data: bytes) -> tuple[object, list]:
    """Returns TFDV's statistics, and those of them that are of listeners' ids."""
    from tensorflow_metadata.proto.v0 import statistics_pb2

    found = statistics_pb2.DatasetFeatureStatisticsList.FromString(data)
    features = [feature for dataset in found.datasets for feature in dataset.features]
    return found, [feature for feature in features if (feature.name or feature.path.step[0]) == USER]


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
    values = column.column(column.schema.names.index(USER))
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


def _stream_holds(stream: BinaryIO, wanted: Wanted, *, is_text: bool = False) -> bool:
    before = b""
    while block := stream.read(_CHUNK):
        if any(wanted.hits(before + block, is_text=is_text)):
            return True
        before = (before + block)[-wanted.reach :]
    return False


def _raw(path: Path, wanted: Wanted) -> bool:
    with path.open("rb") as stream:
        return _stream_holds(stream, wanted)


def _text(path: Path, wanted: Wanted) -> bool:
    if without_rows(path, wanted) is not None:
        return True
    return any(wanted.hits(path.read_bytes(), is_text=True))


def _gzip(path: Path, wanted: Wanted) -> bool:
    with gzip.open(path) as stream:
        if _stream_holds(stream, wanted):  # type: ignore[arg-type]
            return True
    if not has_examples(path):
        return False
    ids = {one.encode() for one in wanted.ids}
    return any(not ids.isdisjoint(users_of(part)) for part in batches(records_of(path)))


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


def _zip(path: Path, wanted: Wanted) -> bool:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as stream:
                if _stream_holds(stream, wanted):  # type: ignore[arg-type]
                    return True
    return False


def _parquet(path: Path, wanted: Wanted) -> bool:
    if _raw(path, wanted):  # of the footer, which has least and greatest values, and of pages that are not packed
        return True
    if not wanted.ids.isdisjoint(listeners_of(path)):
        return True
    with pq.ParquetFile(path) as file:
        return any(any(wanted.hits("\n\0".join(texts).encode())) for texts in _texts(path, file, with_listeners=True))


def _texts(path: Path, file: pq.ParquetFile, *, with_listeners: bool) -> Iterator[list[str]]:
    """Yields the distinct texts of each column and row group, also those of dictionary pages that no row uses."""
    schema = file.schema
    columns = [schema.column(number) for number in range(len(schema))]
    paths = [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]
    paths = [name for name in paths if with_listeners or name.split(".")[0] != USER]
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


def _sqlite(path: Path, wanted: Wanted) -> bool:
    if _raw(path, wanted):  # also of pages that are free now
        return True
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        database.text_factory = bytes
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in database.execute(f'SELECT * FROM "{table.decode()}"'):
                if any(isinstance(value, bytes) and any(wanted.hits(value)) for value in row):
                    return True
    return False


def _statistics(path: Path, wanted: Wanted) -> bool:
    _, of_users = user_statistics(path.read_bytes())
    named = any(f.string_stats.top_values or f.string_stats.rank_histogram.buckets for f in of_users)
    return named or _raw(path, wanted)


_SEARCHES: dict[str, Callable[[Path, Wanted], bool]] = {
    "parquet": _parquet,
    "gzip": _gzip,
    "zip": _zip,
    "sqlite": _sqlite,
    "statistics": _statistics,
    "text": _text,
    "binary": _raw,
}
