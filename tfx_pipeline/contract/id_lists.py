"""Lists of ids, such as songs to take down: one reader for the files that people and tools write.

A list is one of
- text with an id on each line,
- CSV (comma, semicolon or tab) whose header names the column, or of one column with or without a header,
- Parquet with one column, or with the named one: strings of any type, bytes or integers.

Text is UTF-8, or UTF-16 with or without a byte order mark; lines end as on any system; blank lines are passed over.
The known ids decide what a line means. It is read as it is, then without its quotes, then without the blanks around it;
the first reading that is a known id counts. So a list can name an id that begins with a blank, and blanks that an
editor left do no harm.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tfx_pipeline.contract.column_names import PLAIN, Names
from tfx_pipeline.contract.errors import broken
from tfx_pipeline.contract.ids import SONG_ID

_SHOWN = 10
_DELIMITERS = ",;\t"
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_LINE_END = re.compile("\r\n|\n|\r")  # not str.splitlines, which also ends a line at characters that ids may hold


@dataclass(frozen=True)
class IdList:
    """A list as it was read. `meant` returns the ids that it means.

    Attributes:
        file: The file.
        entries: What each entry may mean, the likeliest first.
    """

    file: Path
    entries: tuple[tuple[str, ...], ...]

    def meant(self, known: Collection[str], of_what: str, *, ignore_missing: bool = False) -> frozenset[str]:
        """Returns the ids of the list.

        Args:
            known: The ids there are; a set, or anything else that is quick to look in.
            of_what: What they are ids of, for the message: "the index".
            ignore_missing: Whether ids may be among them that are unknown. They are read without the blanks around
                them, and are still ids of the list: a song may be taken down before the catalogue has it.

        Raises:
            ContractError: If the list is empty, or an id is unknown.
        """
        found, missing = set(), {}
        for forms in self.entries:
            known_form = next((form for form in forms if form in known), None)
            if known_form is not None:
                found.add(known_form)
            elif forms[-1]:  # else blanks alone, which are an id only where they are known
                missing[forms[-1]] = True
        if not found and not missing:
            remedy = "Leave the list out where there is nothing to name."
            raise broken(self.file, "at least one id", "none", remedy=remedy)
        if missing and not ignore_missing:
            shown = ", ".join(map(_shown, list(missing)[:_SHOWN]))
            more = f" and {len(missing) - _SHOWN:,} more" if len(missing) > _SHOWN else ""
            raise broken(
                self.file,
                f"ids of {of_what}",
                f"{len(missing):,} of {len(found) + len(missing):,} that are unknown: {shown}{more}",
                remedy="Correct them, or say that they may be missing with --ignore-missing.",
            )
        return frozenset(found | missing.keys())


def read_ids(file: Path | str, column: str = SONG_ID, names: Names = PLAIN) -> IdList:
    """Returns the ids of a file.

    Args:
        file: Text, CSV or Parquet, told by its content.
        column: The column that holds the ids, where there are several or a header names it.
        names: How the file may call its columns, beside the contract's names.

    Raises:
        ContractError: If the file cannot be read as one of these.
    """
    path = Path(file)
    rows = read_rows(path, (column,), names)
    entries = tuple(forms for (forms,) in rows if forms is not None)
    return IdList(path, entries)


#: What one cell may mean, the likeliest first; None where it is missing.
Cell = tuple[str, ...] | None


def read_rows(path: Path, columns: tuple[str, ...], names: Names = PLAIN) -> list[tuple[Cell, ...]]:
    """Returns the cells of the named columns, row by row.

    Args:
        path: Text, CSV or Parquet.
        columns: Their names. The first must be there, or be the only column; a missing other one has no cell in any
            row.
        names: How the file may call them, beside these names.

    Raises:
        ContractError: If the file cannot be read, or lacks the first column.
    """
    try:
        with path.open("rb") as stream:
            is_parquet = stream.read(4) == b"PAR1"
        if is_parquet:
            return list(zip(*(_cells_of(path, name) for name in _columns_of(path, columns, names)), strict=True))
        data = path.read_bytes()
    except (OSError, pa.ArrowException) as error:
        received = getattr(error, "strerror", None) or str(error).splitlines()[0].rstrip(".")
        raise broken(path, "a text, CSV or Parquet file with an id in each row", received) from error
    return list(_text_rows(_decoded(data, path), columns, path, names))


def _columns_of(path: Path, columns: tuple[str, ...], names: Names) -> list[str | None]:
    there = pq.read_schema(path).names
    called = [next((n for n in (names.own(name), name) if n in there), None) for name in columns]
    if called[0] is not None:
        return called
    if len(there) == 1:
        return [there[0], *(None for _ in columns[1:])]
    expected = f"a column `{names.own(columns[0])}`, or one column alone"
    raise broken(path, expected, f"the columns {', '.join(there) or '(none)'}")


def _cells_of(path: Path, name: str | None) -> list[Cell]:
    if name is None:
        return [None] * int(pq.read_metadata(path).num_rows)
    values = pq.ParquetFile(path).read(columns=[name])[name].to_pylist()
    for row, value in enumerate(values):
        if isinstance(value, bytes):
            try:
                values[row] = value.decode()
            except UnicodeDecodeError as error:
                raise broken(path, "text in UTF-8", repr(value), column=name, row=row) from error
        elif isinstance(value, bool) or not isinstance(value, str | int | None):
            raise broken(path, "strings or integers", repr(value), column=name, row=row)
        if value is None or value in ("", b""):
            values[row] = None
    return [None if value is None else tuple(dict.fromkeys((str(value), str(value).strip()))) for value in values]


def _forms(text: str) -> tuple[str, ...]:
    """Returns what a cell may mean. The last form is "" where it need not be an id: blanks, or a header."""
    quoted = [text.strip()[1:-1].replace('""', '"')] if _is_quoted(text) else []
    return tuple(dict.fromkeys((text, *quoted, text.strip(), _bare(text))))


def _decoded(data: bytes, path: Path) -> str:
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in data:  # UTF-16 without a mark: every other byte of a plain letter is 0
        encoding = "utf-16-le" if data[1::2].count(0) >= data[::2].count(0) else "utf-16-be"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        row = len(_LINE_END.findall(data[: error.start].decode("latin-1")))
        expected = f"text in {encoding.removesuffix('-sig').upper()}"
        received = f"the byte 0x{data[error.start]:02x}, which is not"
        raise broken(path, expected, received, row=row, remedy="Save the file as UTF-8.") from error
    if "\0" in text:
        raise broken(path, "a text, CSV or Parquet file with an id in each row", "a file of another kind")
    return text.removeprefix("\ufeff")


def _text_rows(text: str, columns: tuple[str, ...], path: Path, names: Names) -> Iterator[tuple[Cell, ...]]:
    lines = list(_lines(text))
    first = [names.own(columns[0]), columns[0]]
    for delimiter in _DELIMITERS:
        header = [_bare(cell) for cell in lines[0].split(delimiter)] if lines else []
        if len(header) > 1 and not set(first).isdisjoint(header):
            called = [next((n for n in (names.own(name), name) if n in header), None) for name in columns]
            yield from _csv_rows(text, delimiter, [None if n is None else header.index(n) for n in called], path)
            return
    for row, line in enumerate(lines):
        is_header = row == 0 and _bare(line) in (*first, "id")
        yield ((*_forms(line), "") if is_header else _forms(line), *(None for _ in columns[1:]))


def _lines(text: str) -> Iterator[str]:
    """Yields the lines that are not empty; one that begins with a quote goes on to the line that closes it."""
    open_line = ""
    for line in _LINE_END.split(text):
        whole = f"{open_line}\n{line}" if open_line else line
        if whole.lstrip().startswith('"') and whole.count('"') % 2:
            open_line = whole
            continue
        open_line = ""
        if whole:
            yield whole
    if open_line:
        yield from filter(None, open_line.split("\n"))


def _is_quoted(line: str) -> bool:
    bare = line.strip()
    return len(bare) > 1 and bare[0] == bare[-1] == '"'


def _bare(line: str) -> str:
    """Returns a cell without blanks and quotes around it."""
    bare = line.strip()
    return bare[1:-1].replace('""', '"').strip() if _is_quoted(line) else bare


def _csv_rows(text: str, delimiter: str, places: list[int | None], path: Path) -> Iterator[tuple[Cell, ...]]:
    try:
        header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    except csv.Error as error:
        raise broken(path, "a CSV file", str(error)) from error
    for number, row in enumerate(rows):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            remedy = "A value that holds the separator needs quotes."
            raise broken(path, f"{len(header)} columns", len(row), row=number, remedy=remedy)
        yield tuple(None if place is None or not row[place] else _forms(row[place]) for place in places)


def _shown(song_id: str) -> str:
    return repr(song_id) if len(song_id) <= 100 else f"{song_id[:100]!r}..."
