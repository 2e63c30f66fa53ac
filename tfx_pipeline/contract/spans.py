"""Days of songs and plays, read as one folder of the input contract: a rolling window of plays, every song known.

`DIR/span-<number>/`, `DIR/span-2026-11-01/` or `DIR/date=2026-11-01/` holds songs.parquet and plays.parquet of one day
(or hour, or week). A later row of a song takes the place of an earlier one, so a day brings new and changed songs only.
Training reads the plays of the last days: songs that were cold and got plays are warm then; songs without plays in the
window stay in the catalogue as new ones.

Days may differ in their types. Whatever the contract accepts in one day alone, it accepts in all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfx_pipeline.contract.column_names import NO_NAMES, ColumnNames
from tfx_pipeline.contract.columns import Numbers, clean_id, display_text
from tfx_pipeline.contract.errors import broken
from tfx_pipeline.contract.ids import SONG_ID
from tfx_pipeline.contract.schemas import songs_schema
from tfx_pipeline.contract.songs import Tally, display_names, holed_notes, song_fields, typed
from tfx_pipeline.contract.source import Source
from tfx_pipeline.contract.stores.location import Location, children
from tfx_pipeline.contract.tables import DAYS, TEXT_SUFFIXES, Part, table_parts, tables_named

_NUMBERED = re.compile(r"span-(\d+)")
_DATED = re.compile(r"(?:span-|[A-Za-z]\w*=)?(\d{4}-\d{2}-\d{2}|(?<==)\d{8})")
_MEANT = re.compile(r"span-.*|(?:date|day|dt|ds)=.*")


@dataclass(frozen=True, order=True)
class Span:
    """One day's folder.

    Attributes:
        number: The number that orders the days. That of a date is its digits: 2026-11-01 has 20261101.
        folder: The folder.
        is_dated: Whether the name is a date.
    """

    number: int
    folder: Location
    is_dated: bool = False


@dataclass(frozen=True)
class Days:
    """The spans of a folder that are read.

    Attributes:
        folder: The folder.
        spans: Every span, earliest first: their songs are read.
        window: Those whose plays are read.
        columns: Column names of the user's own.
    """

    folder: Location
    spans: tuple[Span, ...]
    window: tuple[Span, ...]
    columns: ColumnNames = NO_NAMES

    @property
    def songs(self) -> Source:
        """The songs of every span, one after the other."""
        return self._source(self.spans, "songs")

    @property
    def plays(self) -> Source:
        """The plays of the window."""
        return self._source(self.window, "plays")

    def _source(self, spans: Sequence[Span], name: str) -> Source:
        parts = [part for span in spans for part in _parts(span, name)]
        return Source(parts, self.folder / "*" / f"{name}.parquet", names=self.columns.of(name))


def find_spans(folder: Location) -> list[Span]:
    """Returns the spans of a folder, earliest first; none if it has none.

    Raises:
        ContractError: Songs or plays lie beside the spans, or it is not clear in which order the spans are.
    """
    folders = [path for path in children(folder) if path.is_dir()] if folder.is_dir() else []
    spans = sorted(span for span in map(_span, folders) if span)
    tables = [path.name for name in ("songs", "plays") for path in tables_named(folder, name)] if folders else []
    if spans and tables:
        raise broken(folder, f"either spans or songs and plays, not {spans[0].folder.name} and files", tables)
    known = {span.folder for span in spans}
    for path in folders:
        meant = _MEANT.fullmatch(path.name) or (spans and not path.name.startswith((".", "_")))
        if path not in known and meant and any(tables_named(path, name) for name in ("songs", "plays")):
            raise broken(path, f"folders of days {DAYS}", path.name)
    for earlier, later in pairwise(spans):
        if earlier.number == later.number:
            raise broken(folder, "one folder for each day", f"{earlier.folder.name} and {later.folder.name}")
    if len({span.is_dated for span in spans}) > 1:
        names = sorted(next(s.folder.name for s in spans if s.is_dated == dated) for dated in (True, False))
        raise broken(folder, "spans that are all numbered or all dated", " and ".join(names))
    return spans


def read_days(
    folder: Location, *, window: int | None = None, until: int | None = None, columns: ColumnNames = NO_NAMES
) -> Days:
    """Returns the spans of a folder.

    Args:
        folder: Holds the spans.
        window: How many of the latest spans' plays are read; None = all. Songs of every span are.
        until: The last span's number; None = the latest there is.
        columns: Column names of the user's own.

    Raises:
        ContractError: There is no span, or a table is missing.
        ValueError: `window` is less than 1.
    """
    if window is not None and window < 1:
        raise ValueError(f"`window` must be at least 1. Received: {window}")
    spans = tuple(span for span in find_spans(folder) if until is None or span.number <= until)
    if not spans:
        raise broken(folder, f"folders of days {DAYS}", "none" if until is None else f"none up to {until}")
    return Days(folder, spans, spans if window is None else spans[-window:], columns)


def write_latest_songs(source: Source, file: Path) -> tuple[str, ...]:
    """Writes the latest row of every song, in the contract's types and with the names of the files. Returns notes.

    Memory is bounded by the ids and a batch. A column without a type in any file is written as null.

    Raises:
        ContractError: A value breaks the contract, or the types of a column are of different kinds.
    """
    source.check_ids(SONG_ID)
    tallies = [Tally(field) for field in song_fields(source)]
    display = display_names(source)
    schema = songs_schema([tally.field for tally in tallies], display)
    untyped = [pa.field(name, pa.null()) for name in source.names if name not in schema.names]
    own = source.columns.owns([*schema.names, *(field.name for field in untyped)])
    written = pa.schema([field.with_name(name) for field, name in zip([*schema, *untyped], own, strict=True)])
    with pq.ParquetWriter(file, written) as writer:
        for rows, latest in zip(source.batches(schema.names), _latest(source), strict=True):
            columns = [clean_id(rows.column(SONG_ID), rows.place(SONG_ID))]
            columns += [tally.add(rows) for tally in tallies]
            columns += [display_text(rows.column(name)) for name in display]
            table = pa.Table.from_batches([typed(columns, schema)])
            for field in untyped:
                table = table.append_column(field, pa.nulls(len(table)))
            writer.write_table(table.filter(pa.array(latest)).rename_columns(own))
    return (*source.notes, *holed_notes(tallies, source))


def _latest(source: Source) -> Iterator[Numbers]:
    """Yields for each batch which of its rows are the latest of their song."""
    last: dict[str, int] = {}
    sizes, row = [], 0
    for rows in source.batches([SONG_ID]):
        ids = clean_id(rows.column(SONG_ID), rows.place(SONG_ID)).to_pylist()
        last.update(zip(ids, range(row, row + len(ids)), strict=True))
        sizes.append(len(ids))
        row += len(ids)
    latest = np.zeros(row, bool)
    latest[list(last.values())] = True
    yield from np.split(latest, np.cumsum(sizes)[:-1]) if sizes else ()


def _span(folder: Location) -> Span | None:
    if match := _NUMBERED.fullmatch(folder.name):
        return Span(int(match[1]), folder)
    if not (match := _DATED.fullmatch(folder.name)):
        return None
    digits = match[1].replace("-", "")
    try:
        date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError as error:
        raise broken(folder, f"folders of days {DAYS}", f"{folder.name}, which is not a date") from error
    return Span(int(digits), folder, is_dated=True)


def _parts(span: Span, name: str) -> tuple[Part, ...]:
    found = [path for path in tables_named(span.folder, name) if path.suffix not in TEXT_SUFFIXES]
    if not found:
        remedy = "A span without new songs has a file without rows."
        raise broken(span.folder / f"{name}.parquet", "a Parquet file", "none", remedy=remedy)
    return table_parts(found[0])
