"""Converts CSV files to Parquet. Types are found over the whole file, in batches, so that memory stays bounded.

The file has a header. Cells are separated by commas, semicolons or tabs (`dialect`) and quoted with " where they hold
one. Blanks around a cell are dropped, and an empty cell is missing. `kinds` states how the cells of a feature column
decide its kind, and what is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tfx_pipeline.contract.column_names import PLAIN, Names
from tfx_pipeline.contract.columns import Place
from tfx_pipeline.contract.csv.dialect import read_dialect
from tfx_pipeline.contract.csv.kinds import MISSING, NEVER_A_WORD, NUMBER, Column, Guess, Style
from tfx_pipeline.contract.csv.lists import read_number_words, read_numbers, read_words, without_numpy_names
from tfx_pipeline.contract.csv.rows import read_rows
from tfx_pipeline.contract.fields import is_feature
from tfx_pipeline.contract.stores.location import Location
from tfx_pipeline.contract.times import TIME, TimeReader

_YES, _NO = ("true", "t", "yes", "y", "1", "1.0"), ("false", "f", "no", "n", "0", "0.0")


def convert_songs(path: Location, parquet: Path, names: Names = PLAIN) -> tuple[str, ...]:
    """Writes songs.csv as Parquet. Returns a note for each feature column, which says what was guessed.

    Args:
        path: The CSV file.
        parquet: The file to write, with the columns' names of the CSV file.
        names: What the contract calls them.

    Raises:
        ContractError: The file is no CSV with a header of distinct names, or a column is of several kinds.
    """
    dialect = read_dialect(path, names)
    guesses = {name: Guess(path, name) for name in dialect.named if is_feature(names.ours(name))}
    for first_row, batch in read_rows(path, dialect):
        for name, guess in guesses.items():
            guess.add(batch.column(name), first_row)
    columns = {name: guess.column() for name, guess in guesses.items()}
    types = {name: column.type for name, column in columns.items()}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in dialect.named])
    with pq.ParquetWriter(parquet, schema) as writer:
        for first_row, batch in read_rows(path, dialect):
            arrays = [
                _typed(batch.column(name), columns[name], Place(path, name, first_row))
                if name in columns
                else batch.column(name)
                for name in dialect.named
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
    return (*dialect.notes(path.name), *(column.note for column in columns.values()))


def convert_plays(path: Location, parquet: Path, names: Names = PLAIN) -> tuple[str, ...]:
    """Writes plays.csv as Parquet. Returns notes on how times were understood.

    `plays` becomes int and may be written 1 or 1.0. `liked` becomes bool and may be written true or false, yes or no,
    1 or 0. `contract.times` states how `timestamp` may be written.

    Args:
        path: The CSV file.
        parquet: The file to write, with the columns' names of the CSV file.
        names: What the contract calls them.

    Raises:
        ContractError: The file is no CSV with a header of distinct names, or a cell does not fit the type of its
            column.
    """
    dialect, times = read_dialect(path, names), TimeReader()
    readers: dict[str, Callable[[pa.Array, Place], pa.Array]] = {
        "plays": _whole,
        "liked": _flag,
        "timestamp": times.read,
    }
    types = {"plays": pa.int64(), "liked": pa.bool_(), "timestamp": TIME}
    ours = {name: names.ours(name) for name in dialect.named}
    schema = pa.schema([(name, types.get(ours[name], pa.string())) for name in dialect.named])
    with pq.ParquetWriter(parquet, schema) as writer:
        for first_row, batch in read_rows(path, dialect):
            arrays = [
                readers[ours[name]](_without_markers(batch.column(name)), Place(path, name, first_row))
                if ours[name] in readers
                else batch.column(name)
                for name in dialect.named
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
    return (*dialect.notes(path.name), *times.notes())


def _typed(cells: pa.Array, column: Column, place: Place) -> pa.Array:
    """Returns the cells in the type of the column's kind."""
    if column.style == "empty":
        return pa.nulls(len(cells), column.type)
    if column.style == "word":
        return pc.if_else(pc.equal(cells, NEVER_A_WORD), pa.scalar(None, pa.string()), cells)
    if column.style != "words_by_pipe":  # Among words, what looks like missing may be a word.
        cells = _without_markers(cells)
    if column.style.endswith("_in_brackets"):
        cells = without_numpy_names(cells)
    found = []
    for index, cell in enumerate(cells.to_pylist()):
        try:
            found.append(None if cell is None or cell == NEVER_A_WORD else _READERS[column.style](cell))
        except ValueError as error:
            raise place.broken("a list of words, as ['rock', 'indie']", repr(cell), index) from error
    return pa.array(found, column.type)


def _words_by_pipe(cell: str) -> list[str]:
    return [part for part in map(str.strip, cell.split("|")) if part]


_READERS: dict[Style, Callable[[str], object]] = {
    "number": float,
    "number_with_comma": lambda cell: float(cell.replace(",", ".")),
    "words_by_pipe": _words_by_pipe,
    "numbers_by_pipe": lambda cell: read_numbers(f"[{cell.replace('|', ' ')}]"),
    "words_in_brackets": read_words,
    "ids_in_brackets": read_number_words,
    "numbers_in_brackets": read_numbers,
}


def _without_markers(cells: pa.Array) -> pa.Array:
    """Returns the cells with null in place of words for a missing value."""
    return pc.if_else(pc.match_substring_regex(cells, MISSING), pa.scalar(None, pa.string()), cells)


def _read(cells: pa.Array, place: Place, pattern: str, expected: str) -> None:
    bad = np.asarray(pc.fill_null(pc.invert(pc.match_substring_regex(cells, pattern)), False))
    if bad.any():
        index = int(bad.argmax())
        raise place.broken(expected, repr(cells[index].as_py()), index)


def _whole(cells: pa.Array, place: Place) -> pa.Array:
    _read(cells, place, f"^{NUMBER}$", "a whole number")
    if pc.all(pc.match_substring_regex(cells, "^-?[0-9]{1,18}$")).as_py() in (True, None):
        return cells.cast(pa.int64())
    numbers = np.array([float(cell or 0) for cell in cells.to_pylist()])
    broken = (numbers != np.floor(numbers)) | (np.abs(numbers) > 2**53)
    if broken.any():
        index = int(broken.argmax())
        raise place.broken("a whole number", repr(cells[index].as_py()), index)
    return pa.array(numbers.astype(np.int64), mask=np.asarray(cells.is_null()))


def _flag(cells: pa.Array, place: Place) -> pa.Array:
    lower = pc.utf8_lower(cells)
    _read(lower, place, f"^(?:{'|'.join((*_YES, *_NO))})$", "true or false, yes or no, 1 or 0")
    # Arrow's `is_in` returns False for null.
    return pc.if_else(lower.is_valid(), pc.is_in(lower, value_set=pa.array(_YES)), pa.scalar(None, pa.bool_()))
