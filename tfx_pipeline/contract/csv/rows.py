"""The rows of a CSV file as batches of text, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from tfx_pipeline.contract.columns import Place, to_text
from tfx_pipeline.contract.csv.dialect import SEPARATORS, Dialect
from tfx_pipeline.contract.errors import ContractError, broken
from tfx_pipeline.contract.parquet_file import arrow_source
from tfx_pipeline.contract.stores.location import Location

_BLOCK_BYTES = 1 << 20
_SHOWN_TEXT = 80


def read_rows(path: Location, dialect: Dialect) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yields (row number of the first row, batch of trimmed string columns, null where empty).

    Rows are counted from 0 after the header, as in Parquet: blank lines are not rows, and a cell that holds line breaks
    between quotes is part of one row. Columns without a name are left out.

    Raises:
        ContractError: A row has another number of cells than the header, or a cell is not text.
    """
    wrong: list[pa.csv.InvalidRow] = []

    def remember(row: pa.csv.InvalidRow) -> str:
        wrong.append(row)
        return "error"

    first_row = 0
    try:
        for batch in _open(path, dialect, remember):
            columns = [_cells(batch.column(name), Place(path, name, first_row)) for name in dialect.named]
            yield first_row, pa.RecordBatch.from_arrays(columns, list(dialect.named))
            first_row += batch.num_rows
    except pa.ArrowException as error:
        if "Empty CSV" in str(error):  # A header and no rows: the checks that follow say so.
            return
        raise _unreadable(path, dialect, first_row, wrong, error) from error
    except UnicodeError as error:
        raise broken(path, f"a CSV file in {dialect.encoding.upper()}", error, row=first_row) from error


def _open(path: Location, dialect: Dialect, on_wrong_row: object) -> pa.csv.CSVStreamingReader:
    # Names of their own for columns that have none: Arrow asks for distinct ones.
    names = [name or f"\0{number}" for number, name in enumerate(dialect.names)]
    reading = pa.csv.ReadOptions(
        column_names=names,
        skip_rows=dialect.header_lines,
        block_size=_BLOCK_BYTES,
        use_threads=False,  # With threads, Arrow does not know the number of a wrong row.
        encoding="utf8" if dialect.encoding.startswith("utf-8") else dialect.encoding,
    )
    parsing = pa.csv.ParseOptions(
        delimiter=dialect.separator, newlines_in_values=True, invalid_row_handler=on_wrong_row
    )
    converting = pa.csv.ConvertOptions(
        check_utf8=False,  # `to_text` does, and names the row.
        column_types={name: pa.string() for name in names},
        include_columns=list(dialect.named),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
    )
    return pa.csv.open_csv(arrow_source(path), reading, parsing, converting)


def _cells(column: pa.Array, place: Place) -> pa.Array:
    text = pc.utf8_trim_whitespace(to_text(column, place))
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def _unreadable(
    path: Location, dialect: Dialect, first_row: int, wrong: list[pa.csv.InvalidRow], error: Exception
) -> ContractError:
    if wrong:
        return _ragged(path, dialect, wrong[0])
    if "straddling" in str(error):
        expected = f"rows of less than {_BLOCK_BYTES >> 20} MiB"
        remedy = "Close every quote; a quote inside a quoted value is written twice."
        return broken(path, expected, 'a longer one; a quote (") may not be closed', row=first_row, remedy=remedy)
    received = str(error).splitlines()[0].rstrip(".")
    return broken(path, "a CSV file in UTF-8", received, row=first_row)


def _ragged(path: Location, dialect: Dialect, row: pa.csv.InvalidRow) -> ContractError:
    number = None if row.number is None else row.number - 1 - dialect.header_lines
    if row.actual_columns > row.expected_columns:
        remedy = f"A {SEPARATORS[dialect.separator]} inside a value needs quotes."
    else:
        remedy = 'A row needs a cell for each column, and every quote (") must be closed.'
    text = row.text if len(row.text) <= _SHOWN_TEXT else row.text[:_SHOWN_TEXT] + "..."
    expected = f"{row.expected_columns} columns, found {row.actual_columns}"
    return broken(path, expected, repr(text), row=number, remedy=remedy)
