"""A CSV file as Parquet: types are inferred over the whole file, by rules that depend on nothing else.

The file is UTF-8 with a header; cells are separated by commas and quoted with " where they hold one. Blanks around a
cell are dropped and an empty cell is missing. A feature column is, over all its cells,
- a number if every cell is one (`007` is not: a leading zero makes an id, so the column is a category),
- a dense vector if some cell holds `|`, every part is a number and some part has a decimal point or exponent: `0.1|2`,
- a multi-valued category if some cell holds `|`: `rock|indie`; a single value may be written `rock|`,
- a category otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from tfx_pipeline.contract.columns import Place
from tfx_pipeline.contract.errors import broken
from tfx_pipeline.contract.fields import Kind, is_feature

_NUMBER = r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_NOT_FINITE = r"[+-]?(?:nan|inf|infinity)"
_PART = f"(?:{_NUMBER}|{_NOT_FINITE})"
_BLOCK_BYTES = 1 << 22
_ARROW = {
    "category": pa.string(),
    "multi_category": pa.list_(pa.string()),
    "number": pa.float64(),
    "vector": pa.list_(pa.float64()),
}


def convert_songs(path: Path, parquet: Path) -> None:
    """Write songs.csv as Parquet.

    Raises:
        ContractError: the file is no CSV in UTF-8 with a header of distinct names.
    """
    names = _header(path)
    guesses = {name: _Guess() for name in names if is_feature(name)}
    for _, batch in _batches(path, names):
        for name, guess in guesses.items():
            guess.add(batch.column(name))
    kinds = {name: guess.kind() for name, guess in guesses.items()}
    schema = pa.schema([(name, _ARROW[kinds[name]] if name in kinds else pa.string()) for name in names])
    with pq.ParquetWriter(parquet, schema) as writer:
        for _, batch in _batches(path, names):
            columns = [_typed(batch.column(name), kinds.get(name, "category")) for name in names]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def convert_plays(path: Path, parquet: Path) -> None:
    """Write plays.csv as Parquet: plays as int, liked as bool (true, false, 1, 0), timestamp as seconds or ISO 8601.

    Raises:
        ContractError: the file is no such CSV, or a cell does not read as its column asks.
    """
    names = _header(path)
    readers = {"plays": _whole, "liked": _flag, "timestamp": _time}
    types = {"plays": pa.int64(), "liked": pa.bool_(), "timestamp": pa.int64()}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in names])
    with pq.ParquetWriter(parquet, schema) as writer:
        for first_row, batch in _batches(path, names):
            columns = [
                readers[name](batch.column(name), Place(path, name, first_row))
                if name in readers
                else batch.column(name)
                for name in names
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


class _Guess:
    """What the cells of one column have in common."""

    def __init__(self) -> None:
        self.piped = self.finite = self.fraction = False
        self.numbers = True

    def add(self, cells: pa.Array) -> None:
        cells = cells.drop_null()
        self.piped |= _any(cells, r"\|")
        self.finite |= _any(cells, rf"(?:^|\|){_NUMBER}(?:\||$)")
        self.fraction |= _any(cells, r"[0-9.][.eE]|\.[0-9]")
        self.numbers &= _all(cells, rf"(?i)^{_PART}(?:\|{_PART})*\|?$")

    def kind(self) -> Kind:
        numbers = self.numbers and self.finite
        if self.piped:
            return "vector" if numbers and self.fraction else "multi_category"
        return "number" if numbers else "category"


def _any(cells: pa.Array, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(cells, pattern)).as_py())


def _all(cells: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(cells, pattern)).as_py() in (True, None))


def _typed(cells: pa.Array, kind: Kind) -> pa.Array:
    if kind == "category":
        return cells
    if kind == "number":
        return pa.array([None if cell is None else float(cell) for cell in cells.to_pylist()], pa.float64())
    read = float if kind == "vector" else str.strip
    lists = [
        None if cell is None else [read(part) for part in cell.split("|") if part.strip()] for cell in cells.to_pylist()
    ]
    return pa.array(lists, _ARROW[kind])


def _header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = pa.csv.open_csv(_first_record(file.readline()), parse_options=_PARSE)
            names = [name.strip() for name in reader.schema.names]
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise broken(path, "a CSV file in UTF-8 with a header", str(error).splitlines()[0].rstrip(".")) from error
    for name in names:
        if names.count(name) > 1:
            raise broken(path, "one column of each name", f"{names.count(name)} of them", column=name)
    return names


_PARSE = pa.csv.ParseOptions(newlines_in_values=True)


def _first_record(line: str) -> pa.BufferReader:
    return pa.BufferReader(line.encode())


def _batches(path: Path, names: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield (row number of the first row, batch of trimmed string columns, null where empty)."""
    options = pa.csv.ConvertOptions(
        column_types={name: pa.string() for name in names},
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
    )
    reading = pa.csv.ReadOptions(column_names=names, skip_rows=1, block_size=_BLOCK_BYTES)
    first_row = 0
    try:
        for batch in pa.csv.open_csv(path, reading, _PARSE, options):
            columns = [_trimmed(column) for column in batch.columns]
            yield first_row, pa.RecordBatch.from_arrays(columns, names)
            first_row += batch.num_rows
    except pa.ArrowException as error:
        if "Empty CSV" in str(error):  # A header and no rows: the checks that follow say so.
            return
        raise broken(path, "a CSV file in UTF-8", str(error).splitlines()[0].rstrip("."), row=first_row) from error


def _trimmed(cells: pa.Array) -> pa.Array:
    text = pc.utf8_trim_whitespace(cells)
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def _read(cells: pa.Array, place: Place, pattern: str, expected: str) -> None:
    bad = np.asarray(pc.fill_null(pc.invert(pc.match_substring_regex(cells, pattern)), False))
    if bad.any():
        index = int(bad.argmax())
        raise place.broken(expected, repr(cells[index].as_py()), index)


def _whole(cells: pa.Array, place: Place) -> pa.Array:
    _read(cells, place, r"^-?[0-9]{1,18}$", "a whole number")
    return cells.cast(pa.int64())


def _flag(cells: pa.Array, place: Place) -> pa.Array:
    _read(cells, place, r"(?i)^(?:true|false|1|0)$", "true or false")
    flags = [None if cell is None else cell.lower() in ("true", "1") for cell in cells.to_pylist()]
    return pa.array(flags, pa.bool_())


def _time(cells: pa.Array, place: Place) -> pa.Array:
    day = "[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2})?Z?)?"
    _read(cells, place, f"^(?:-?[0-9]{{1,18}}|{day})$", "seconds since 1970, or a time as 2024-05-31T12:00:00")
    texts = enumerate(cells.to_pylist())
    seconds = [None if cell is None else _second(cell, place, index) for index, cell in texts]
    return pa.array(seconds, pa.int64())


def _second(cell: str, place: Place, index: int) -> int:
    if "-" not in cell[1:]:
        return int(cell)
    try:
        return int(np.datetime64(cell.rstrip("Z").replace(" ", "T"), "s").astype(np.int64))
    except ValueError as error:
        raise place.broken("a time that exists", repr(cell), index) from error
