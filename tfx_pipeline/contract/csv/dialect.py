"""Finds how a CSV file is written: its encoding, the character between cells, the names in its header."""

from __future__ import annotations

import codecs
import csv
from dataclasses import dataclass

from tfx_pipeline.contract.column_names import PLAIN, Names
from tfx_pipeline.contract.errors import broken
from tfx_pipeline.contract.ids import SONG_ID, USER_ID
from tfx_pipeline.contract.stores.location import Location

#: Name of each character that may stand between cells, for messages.
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
_IDS = (SONG_ID, USER_ID)
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # Before UTF-16, whose mark it begins with.
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class Dialect:
    """What must be known to read the rows.

    Attributes:
        encoding: Its name in Python.
        separator: The character between cells.
        names: The columns' names in the file's order; the empty string where the header has none.
        header_lines: Lines up to the end of the header.
    """

    encoding: str
    separator: str
    names: tuple[str, ...]
    header_lines: int

    @property
    def named(self) -> tuple[str, ...]:
        """The columns that have a name."""
        return tuple(name for name in self.names if name)

    def notes(self, file: str) -> tuple[str, ...]:
        """Returns what is unusual about the file, in words."""
        notes = [] if self.separator == "," else [f"{file} is read with a {SEPARATORS[self.separator]} between cells."]
        notes += [] if self.encoding.startswith("utf-8") else [f"{file} is read as {self.encoding.upper()}."]
        nameless = [str(number) for number, name in enumerate(self.names, 1) if not name]
        notes += (
            [f"{file}: column {', '.join(nameless)} has no name in the header and is not read."] if nameless else []
        )
        return tuple(notes)


def read_dialect(path: Location, columns: Names = PLAIN) -> Dialect:
    """Returns how the file is written.

    The separator is the first of comma, semicolon and tab that gives the header a column `song_id` or `user_id`. If
    none does, it is the one that gives most columns.

    Args:
        path: The file.
        columns: How it calls its columns.

    Raises:
        ContractError: The file is empty or no text in UTF-8, UTF-16 or UTF-32, or two of its columns have one name.
    """
    encoding = _encoding(path)
    found = []
    for separator in SEPARATORS:
        names, lines = _header(path, encoding, separator)
        found.append(Dialect(encoding, separator, names, lines))
    ids = set(columns.owns(_IDS))
    best = next((d for d in found if ids & set(d.names)), max(found, key=lambda d: len(d.names)))
    for name in best.named:
        if best.names.count(name) > 1:
            raise broken(path, "one column of each name", f"{best.names.count(name)} of them", column=name)
    return best


def _encoding(path: Location) -> str:
    with path.open("rb") as file:
        start = file.read(4096)
    for mark, encoding in _MARKS.items():
        if start.startswith(mark):
            return encoding
    if b"\0" in start:
        raise broken(path, "a CSV file in UTF-8", "NUL bytes, as UTF-16 has", remedy="Save the file as UTF-8.")
    return "utf-8"


def _header(path: Location, encoding: str, separator: str) -> tuple[tuple[str, ...], int]:
    """Returns the names in the first line that is not blank, and the number of the line in which the header ends."""
    try:
        # Python decodes more than the header at once. `read_rows` reports what is wrong in a row.
        with path.open(encoding=encoding, errors="replace", newline="") as file:
            reader = csv.reader(file, delimiter=separator)
            # Excel may write `sep=;` before the header.
            names = next((cells for cells in reader if cells and not cells[0].lower().startswith("sep=")), None)
    except (UnicodeError, csv.Error) as error:
        raise broken(path, "a CSV file in UTF-8 with a header", error, remedy="Save the file as UTF-8.") from error
    if names is None:
        raise broken(path, "a CSV file in UTF-8 with a header", "an empty file")
    for name in names:
        if "\ufffd" in name:
            expected = "a CSV file in UTF-8 with a header"
            raise broken(path, expected, f"the name {name!r}", remedy="Save the file as UTF-8.")
    return tuple(name.strip() for name in names), reader.line_num
