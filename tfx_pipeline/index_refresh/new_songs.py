"""Songs to add to the index of a served model: Parquet checked against the contract and the model's fields."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from serving.savedmodel.raw_fields import RawField, encode_song, integer_id
from tfx_pipeline.contract.arrow_types import is_text, plain_type
from tfx_pipeline.contract.column_names import PLAIN, Names
from tfx_pipeline.contract.columns import Place, clean_id, display_text
from tfx_pipeline.contract.errors import broken
from tfx_pipeline.contract.fields import is_feature
from tfx_pipeline.contract.ids import SONG_ID
from tfx_pipeline.contract.kinds import FieldKind, clean, kind_of
from tfx_pipeline.contract.source import Rows, Source
from tfx_pipeline.contract.stores.location import Location
from tfx_pipeline.contract.text import quoted
from tfx_pipeline.outputs.titles import NAMING, Titles


class NewSongs:
    """Songs of a file, as the contract has them, with the fields of a model that is trained already.

    Args:
        path: A Parquet file or a folder of them. (What a CSV cell means depends on the whole file it stands in; convert
            the file first.)
        fields: The model's fields. Each must be a column of its kind; null means missing.
        integer_ids: Whether the index has integers, so that ids must be such, as integers or as text.
        names: How the file calls its columns.

    Attributes:
        passed_over: Feature columns that the model does not take, since it was trained without them.

    Raises:
        ContractError: If columns are absent or of another kind.
    """

    def __init__(
        self, path: Location, fields: Sequence[RawField], *, integer_ids: bool = False, names: Names = PLAIN
    ) -> None:
        self._source = Source.at(path, names)
        self._fields = fields
        self._integer_ids = integer_ids
        if integer_ids:
            self._source.check_ids(SONG_ID, _is_text_or_integer, "strings or integers")
        else:
            self._source.check_ids(SONG_ID, expected="strings, as the index has")
        for field in fields:
            self._check_field(field)
        taken = {field.name for field in fields}
        passed_over = (name for name in self._source.names if is_feature(name) and name not in taken)
        self.passed_over = tuple(map(self._source.own, passed_over))

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """Yields id and serialized tf.Example of each song.

        Raises:
            ContractError: If a value breaks the contract, an id occurs twice, or there is no song.
        """
        seen: dict[str, int] = {}
        for rows in self._source.batches([SONG_ID, *(field.name for field in self._fields)]):
            ids = self._ids(rows)
            columns = {field.name: self._column(rows, field) for field in self._fields}
            for index, song_id in enumerate(ids):
                self._note(seen, song_id, rows.place(SONG_ID), index)
                song = {name: column[index] for name, column in columns.items()}
                yield song_id, encode_song({**song, SONG_ID: song_id}, self._fields)
        if not seen:
            raise broken(self._source.shown, "at least one song", "no rows")

    def ids(self) -> Iterator[str]:
        """Yields the ids alone."""
        for rows in self._source.batches([SONG_ID]):
            yield from self._ids(rows)

    def titles(self) -> Titles:
        """Returns the titles of the songs, by the columns of the file that name them."""
        naming = [name for name in NAMING if name in self._source.names]
        ids: list[str] = []
        titles: list[str | None] = []
        for rows in self._source.batches([SONG_ID, *naming]):
            ids += self._ids(rows)
            shown = [display_text(rows.column(name)).to_pylist() for name in naming]
            titles += [next(filter(None, of_song), None) for of_song in zip(*shown, strict=True)]
        return Titles(pa.array(ids, pa.string()), pa.array(titles or [None] * len(ids), pa.string()))

    def _check_field(self, field: RawField) -> None:
        shown = self._source.shown
        expected = f"a column of kind {field.kind}, which the model was trained on"
        if field.name not in self._source.names:
            remedy = "Where no song has a value, write a column of nulls."
            raise broken(shown, expected, "no such column", column=self._source.own(field.name), remedy=remedy)
        for header in self._source.filled:
            if field.name not in header.schema.names:
                continue
            arrow_type = header.schema.field(field.name).type
            own = self._source.own(field.name)
            kind = kind_of(arrow_type, own, header.file)
            if kind not in (field.kind, None):  # None: every value is null
                raise broken(header.file, expected, f"{kind} ({arrow_type})", column=own)

    def _ids(self, rows: Rows) -> list[str]:
        column = rows.column(SONG_ID)
        if pa.types.is_integer(plain_type(column.type)):
            column = pc.cast(column, pa.string())
        return clean_id(column, rows.place(SONG_ID)).to_pylist()

    def _column(self, rows: Rows, field: RawField) -> list[object]:
        place = rows.place(field.name)
        cleaned = clean(cast("FieldKind", field.kind), rows.column(field.name), place)
        if field.is_sized and not pa.types.is_null(cleaned.type):
            lengths = np.asarray(pc.fill_null(pc.list_value_length(cleaned), field.length))
            if (wrong := lengths != field.length).any():
                index = int(wrong.argmax())
                expected = f"vectors of length {field.length}, as the model was trained on"
                raise place.broken(expected, f"length {lengths[index]}", index)
        return cleaned.to_pylist()

    def _note(self, seen: dict[str, int], song_id: str, place: Place, index: int) -> None:
        if song_id in seen:
            file, row = self._source.locate(seen[song_id])
            where = f" of {file}" if file != place.file else ""
            raise place.broken("each song once", f"{quoted(song_id)}, which row {row}{where} has already", index)
        if self._integer_ids:
            try:
                integer_id(song_id)
            except ValueError as error:
                expected = "an integer of 0 or more without leading zeros, as the index has"
                raise place.broken(expected, quoted(song_id), index) from error
        seen[song_id] = len(seen)  # Every song is noted, so this is its row over all files.


def _is_text_or_integer(arrow_type: pa.DataType) -> bool:
    plain = plain_type(arrow_type)
    return is_text(plain) or any(test(plain) for test in (pa.types.is_integer, pa.types.is_null))
