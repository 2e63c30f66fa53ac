"""Finds columns of songs that no model sees, and the names under which it would."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.contract.arrow_types import is_text
from tfx_pipeline.contract.column_notes.free_text import FreeText
from tfx_pipeline.contract.column_notes.written_lists import WrittenLists
from tfx_pipeline.contract.csv.kinds import NUMBER
from tfx_pipeline.contract.fields import GROUPS, is_feature, speaks_of_plays, words_of
from tfx_pipeline.contract.ids import SONG_ID
from tfx_pipeline.contract.kinds import ARROW_KINDS, FieldKind, find_kind, possible_kind
from tfx_pipeline.contract.source import Source
from tfx_pipeline.contract.text import on_one_line

_WORD = find_kind(is_categorical=True, is_list=False)
_NUMBER = find_kind(is_categorical=False, is_list=False)
_MOST_NAMED = 12
#: Values that differ from song to song, as titles do, say nothing about other songs.
_MOST_DIFFERENT = 0.9
_NAMES_A_SONG = frozenset(["song", "track", "title", "name", "display"])
#: Words for numbers that identify a song and do not describe it.
_NUMBERED = frozenset(["id", "ids", "index", "row", "unnamed", "track", "isrc"])
_ARTIST = frozenset(["artist", "artists", "performer", "performers", "band", "singer"])
#: Words for numbers that do not describe sound.
_NOT_AUDIO = frozenset(["year", "decade", "date", "release", "released", "age", "price"])


@dataclass
class Unused:
    """What batches of a column that is carried for display have shown.

    Attributes:
        name: The column.
        kinds: The kinds of field that its types can hold, with None for a type that can hold none.
        is_csv: Whether it comes from CSV, where a field of numbers would be read as numbers.
    """

    name: str
    kinds: frozenset[FieldKind | None]
    is_csv: bool
    is_present: bool = False
    is_numbers: bool = True
    text: FreeText = field(default_factory=FreeText)
    lists: WrittenLists = field(default_factory=WrittenLists)

    def add(self, array: pa.Array) -> None:
        """Takes a batch into account."""
        if is_text(array.type):
            array = _decoded(array)
        if array.null_count == len(array):
            return
        self.is_present = True
        if _WORD in self.kinds and pa.types.is_string(array.type):
            self.text.add(array)
            self.lists.add(array)
            self.is_numbers &= pc.all(pc.match_substring_regex(array.drop_null(), f"^{NUMBER}$")).as_py()

    @property
    def kind(self) -> FieldKind | None:
        """The kind of field that the column could be; None where it should be none."""
        kind: FieldKind | None = _WORD if self.kinds <= {_WORD, _NUMBER} else None
        if len(self.kinds) == 1:
            (kind,) = self.kinds
        if kind == _WORD and self.is_csv and self.is_numbers:
            kind = _NUMBER
        words = set(words_of(self.name))
        names_a_song = words and words <= _NAMES_A_SONG
        if not self.is_present or names_a_song or speaks_of_plays(words) or (kind == _NUMBER and _NUMBERED & words):
            return None
        tells_apart = kind == _WORD and self.text.different >= _MOST_DIFFERENT
        return None if tells_apart and not self.lists.mark else kind

    def suggested(self, place: int) -> str:
        """Returns a name that makes the column a field, numbered by `place` where its own name has no usable letter."""
        name = re.sub(r"[^A-Za-z0-9_]+", "_", self.name).strip("_") or f"column_{place}"
        first, _, rest = name.partition("_")
        if first.lower() in GROUPS and rest:
            return f"{first.lower()}_{rest}"
        if {"lyric", "lyrics"} & set(words_of(self.name)):
            return f"lyric_{name}"
        is_numeric = self.kind is not None and not ARROW_KINDS[self.kind].is_categorical
        is_sound = is_numeric and not _NOT_AUDIO & set(words_of(self.name))
        return f"{'audio' if is_sound else 'attribute'}_{name}"


def find_unused(source: Source) -> dict[str, Unused]:
    """Returns the columns that could be fields but are carried for display, by the name that would make them fields.

    Memory is bounded. A column that tells songs apart, as a title, an id or an address does, and one that speaks of
    plays is not among them.
    """
    is_csv = any(part.path != part.shown for part in source.given.parts)
    types: dict[str, set[FieldKind | None]] = {}
    for header in source.given.filled:
        for column in header.schema:
            is_mapped = column.name in source.columns.mapped.values()  # Its user knows what it is for.
            if column.name == SONG_ID or is_feature(column.name) or is_mapped or pa.types.is_null(column.type):
                continue
            types.setdefault(column.name, set()).add(possible_kind(column.type))
    columns = [Unused(name, frozenset(kinds), is_csv) for name, kinds in types.items()]
    for rows in source.batches([column.name for column in columns]) if columns else ():
        for unused in columns:
            unused.add(rows.column(unused.name))
    found = {unused.suggested(place): unused for place, unused in enumerate(columns, 1) if unused.kind}
    return {name: unused for name, unused in found.items() if name not in source.names}


def unused_notes(unused: dict[str, Unused]) -> tuple[str, ...]:
    """Returns sentences that name the unused columns, how to use them, and the most useful among them."""
    if not unused:
        return ()
    names = _joined([column.name for column in unused.values()])
    notes = [f"Not used: {names}, carried for display only. {renames(unused)}"]
    for name, column in unused.items():
        if _ARTIST & set(words_of(column.name)):
            shown = on_one_line(column.name)
            notes.append(f"{shown}: songs of one artist often share listeners. It is worth renaming it to {name}.")
        is_read = column.is_csv and column.lists.mark in ("[", "|")  # as a list, once it is a field
        if not is_read and (note := column.lists.note(name)):
            notes.append(note)
    return tuple(notes)


def renames(unused: dict[str, Unused]) -> str:
    """Returns the sentence that says how to make fields of the columns; empty where there are none."""
    if not unused:
        return ""
    them = "it" if len(unused) == 1 else "them"
    pairs = _joined([f"{on_one_line(column.name)} to {name}" for name, column in unused.items()])
    return f"To learn from {them}, rename (or map by the setting `columns`): {pairs}."


def _joined(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(map(on_one_line, names[:_MOST_NAMED])) + more


def _decoded(array: pa.Array) -> pa.Array:
    """Returns strings, with replacement characters for bytes that are not UTF-8. Empty strings become null."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        values = array.cast(pa.large_binary()).to_pylist()
        array = pa.array([value.decode("utf-8", "replace") if value is not None else None for value in values])
    text = array.cast(pa.string())
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
