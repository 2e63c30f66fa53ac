"""Counts what the rows of plays hold, batch by batch, also where batches are counted apart and added up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.contract.columns import Numbers, clean_id
from tfx_pipeline.contract.errors import broken
from tfx_pipeline.contract.forgotten import NOBODY, Forgotten
from tfx_pipeline.contract.ids import SONG_ID, USER_ID
from tfx_pipeline.contract.play_columns import to_counts, to_flags, to_seconds, unit_notes
from tfx_pipeline.contract.source import Rows, Source
from tfx_pipeline.contract.stores.location import Location
from tfx_pipeline.contract.text import quoted


@dataclass(frozen=True)
class CheckedPlays:
    """What one pass over plays.parquet found.

    Attributes:
        columns: The columns the pipeline reads, in order.
        num_plays: Rows kept: of known songs, with at least one play.
        num_users: Distinct users of the rows kept.
        unknown: Rows dropped because songs.parquet lacks the song.
        zero: Rows dropped because `plays` is 0.
        notes: What was passed over or guessed, in words.
        units: For each file in which times are numbers, the unit in which they count since 1970.
        forgotten: Whose rows are left out.
    """

    columns: tuple[str, ...]
    num_plays: int
    num_users: int
    unknown: int
    zero: int
    notes: tuple[str, ...]
    units: Mapping[Location, str] = field(default_factory=dict)
    forgotten: Forgotten = NOBODY

    @property
    def unknown_share(self) -> float:
        """Share of all rows that play an unknown song."""
        return self.unknown / max(self.num_plays + self.zero + self.unknown, 1)


@dataclass(frozen=True)
class PlayColumns:
    """How the rows of plays are read.

    Attributes:
        columns: The columns the pipeline reads, in order.
        units: For each file in which times are numbers, the unit in which they count since 1970.
        song_ids: The known songs.
        forgotten: Listeners whose plays are left out, and counted.
        is_one_file: Whether the table is one file, which needs no name beside a row.
    """

    columns: tuple[str, ...]
    units: Mapping[Location, str]
    song_ids: pa.Array
    forgotten: Forgotten
    is_one_file: bool


@dataclass
class PlayCount:
    """What the rows so far have shown.

    Attributes:
        kept: Rows of known songs, with at least one play.
        unknown: Rows of unknown songs.
        zero: Rows of known songs with 0 plays.
        gone: Rows of listeners who are to be forgotten.
        example: The first unknown song and its row, in words; "" where there is none.
    """

    kept: int = 0
    unknown: int = 0
    zero: int = 0
    gone: int = 0
    example: str = ""

    def add(self, rows: Rows, of: PlayColumns) -> tuple[pa.Array, pa.Array]:
        """Counts a batch. Returns the listeners of the rows kept, and of those that are to be forgotten.

        Raises:
            ContractError: A value breaks the contract.
        """
        cleaned, known, counted = clean_rows(rows, of.columns, of.units, of.song_ids)
        users = cleaned.column(USER_ID)
        marked = of.forgotten.marks(users)
        known, absent = known & ~marked, ~known & ~marked
        if absent.any() and not self.example:
            index = int(absent.argmax())
            where = "" if of.is_one_file else f" of {rows.file}"
            self.example = f"{quoted(cleaned.column(SONG_ID)[index].as_py())} in row {rows.first_row + index}{where}"
        self.kept += int((known & counted).sum())
        self.unknown += int(absent.sum())
        self.zero += int((known & ~counted).sum())
        self.gone += int(marked.sum())
        return users.filter(pa.array(known & counted)), users.filter(pa.array(marked))

    def finished(
        self, source: Source, of: PlayColumns, num_users: int, num_gone: int, most_unknown: float
    ) -> CheckedPlays:
        """Returns what all rows have shown.

        Raises:
            ContractError: Too many plays are of unknown songs, or none is left.
        """
        notes = [*source.notes, *unit_notes(source.own("timestamp"), of.units)]
        notes += [f"Column {source.own(name)} of plays is not read." for name in source.names if name not in of.columns]
        notes += [f"{self.zero} rows with 0 plays are left out."] if self.zero else []
        notes += [f"{self.unknown} plays of unknown songs are left out, first {self.example}."] if self.unknown else []
        notes += [f"{self.gone:,} plays of {num_gone:,} forgotten listeners are left out."] if self.gone else []
        counted = (self.kept, num_users, self.unknown, self.zero)
        plays = CheckedPlays(of.columns, *counted, tuple(notes), of.units, of.forgotten)
        if plays.unknown_share > most_unknown:
            expected = f"at most {most_unknown:.2%} of plays of songs that songs.parquet lacks"
            received = f"{plays.unknown_share:.2%} ({self.unknown} rows), first {self.example}"
            raise broken(source.shown, expected, received, column=source.own(SONG_ID))
        if not self.kept:
            raise broken(source.shown, "at least one play of a known song", "none")
        return plays


def clean_rows(
    rows: Rows, columns: tuple[str, ...], units: Mapping[Location, str], song_ids: pa.Array | None
) -> tuple[pa.RecordBatch, Numbers, Numbers]:
    """Returns the rows in the pipeline's types, whether each one's song is known, and whether it has plays."""
    arrays = {name: clean_id(rows.column(name), rows.place(name)) for name in (USER_ID, SONG_ID)}
    known = np.ones(len(rows), bool)
    if song_ids is not None:
        known = np.asarray(pc.is_in(arrays[SONG_ID], value_set=song_ids))
    arrays["plays"] = to_counts(rows.column("plays"), rows.place("plays"))
    if "liked" in columns:
        arrays["liked"] = to_flags(rows.column("liked"), rows.place("liked"))
    if "timestamp" in columns:
        unit = units.get(rows.file, "s")
        arrays["timestamp"] = to_seconds(rows.column("timestamp"), rows.place("timestamp"), unit)
    return pa.RecordBatch.from_pydict(arrays), known, np.asarray(arrays["plays"]) > 0


class Distinct:
    """Number of distinct strings, in memory that grows with that number alone."""

    def __init__(self) -> None:
        self._known = pa.array([], pa.string())
        self._new: list[pa.Array] = []

    def add(self, values: pa.Array) -> None:
        """Takes strings into account."""
        self._new.append(pc.unique(values))
        if sum(map(len, self._new)) > max(len(self._known), 200_000):
            self._merge()

    def _merge(self) -> None:
        self._known, self._new = pc.unique(pa.chunked_array([self._known, *self._new])), []

    def count(self) -> int:
        """Returns how many there are."""
        return len(self.values())

    def values(self) -> pa.Array:
        """Returns them, each once."""
        self._merge()
        return self._known
