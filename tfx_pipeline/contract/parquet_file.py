"""Opens Parquet files so that lists of a fixed size may be null."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tfx_pipeline.contract.stores.failures import reason_of
from tfx_pipeline.contract.stores.location import Location

# A writer of the Arrow family keeps its own schema among the metadata of the file, below this key: in Thrift, a string
# of 12 bytes before another string.
_KEY = b"\x18\x0cARROW:schema\x18"
_MAGIC = b"PAR1"


def open_parquet(path: Location, schema: pa.Schema) -> pq.ParquetFile:
    """Returns the file, open.

    Arrow stores a null list of a fixed size as a list without elements, then refuses to read it back as one of a fixed
    size. Such columns are read as the plain lists that Parquet has, by ignoring the Arrow schema in the metadata.

    Args:
        path: The file.
        schema: Its Arrow schema.
    """
    if not any("fixed_size_list" in str(field.type) for field in schema):
        return pq.ParquetFile(arrow_source(path))
    return pq.ParquetFile(arrow_source(path), metadata=_metadata_without_arrow_schema(path))


def arrow_source(path: Location) -> Any:
    """Returns what Arrow opens a file by: its path, or the open file of a store."""
    return path if isinstance(path, Path) else path.arrow_file()


def as_declared(array: pa.Array, declared: pa.DataType) -> pa.Array:
    """Returns times in the unit and zone of the Arrow schema, which `open_parquet` may have ignored."""
    is_time = pa.types.is_timestamp(declared) or pa.types.is_duration(declared)
    return array.cast(declared) if is_time and array.type != declared else array


def _metadata_without_arrow_schema(path: Location) -> pq.FileMetaData:
    """Returns the metadata with the key of the Arrow schema renamed, so that Arrow does not find it."""
    with path.open("rb") as file:
        size = file.seek(-8, 2)
        length = int.from_bytes(file.read(4), "little")
        file.seek(size - length)
        footer = file.read(length)
    place = footer.rfind(_KEY)
    if place >= 0:
        footer = footer[:place] + _KEY.replace(b":", b"-") + footer[place + len(_KEY) :]
    return pq.read_metadata(pa.BufferReader(_MAGIC + footer + length.to_bytes(4, "little") + _MAGIC))


def first_line(error: Exception, path: Location | None = None) -> str:
    """Returns the first line of an error's message, without its full stop; of a file in a store, what it means."""
    if path is not None and not isinstance(path, Path):
        return reason_of(error)
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
