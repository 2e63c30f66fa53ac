"""CSV files without the rows of some listeners; the other rows stay as they were written."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from tfx_pipeline.removal.wanted import Wanted


def without_rows(path: Path, wanted: Wanted) -> tuple[bytes, str] | None:
    """Returns a CSV file without the rows of the listeners, and how many rows that removes, in words.

    Returns None where it has none of them, or is no CSV file with a column of listeners.
    """
    with path.open("rb") as stream:
        header = stream.readline(1 << 16).decode("utf-8-sig", "replace")
    names = {mark: [cell.strip().strip('"') for cell in header.split(mark)] for mark in ",;\t"}
    columns = wanted.columns(path)
    found = next(((mark, name) for mark, cells in names.items() for name in columns if name in cells), None)
    if found is None:
        return None
    mark, name = found
    place, lines, gone = names[mark].index(name), _Lines(path.read_bytes().decode()), 0
    kept: list[str] = []
    for row in csv.reader(lines, delimiter=mark):
        cell = row[place] if place < len(row) else ""
        if wanted.ids.isdisjoint({cell, cell.strip()}) or not kept:
            kept.append(lines.taken())
        else:
            gone += 1
            lines.taken()
    return ("".join(kept).encode(), f"{gone:,} rows") if gone else None


class _Lines:
    """Yields the lines of a text, and remembers those of the current row."""

    def __init__(self, text: str) -> None:
        self._lines = io.StringIO(text, newline="")
        self._row: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self._row.append(next(self._lines))
        return self._row[-1]

    def taken(self) -> str:
        """Returns the lines yielded since the last call."""
        row, self._row = "".join(self._row), []
        return row
