"""Checks songs.parquet in one pass, and reads it again as clean batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.contract.column_notes.free_text import FreeText
from tfx_pipeline.contract.column_notes.unused import find_unused, renames, unused_notes
from tfx_pipeline.contract.column_notes.written_lists import WrittenLists
from tfx_pipeline.contract.columns import Place, clean_id, display_text, list_lengths
from tfx_pipeline.contract.errors import broken
from tfx_pipeline.contract.fields import SongField, fields_of, is_feature
from tfx_pipeline.contract.ids import SONG_ID
from tfx_pipeline.contract.kinds import clean
from tfx_pipeline.contract.schemas import songs_schema
from tfx_pipeline.contract.source import Rows, Source
from tfx_pipeline.contract.text import quoted

MIN_FIELDS = 2


@dataclass(frozen=True)
class CheckedSongs:
    """What one pass over songs.parquet found.

    Attributes:
        fields: The usable fields, in the file's order.
        missing: Share of songs without a value, per field.
        display: Columns carried for display.
        ids: Every song_id, in the file's order.
        notes: What was passed over, in words.
        lists: For each field of lists, by its name in the file, the number of songs by length of their list.
    """

    fields: tuple[SongField, ...]
    missing: tuple[float, ...]
    display: tuple[str, ...]
    ids: pa.ChunkedArray
    notes: tuple[str, ...]
    lists: Mapping[str, Counter[int]]


def scan_songs(source: Source) -> CheckedSongs:
    """Checks songs.parquet and returns what it holds.

    Raises:
        ContractError: The songs break the contract. Columns are checked first, then rows, then fields.
    """
    source.check_ids(SONG_ID)
    tallies = [Tally(field) for field in song_fields(source)]
    ids = []
    for rows in source.batches([SONG_ID, *(tally.field.name for tally in tallies)]):
        ids.append(clean_id(rows.column(SONG_ID), rows.place(SONG_ID)))
        for tally in tallies:
            tally.add(rows)
    all_ids = pa.chunked_array(ids, pa.string())
    if not len(all_ids):
        raise broken(source.shown, "at least one song", "no rows")
    _check_unique(all_ids, source)
    return _summary(source, tallies, all_ids)


def song_fields(source: Source) -> tuple[SongField, ...]:
    """Returns the fields of all files, in the order of their columns.

    Raises:
        ContractError: A column cannot be a field, or is one kind of field here and another there.
    """
    found: dict[str, tuple[SongField, str]] = {}
    for header in source.filled:
        for field in fields_of(header.schema, file=header.file, own=source.own):
            kind = f"{field.kind} ({header.schema.field(field.name).type})"
            first, expected = found.setdefault(field.name, (field, f"{kind} as in {header.file}"))
            if first.kind != field.kind:
                remedy = "Write the column as one kind in every file."
                raise broken(header.file, expected, kind, column=source.own(field.name), remedy=remedy)
    return tuple(found[name][0] for name in source.names if name in found)


def display_names(source: Source) -> tuple[str, ...]:
    """Returns the columns that are carried for display."""
    return tuple(name for name in source.names if name != SONG_ID and not is_feature(name))


def _summary(source: Source, tallies: list[Tally], ids: pa.ChunkedArray) -> CheckedSongs:
    used = [tally for tally in tallies if tally.present]
    features = [name for name in source.names if is_feature(name)]
    unused = find_unused(source)
    with_values = {tally.field.name for tally in used}
    empty = [source.own(name) for name in features if name not in with_values]
    if len(used) < MIN_FIELDS:
        names = [source.own(tally.field.name) for tally in used]
        received = f"{len(used)} ({', '.join(names) or 'none'})" + (
            f"; without any value: {', '.join(empty)}" if empty else ""
        )
        raise broken(
            source.shown,
            f"at least {MIN_FIELDS} fields (attribute_*, audio_*, lyric_*) with values",
            received,
            remedy=renames(unused),
        )
    notes = [f"{name} is left out: it has no value in any row." for name in empty]
    notes += [note for t in used if (note := t.text.note(source.own(t.field.name)))]
    notes += [note for t in used if (note := t.lists.note(source.own(t.field.name)))]
    return CheckedSongs(
        fields=tuple(SongField(t.field.name, t.field.kind, t.length or 1) for t in used),
        missing=tuple(1 - t.present / len(ids) for t in used),
        display=display_names(source),
        ids=ids,
        notes=(*source.notes, *notes, *holed_notes(used, source), *unused_notes(unused)),
        lists={source.own(t.field.name): t.lengths for t in used if t.lengths},
    )


def long_list_notes(lists: Mapping[str, Counter[int]], most: int) -> tuple[str, ...]:
    """Returns a note for each field with lists that are too long to count in full.

    Args:
        lists: Number of songs by length of their list, by field.
        most: How many values of a list count.
    """
    notes = []
    for name, lengths in lists.items():
        if cut := sum(songs for length, songs in lengths.items() if length > most):
            notes.append(
                f"{name}: {cut:,} songs have more than {most} values, at most {max(lengths):,}. The model uses the "
                f"first {most} known values of a list (setting transform.max_values). Write the most important ones "
                "first."
            )
    return tuple(notes)


def holed_notes(tallies: Sequence[Tally], source: Source) -> tuple[str, ...]:
    """Returns a sentence for each field in which vectors had a null element."""
    holed = [(source.own(tally.field.name), tally.holed) for tally in tallies if tally.holed]
    return tuple(f"{name}: {number} vectors with a null element count as missing." for name, number in holed)


class Tally:
    """Counts of one field over the batches.

    Attributes:
        field: The field.
        present: Rows with a value.
        holed: Vectors with a null element, which count as missing.
        length: Of the vectors; 0 where there is none, or the field is of another kind.
        lengths: Number of songs by length of their list of categories.
    """

    def __init__(self, field: SongField):
        self.field = field
        self.present = self.holed = self.length = 0
        self.text, self.lists = FreeText(), WrittenLists()
        self.lengths: Counter[int] = Counter()

    def add(self, rows: Rows) -> pa.Array:
        """Counts the rows of a batch and returns the column, cleaned.

        Raises:
            ContractError: A value breaks the contract, or a vector is of another length than those before it.
        """
        array, place = rows.column(self.field.name), rows.place(self.field.name)
        cleaned = clean(self.field.kind, array, place)
        present = np.asarray(cleaned.is_valid())
        self.present += int(present.sum())
        if pa.types.is_string(cleaned.type):
            self.text.add(cleaned)
            self.lists.add(cleaned)
        if pa.types.is_null(cleaned.type) or not self.field.is_list:
            return cleaned
        if not self.field.is_sized:
            lengths, songs = np.unique(list_lengths(cleaned.drop_null()), return_counts=True)
            self.lengths.update(dict(zip(lengths.tolist(), songs.tolist(), strict=True)))
        elif present.size:
            self.holed += int(((list_lengths(array) > 0) & ~present).sum())
            self._check_length(cleaned, place)
        return cleaned

    def _check_length(self, cleaned: pa.Array, place: Place) -> None:
        lengths = list_lengths(cleaned)
        self.length = self.length or int(lengths[np.flatnonzero(lengths)[:1]].sum())  # That of the first vector.
        wrong = (lengths > 0) & (lengths != self.length)
        if wrong.any():
            index = int(wrong.argmax())
            raise place.broken(
                f"vectors of one length, {self.length} as in the first", f"length {lengths[index]}", index
            )


def _check_unique(ids: pa.ChunkedArray, source: Source) -> None:
    if len(pc.unique(ids)) == len(ids):
        return
    seen: dict[str, int] = {}
    for place, song_id in enumerate(ids.to_pylist()):
        if song_id in seen:
            (file, row), (first_file, first_row) = source.locate(place), source.locate(seen[song_id])
            where = f" of {first_file}" if first_file != file else ""
            received = f"{quoted(song_id)}, which row {first_row}{where} has already"
            raise broken(file, "each song once", received, column=source.own(SONG_ID), row=row)
        seen[song_id] = place


def clean_songs(source: Source, songs: CheckedSongs) -> Iterator[pa.RecordBatch]:
    """Yields the batches the pipeline reads: song_id, the fields, the display columns as strings."""
    schema = songs_schema(songs.fields, songs.display)
    for rows in source.batches(schema.names):
        columns = [clean_id(rows.column(SONG_ID), rows.place(SONG_ID))]
        columns += [clean(field.kind, rows.column(field.name), rows.place(field.name)) for field in songs.fields]
        columns += [display_text(rows.column(name)) for name in songs.display]
        yield typed(columns, schema)


def typed(columns: Sequence[pa.Array], schema: pa.Schema) -> pa.RecordBatch:
    """Returns cleaned columns as a batch of the schema."""
    arrays = [column.cast(field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
