"""Columns of Arrow tables as numpy arrays, with every check of the input on the way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.columnar.coded import Coded
from tfx_pipeline.contract.ids import Ids, id_array
from tfx_pipeline.contract.play_columns import is_count
from tfx_pipeline.contract.text import quoted

_VECTORS = "lists of numbers"


def checked_column(table: pa.Table, source: str, name: str, expected: str = "strings") -> pa.Array:
    """Returns a column in one piece.

    Args:
        table: The table.
        source: Its name in messages.
        name: Name of the column.
        expected: What the column must hold: "strings", "numbers", "whole numbers", or "lists of" these.

    Raises:
        ValueError: If the column is not there or holds something else.
    """
    if name not in table.column_names:
        raise ValueError(f"`{source}` must have a column `{name}`. Received: columns {table.column_names}")
    column = table[name]
    if not _fits(column.type, expected):
        raise ValueError(f"`{name}` of `{source}` must hold {expected}. Received: {column.type}")
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def ids_of(table: pa.Table, source: str, name: str) -> Ids:
    """Returns a column of ids, (n,).

    Args:
        table: The table.
        source: Its name in messages.
        name: Name of the column.

    Raises:
        ValueError: If an id is null, empty or has a NUL character.
    """
    return encode_ids(checked_column(table, source, name), f"{name}` of `{source}")


def coded_ids(table: pa.Table, source: str, name: str) -> Coded:
    """Returns a column of ids in which every id stands once.

    Args:
        table: The table.
        source: Its name in messages.
        name: Name of the column.

    Raises:
        ValueError: If an id is null, empty or has a NUL character.
    """
    column = checked_column(table, source, name)
    if column.null_count:
        raise ValueError(f"`{name}` of `{source}` must hold an id in every row. Received: {column.null_count} null ids")
    coded = column.cast(pa.string()).dictionary_encode()
    return Coded(encode_ids(coded.dictionary, f"{name}` of `{source}"), coded.indices.to_numpy())


def encode_ids(ids: Sequence[str] | pa.Array | pa.ChunkedArray, column: str) -> Ids:
    """Returns texts as UTF-8 bytes, (n,).

    Args:
        ids: Texts.
        column: Their name in messages.

    Raises:
        ValueError: If an id is null, empty or has a NUL character.
    """
    array = ids if isinstance(ids, pa.Array | pa.ChunkedArray) else pa.array(ids, pa.string())
    if array.null_count:
        raise ValueError(f"`{column}` must hold an id in every row. Received: {array.null_count} null ids")
    texts = array.cast(pa.string())
    bad = pc.or_(pc.equal(texts, ""), pc.match_substring(texts, "\0"))
    if (row := pc.index(bad, True).as_py()) >= 0:
        shown = quoted(texts[row].as_py())
        raise ValueError(f"`{column}` must hold ids that are not empty and have no NUL. Received: {shown}")
    return id_array(texts)


def vectors_of(table: pa.Table, source: str, name: str, ids: Ids) -> npt.NDArray[np.float32]:
    """Returns a column of vectors, (n, d).

    Args:
        table: The table.
        source: Its name in messages.
        name: Name of the column.
        ids: (n,) whose vectors they are, for messages.

    Raises:
        ValueError: If the vectors differ in length, are empty or have a value that is not finite.
    """
    lists = checked_column(table, source, name, _VECTORS)
    lengths = list_lengths(lists)
    if (lengths != lengths[0]).any() or lengths[0] == 0:
        row = int(np.argmax(lengths != lengths[0]))
        received = f"{lengths[row]} for {ids[row].decode()!r}, {lengths[0]} for {ids[0].decode()!r}"
        raise ValueError(f"`{name}` must have one length of at least 1. Received: {received}")
    values = lists.flatten().cast(pa.float32()).to_numpy(zero_copy_only=False)
    vectors = np.asarray(values, np.float32).reshape(len(ids), -1)
    bad = ~np.isfinite(vectors).all(axis=1)
    if bad.any():
        where = ids[int(np.argmax(bad))].decode()
        raise ValueError(f"`{name}` must be finite. Received: a non-finite value for {where!r}")
    return vectors


def list_lengths(lists: pa.Array) -> npt.NDArray[np.int64]:
    """Returns the number of values in each list, (n,); 0 for null.

    Args:
        lists: A list column.
    """
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return np.asarray(lengths, np.int64)


def _fits(kind: pa.DataType, expected: str) -> bool:
    if expected == "whole numbers":
        return is_count(kind)
    if expected.startswith("lists of "):
        is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        return is_list and _fits(kind.value_type, expected.removeprefix("lists of "))
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_null(kind) or pa.types.is_integer(kind):  # nothing but nulls; numbers that are ids
        return True
    if expected == "numbers":
        return bool(pa.types.is_floating(kind))
    return expected == "strings" and bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
