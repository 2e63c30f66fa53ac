"""Plays in folders by day, `date=2026-11-01`, of which a window of the latest days is read.

The day is in the names of folders, so the other days are not opened. A day is written as `date=2026-11-01` or
`dt=20261101`, with any name before the sign, also as a time (`2026-11-01%2010%3A00%3A00`), or as `year=2026`,
`month=11` and `day=1` below each other. Where every folder of the table is a day, the others are not even listed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date

from tfx_pipeline.contract.stores.location import Location, children
from tfx_pipeline.contract.tables import Part, is_hidden, keys_of, table_parts

_DAY = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?:[T ].*)?|(\d{4})(\d{2})(\d{2})")

#: The note where a window is asked for in vain.
NO_DAYS = "The window is not read: the folder holds no days."


def parts_in_window(path: Location, window: int) -> tuple[tuple[Part, ...], tuple[str, ...]]:
    """Returns the parts of the latest days of a table, and notes.

    Args:
        path: The table: a file, or a folder.
        window: How many of the latest days are read. Days without a folder do not count.

    Raises:
        ContractError: There is no such table, or the folder is no plain table.
        ValueError: `window` is less than 1.
    """
    if window < 1:
        raise ValueError(f"`window` must be at least 1. Received: {window}")
    folders = [child for child in children(path) if not is_hidden(child)] if path.is_dir() else []
    days = {folder.name: day_of(keys_of([folder.name])) for folder in folders}
    if folders and all(day is not None or is_missing(name) for name, day in days.items()):
        kept = _latest(days.values(), window)
        parts = table_parts(path, but=frozenset(name for name, day in days.items() if day not in kept))
    else:
        parts = table_parts(path)
        kept = _latest((day_of(part.keys) for part in parts), window)
    if not kept:
        return parts, (NO_DAYS,)
    first, last = min(kept), max(kept)
    note = f"Of plays, {len(kept):,} days are read, from {first} to {last}."
    return tuple(part for part in parts if day_of(part.keys) in kept), (note,)


def day_of(keys: Mapping[str, str | None]) -> date | None:
    """Returns the day that the names of folders state; None where they state none."""
    for value in keys.values():
        if value is not None and (found := _DAY.fullmatch(value)):
            return _date(*(int(number) for number in found.groups() if number is not None))
    lower = {name.lower(): value for name, value in keys.items()}
    parts = [lower.get(name) or "" for name in ("year", "month", "day")]
    return _date(*map(int, parts)) if all(part.isdecimal() for part in parts) else None


def is_missing(name: str) -> bool:
    """Returns whether a folder has the rows without a day."""
    return list(keys_of([name]).values()) == [None]


def _latest(days: Iterable[date | None], window: int) -> frozenset[date]:
    return frozenset(sorted({day for day in days if day is not None})[-window:])


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None
