"""A table as Parquet files, read in batches of rows; its files may differ in types, columns and order of columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.parquet as pq

from tfx_pipeline.contract.arrow_types import is_text
from tfx_pipeline.contract.column_names import PLAIN, Names
from tfx_pipeline.contract.columns import Place
from tfx_pipeline.contract.errors import broken
from tfx_pipeline.contract.folder_keys import ARROW, IN_WORDS, VALUES, look_of
from tfx_pipeline.contract.parquet_file import arrow_source, as_declared, first_line, open_parquet
from tfx_pipeline.contract.stores.location import Location
from tfx_pipeline.contract.tables import Part, table_parts

BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Rows:
    """Consecutive rows of one file.

    Attributes:
        batch: The columns that the file has.
        file: The file to name in messages.
        first_row: The number of the first row in that file.
        names: How the file calls its columns.
    """

    batch: pa.RecordBatch
    file: Location
    first_row: int
    names: Names = PLAIN

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def column(self, name: str) -> pa.Array:
        """Returns the column; nulls of Arrow's type null where the file has none."""
        return self.batch.column(name) if name in self.batch.schema.names else pa.nulls(len(self))

    def place(self, name: str) -> Place:
        """Returns where the column came from."""
        return Place(self.file, self.names.own(name), self.first_row)


@dataclass(frozen=True)
class Header:
    """What the end of a Parquet file says of it, with the contract's names of its columns."""

    part: Part
    schema: pa.Schema
    num_rows: int

    @property
    def file(self) -> Location:
        """The file to name in messages."""
        return self.part.shown


class Source:
    """Parquet files that are read as one table.

    Types need not agree: each batch comes as its file has it, and the contract's own types are made from that. A column
    that a file lacks is null there. A file without rows says nothing of types.

    Args:
        parts: The files, in the order of their rows.
        shown: The file or folder to name where no single part is meant.
        given: The table that this one was made from, with the types that the user gave it; None = this one.
        names: How the files call their columns. Everywhere else columns have the contract's names, but in messages
            they have those of the files.
    """

    def __init__(
        self, parts: Sequence[Part], shown: Location, given: Source | None = None, *, names: Names = PLAIN
    ) -> None:
        self.parts = tuple(parts)
        self.shown = shown
        self.given = given or self
        self.columns = names

    @classmethod
    def at(cls, path: Location, names: Names = PLAIN) -> Source:
        """Returns the table in a Parquet file or a folder of them.

        Raises:
            ContractError: There is none.
        """
        return cls(table_parts(path), path, names=names)

    @cached_property
    def headers(self) -> tuple[Header, ...]:
        """One for each file.

        Raises:
            ContractError: A file is no Parquet file, or two of its columns have one name.
        """
        return tuple(self._header(part) for part in self.parts)

    @property
    def filled(self) -> tuple[Header, ...]:
        """Headers of the files with rows."""
        return tuple(header for header in self.headers if header.num_rows)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every column that some file with rows has, in the order in which they first come."""
        headers = self.filled or self.headers
        return tuple(dict.fromkeys(name for header in headers for name in header.schema.names))

    @property
    def notes(self) -> tuple[str, ...]:
        """Which columns are the names of folders, in words."""
        return tuple(
            f"{name} is read from the names of folders, as {IN_WORDS[kind]}." for name, kind in self._keys.items()
        )

    def own(self, name: str) -> str:
        """Returns what the files call a column."""
        return self.columns.own(name)

    def check_names(self) -> None:
        """Raises ContractError if the setting of names has a column that is in no file."""
        there = dict.fromkeys(name for header in self.headers for name in header.schema.names)
        for own, ours in self.columns.mapped.items():
            if ours not in there:
                remedy = f"Correct or remove it in the setting `{self.columns.setting}`."
                received = f"the columns {', '.join(self.columns.owns(there)) or '(none)'}"
                raise broken(
                    self.shown, f"a column of this name, which is to be `{ours}`", received, column=own, remedy=remedy
                )

    def batches(self, columns: Sequence[str]) -> Iterator[Rows]:
        """Yields the rows in order, so that memory is bounded by a batch and a row group.

        Raises:
            ContractError: A file is damaged.
        """
        for header in self.filled:
            yield from self.batches_of(header, columns)

    def batches_of(self, header: Header, columns: Sequence[str]) -> Iterator[Rows]:
        """Yields the rows of one file in order.

        Raises:
            ContractError: The file is damaged.
        """
        first_row = 0
        for batch in self._batches(header, columns):
            yield Rows(batch, header.file, first_row, self.columns)
            first_row += batch.num_rows

    def locate(self, row: int) -> tuple[Location, int]:
        """Returns the file and its own row of a row of the whole."""
        for header in self.headers:
            if row < header.num_rows:
                return header.file, row
            row -= header.num_rows
        raise IndexError(row)

    def check_column(self, name: str, test: Callable[[pa.DataType], bool], expected: str, remedy: str = "") -> None:
        """Raises ContractError unless the column's type passes the test in every file that has it."""
        for header in self.filled:
            if name in header.schema.names and not test(header.schema.field(name).type):
                received = header.schema.field(name).type
                raise broken(header.file, expected, received, column=self.own(name), remedy=remedy)

    def check_ids(
        self, name: str, test: Callable[[pa.DataType], bool] | None = None, expected: str = "strings"
    ) -> None:
        """Raises ContractError unless every file has the column, of strings unless `test` allows more."""
        for header in self.filled or self.headers:
            if name not in header.schema.names:
                received = f"the columns {', '.join(self.columns.owns(header.schema.names)) or '(none)'}"
                raise broken(header.file, f"a column `{self.own(name)}`", received, remedy=_SUGGEST)
        self.check_column(name, test or _is_id, expected, "" if test else "Write the ids as strings.")

    def _header(self, part: Part) -> Header:
        try:
            with pq.ParquetFile(arrow_source(part.path)) as parquet:
                schema, num_rows = parquet.schema_arrow, parquet.metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            raise broken(part.shown, "a Parquet file", first_line(error, part.path)) from error
        for name in schema.names:
            if (times := schema.names.count(name)) > 1:
                raise broken(part.shown, "one column of each name", f"{times} of them", column=name)
        for name in part.keys:
            if name not in schema.names:  # Some writers leave the column in the file as well.
                schema = schema.append(pa.field(name, ARROW[self._keys[name]]))
        return Header(part, self._in_our_names(schema.remove_metadata(), part), num_rows)

    def _in_our_names(self, schema: pa.Schema, part: Part) -> pa.Schema:
        ours = [self.columns.ours(name) for name in schema.names]
        for own, name in zip(schema.names, ours, strict=True):
            if own != name and ours.count(name) > 1:
                remedy = f"Give `{name}` another name in that setting, or leave `{own}` out of it."
                received = f"two: `{own}` by the setting `{self.columns.setting}`, and `{name}` itself"
                raise broken(part.shown, f"one column `{name}`", received, column=own, remedy=remedy)
        return pa.schema([field.with_name(name) for field, name in zip(schema, ours, strict=True)])

    @cached_property
    def _keys(self) -> dict[str, str]:
        """The columns that folders state, with what their values look like over all parts."""
        names = dict.fromkeys(name for part in self.parts for name in part.keys)
        return {n: look_of(self.columns.ours(n), [part.keys.get(n) for part in self.parts]) for n in names}

    def _batches(self, header: Header, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with open_parquet(header.part.path, header.schema) as parquet:
            ours = self.columns.ours
            own = {name: ours(name) for name in parquet.schema_arrow.names if ours(name) in columns}
            keys = {name: ours(name) for name in header.part.keys if ours(name) in columns and name not in own}
            iterator = parquet.iter_batches(batch_size=BATCH_ROWS, columns=list(own) or parquet.schema_arrow.names[:1])
            first_row = 0
            while True:
                try:
                    batch = next(iterator, None)
                except (pa.ArrowException, OSError) as error:
                    reason = first_line(error, header.part.path)
                    raise broken(header.file, "a readable Parquet file", reason, row=first_row) from error
                if batch is None:
                    return
                types = {name: header.schema.field(name).type for name in (*own.values(), *keys.values())}
                arrays = {to: as_declared(batch.column(name), types[to]) for name, to in own.items()}
                for name, to in keys.items():
                    value = VALUES[self._keys[name]](header.part.keys[name])
                    arrays[to] = pa.repeat(pa.scalar(value, types[to]), batch.num_rows)
                first_row += batch.num_rows
                yield pa.RecordBatch.from_pydict(arrays) if arrays else batch


def _is_id(arrow_type: pa.DataType) -> bool:
    return is_text(arrow_type) or bool(pa.types.is_null(arrow_type))


_SUGGEST = "Rename it, or map it: python -m tfx_pipeline.contract --suggest FOLDER writes the setting `columns`."
