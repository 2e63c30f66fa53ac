"""Songs to add to the index of a served model: a Parquet file, checked against the contract and the model's fields."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from serving.raw_fields import RawField, encode_song, integer_id
from tfx_pipeline.contract.columns import Place, clean, clean_id
from tfx_pipeline.contract.errors import broken
from tfx_pipeline.contract.fields import is_feature, is_text, kind_of, plain_type
from tfx_pipeline.contract.source import Source

_SONG_ID = "song_id"


class NewSongs:
    """Songs of a file, as the contract has them, with the fields of a model that is trained already.

    Args:
        path: A Parquet file. (What a CSV cell means depends on the whole file it stands in; convert the file first.)
        fields: The model's fields. Each must be a column of its kind; a null is missing, as ever.
        integer_ids: Whether the index has integers, so that ids must be such, as integers or as text.

    Attributes:
        passed_over: Feature columns that the model does not take, since it was trained without them.

    Raises:
        ContractError: If columns are absent or of another kind.
    """

    def __init__(self, path: Path, fields: Sequence[RawField], *, integer_ids: bool = False) -> None:
        self._source = Source(path, path)
        self._fields = fields
        self._integer_ids = integer_ids
        schema = self._source.schema()
        self._check_ids(schema, integer_ids)
        for field in fields:
            self._check_field(schema, field)
        taken = {field.name for field in fields}
        self.passed_over = tuple(name for name in schema.names if is_feature(name) and name not in taken)

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """Yields id and serialized tf.Example of each song.

        Raises:
            ContractError: If a value breaks the contract, an id occurs twice, or there is no song.
        """
        rows: dict[str, int] = {}
        for first_row, batch in self._source.batches([_SONG_ID, *(field.name for field in self._fields)]):
            ids = self._ids(batch.column(_SONG_ID), first_row)
            columns = {field.name: self._column(batch, field, first_row) for field in self._fields}
            for index, song_id in enumerate(ids):
                self._note(rows, song_id, first_row + index)
                song = {name: column[index] for name, column in columns.items()}
                yield song_id, encode_song({**song, _SONG_ID: song_id}, self._fields)
        if not rows:
            raise broken(self._source.shown, "at least one song", "no rows")

    def ids(self) -> Iterator[str]:
        """Yields the ids alone."""
        for first_row, batch in self._source.batches([_SONG_ID]):
            yield from self._ids(batch.column(_SONG_ID), first_row)

    def _check_ids(self, schema: pa.Schema, integer_ids: bool) -> None:
        if _SONG_ID not in schema.names:
            raise broken(
                self._source.shown, f"a column `{_SONG_ID}`", f"the columns {', '.join(schema.names) or '(none)'}"
            )
        arrow_type = schema.field(_SONG_ID).type
        if not is_text(arrow_type) and not (integer_ids and pa.types.is_integer(plain_type(arrow_type))):
            expected = "strings or integers" if integer_ids else "strings, as the index has"
            raise broken(self._source.shown, expected, arrow_type, column=_SONG_ID)

    def _check_field(self, schema: pa.Schema, field: RawField) -> None:
        shown = self._source.shown
        expected = f"a column of kind {field.kind}, which the model was trained on"
        if field.name not in schema.names:
            remedy = "Where no song has a value, write a column of nulls."
            raise broken(shown, expected, "no such column", column=field.name, remedy=remedy)
        kind = kind_of(schema.field(field.name).type, field.name, shown)
        if kind not in (field.kind, None):  # None: every value is null
            raise broken(shown, expected, f"{kind} ({schema.field(field.name).type})", column=field.name)

    def _ids(self, column: pa.Array, first_row: int) -> list[str]:
        if pa.types.is_integer(plain_type(column.type)):
            column = pc.cast(column, pa.string())
        return clean_id(column, Place(self._source.shown, _SONG_ID, first_row)).to_pylist()

    def _column(self, batch: pa.RecordBatch, field: RawField, first_row: int) -> list[object]:
        place = Place(self._source.shown, field.name, first_row)
        cleaned = clean(field.kind, batch.column(field.name), place)  # type: ignore[arg-type]
        if field.kind == "vector" and not pa.types.is_null(cleaned.type):
            lengths = np.asarray(pc.fill_null(pc.list_value_length(cleaned), field.length))
            if (wrong := lengths != field.length).any():
                index = int(wrong.argmax())
                expected = f"vectors of length {field.length}, as the model was trained on"
                raise place.broken(expected, f"length {lengths[index]}", index)
        return cleaned.to_pylist()

    def _note(self, rows: dict[str, int], song_id: str, row: int) -> None:
        if song_id in rows:
            received = f"{song_id!r}, which row {rows[song_id]} has already"
            raise broken(self._source.shown, "each song once", received, column=_SONG_ID, row=row)
        if self._integer_ids:
            try:
                integer_id(song_id)
            except ValueError as error:
                expected = "an integer of 0 or more without leading zeros, as the index has"
                raise broken(self._source.shown, expected, repr(song_id), column=_SONG_ID, row=row) from error
        rows[song_id] = row
