"""Searches in files: whether a listener's id stands in one, whatever packs it."""

from __future__ import annotations

import gzip
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import IO

import pyarrow.parquet as pq

from tfx_pipeline.removal import contents
from tfx_pipeline.removal.csv_rows import without_rows
from tfx_pipeline.removal.wanted import Wanted

_CHUNK = 1 << 24


def holds(path: Path, wanted: Wanted) -> bool:
    """Returns whether one of the ids stands in a file.

    Raises:
        Exception: If the file cannot be read to its end; the type is that of the library that reads it.
    """
    return _SEARCHES[contents.kind_of(path)](path, wanted)


def in_name(path: Path, wanted: Wanted) -> bool:
    """Returns whether one of the ids is part of a path."""
    return any(wanted.hits(str(path).encode(), is_text=True))


def _stream_holds(stream: IO[bytes] | gzip.GzipFile, wanted: Wanted, *, is_text: bool = False) -> bool:
    before = b""
    while block := stream.read(_CHUNK):
        if any(wanted.hits(before + block, is_text=is_text)):
            return True
        before = (before + block)[-wanted.reach :]
    return False


def _raw(path: Path, wanted: Wanted) -> bool:
    with path.open("rb") as stream:
        return _stream_holds(stream, wanted)


def _text(path: Path, wanted: Wanted) -> bool:
    if without_rows(path, wanted) is not None:
        return True
    return any(wanted.hits(path.read_bytes(), is_text=True))


def _gzip(path: Path, wanted: Wanted) -> bool:
    with gzip.open(path) as stream:
        if _stream_holds(stream, wanted):
            return True
    if not contents.has_examples(path):
        return False
    ids = {one.encode() for one in wanted.ids}
    return any(not ids.isdisjoint(contents.users_of(part)) for part in contents.batches(contents.records_of(path)))


def _zip(path: Path, wanted: Wanted) -> bool:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as stream:
                if _stream_holds(stream, wanted):
                    return True
    return False


def _parquet(path: Path, wanted: Wanted) -> bool:
    if _raw(path, wanted):  # the footer has least and greatest values, and some pages are not compressed
        return True
    if not wanted.ids.isdisjoint(contents.listeners_of(path, wanted.columns)):
        return True
    with pq.ParquetFile(path) as file:
        return any(any(wanted.hits("\n\0".join(texts).encode())) for texts in contents.texts_of(path, file))


def _sqlite(path: Path, wanted: Wanted) -> bool:
    if _raw(path, wanted):  # pages that are free now may still hold an id
        return True
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        database.text_factory = bytes
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in database.execute(f'SELECT * FROM "{table.decode()}"'):
                if any(isinstance(value, bytes) and any(wanted.hits(value)) for value in row):
                    return True
    return False


def _statistics(path: Path, wanted: Wanted) -> bool:
    _, of_users = contents.user_statistics(path.read_bytes())
    named = any(f.string_stats.top_values or f.string_stats.rank_histogram.buckets for f in of_users)
    return named or _raw(path, wanted)


_SEARCHES: dict[str, Callable[[Path, Wanted], bool]] = {
    "parquet": _parquet,
    "gzip": _gzip,
    "zip": _zip,
    "sqlite": _sqlite,
    "statistics": _statistics,
    "text": _text,
    "binary": _raw,
}
