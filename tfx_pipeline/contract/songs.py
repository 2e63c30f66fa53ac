"""songs.parquet: checked in one pass, read again as clean batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.contract.columns import Place, clean, clean_id, display_text
from tfx_pipeline.contract.errors import broken
from tfx_pipeline.contract.fields import SongField, fields_of, is_feature, is_text
from tfx_pipeline.contract.free_text import FreeText
from tfx_pipeline.contract.source import Source
from tfx_pipeline.contract.text import quoted

MIN_FIELDS = 2


@dataclass(frozen=True)
class Songs:
    """What one pass over songs.parquet found.

    Attributes:
        fields: the usable fields, in the file's order.
        missing: share of songs without a value, per field.
        display: columns carried for display.
        ids: every song_id, in the file's order.
        notes: what was passed over, in words.
    """

    fields: tuple[SongField, ...]
    missing: tuple[float, ...]
    display: tuple[str, ...]
    ids: pa.ChunkedArray
    notes: tuple[str, ...]


def scan_songs(source: Source) -> Songs:
    """Check songs.parquet and return what it holds.

    Raises:
        ContractError: whatever breaks the contract first, in the order columns, rows, fields.
    """
    schema = source.schema()
    if "song_id" not in schema.names:
        raise broken(source.shown, "a column `song_id`", f"the columns {', '.join(schema.names) or '(none)'}")
    if not is_text(schema.field("song_id").type):
        received = schema.field("song_id").type
        raise broken(source.shown, "strings", received, column="song_id", remedy="Write the ids as strings.")
    fields = fields_of(schema, file=source.shown)
    tallies = {field.name: _Tally(field) for field in fields}
    ids = []
    for first_row, batch in source.batches(["song_id", *tallies]):
        ids.append(clean_id(batch.column("song_id"), Place(source.shown, "song_id", first_row)))
        for tally in tallies.values():
            tally.add(batch.column(tally.field.name), Place(source.shown, tally.field.name, first_row))
    all_ids = pa.chunked_array(ids, pa.string())
    if not len(all_ids):
        raise broken(source.shown, "at least one song", "no rows")
    _check_unique(all_ids, source)
    return _summary(source, schema, list(tallies.values()), all_ids)


def _summary(source: Source, schema: pa.Schema, tallies: list[_Tally], ids: pa.ChunkedArray) -> Songs:
    used = [tally for tally in tallies if tally.present]
    features = [name for name in schema.names if is_feature(name)]
    empty = [name for name in features if name not in {tally.field.name for tally in used}]
    if len(used) < MIN_FIELDS:
        names = [tally.field.name for tally in used]
        received = f"{len(used)} ({', '.join(names) or 'none'})" + (
            f"; without any value: {', '.join(empty)}" if empty else ""
        )
        raise broken(
            source.shown, f"at least {MIN_FIELDS} fields (attribute_*, audio_*, lyric_*) with values", received
        )
    notes = [f"{name} is left out: it has no value in any row." for name in empty]
    notes += [f"{t.field.name}: {t.holed} vectors with a null element count as missing." for t in used if t.holed]
    notes += [note for t in used if (note := t.text.note(t.field.name))]
    return Songs(
        fields=tuple(SongField(t.field.name, t.field.kind, t.length or 1) for t in used),
        missing=tuple(1 - t.present / len(ids) for t in used),
        display=tuple(name for name in schema.names if name != "song_id" and not is_feature(name)),
        ids=ids,
        notes=tuple(notes),
    )


class _Tally:
    """Counts of one field over the batches."""

    def __init__(self, field: SongField):
        self.field = field
        self.present = self.holed = self.length = 0
        self.text = FreeText()

    def add(self, array: pa.Array, place: Place) -> None:
        cleaned = clean(self.field.kind, array, place)
        present = np.asarray(cleaned.is_valid())
        self.present += int(present.sum())
        if pa.types.is_string(cleaned.type):
            self.text.add(cleaned)
        if self.field.kind == "vector":
            given = np.asarray(pc.fill_null(pc.greater(pc.list_value_length(array), 0), False))
            self.holed += int((given & ~present).sum())
            self._check_length(cleaned, place)

    def _check_length(self, cleaned: pa.Array, place: Place) -> None:
        lengths = np.asarray(pc.fill_null(pc.list_value_length(cleaned), 0))
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
    for row, song_id in enumerate(ids.to_pylist()):
        if song_id in seen:
            raise broken(
                source.shown,
                "each song once",
                f"{quoted(song_id)}, which row {seen[song_id]} has already",
                column="song_id",
                row=row,
            )
        seen[song_id] = row


def clean_songs(source: Source, songs: Songs) -> Iterator[pa.RecordBatch]:
    """Yield the batches the pipeline reads: song_id, the fields, the display columns as strings."""
    schema = songs_schema(songs)
    for first_row, batch in source.batches(["song_id", *(field.name for field in songs.fields), *songs.display]):
        columns = [clean_id(batch.column("song_id"), Place(source.shown, "song_id", first_row))]
        for field in songs.fields:
            columns.append(clean(field.kind, batch.column(field.name), Place(source.shown, field.name, first_row)))
        columns += [display_text(batch.column(name)) for name in songs.display]
        typed = [column.cast(field.type) for column, field in zip(columns, schema, strict=True)]
        yield pa.RecordBatch.from_arrays(typed, schema=schema)


def songs_schema(songs: Songs) -> pa.Schema:
    """Return the schema of the prepared songs.parquet."""
    types = {
        "category": pa.string(),
        "multi_category": pa.list_(pa.string()),
        "number": pa.float32(),
        "vector": pa.list_(pa.float32()),
    }
    columns = [("song_id", pa.string()), *((field.name, types[field.kind]) for field in songs.fields)]
    return pa.schema([*columns, *((name, pa.string()) for name in songs.display)])
