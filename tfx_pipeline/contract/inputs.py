"""Opens the two tables of an input folder, in each of the forms and places in which they may lie."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tfx_pipeline.contract.column_names import NO_NAMES, ColumnNames
from tfx_pipeline.contract.csv.file import convert_plays, convert_songs
from tfx_pipeline.contract.errors import broken
from tfx_pipeline.contract.partitions import NO_DAYS, parts_in_window
from tfx_pipeline.contract.source import Source
from tfx_pipeline.contract.spans import find_spans, read_days, write_latest_songs
from tfx_pipeline.contract.stores.location import Location, below
from tfx_pipeline.contract.tables import TEXT_SUFFIXES, Part, find_table, table_parts, tables_named
from tfx_pipeline.runtime.fingerprint import file_digest


@contextmanager
def open_sources(
    folder: Location, *, window: int | None = None, until: int | None = None, columns: ColumnNames = NO_NAMES
) -> Iterator[tuple[Source, Source, tuple[str, ...]]]:
    """Yields (songs, plays, notes) of an input folder. Converted files lie in a temporary folder.

    Args:
        folder: Holds songs and plays, or a folder with both for each day.
        window: Of days, how many of the latest are read for plays; None = all.
        until: Of days, the number of the last one; None = the latest there is.
        columns: Column names of the user's own.

    Raises:
        ContractError: The folder or one of the two tables is missing, or a column that `columns` names.
    """
    _check_folder(folder)
    with TemporaryDirectory(prefix="contract-") as aside:
        songs, plays, notes, is_of_days = _tables(folder, Path(aside), window=window, until=until, columns=columns)
        songs.check_names()
        plays.check_names()
        if is_of_days:
            latest = Path(aside) / "songs.parquet"
            notes += write_latest_songs(songs, latest)
            songs = Source([Part(latest, songs.shown)], songs.shown, songs, names=songs.columns)
        yield songs, plays, notes


@contextmanager
def open_as_given(folder: Location) -> Iterator[tuple[Source, Source]]:
    """Yields (songs, plays) with the names of their files; of days, every row of every day.

    Raises:
        ContractError: The folder or one of the two tables is missing.
    """
    _check_folder(folder)
    with TemporaryDirectory(prefix="contract-") as aside:
        songs, plays, _, _ = _tables(folder, Path(aside))
        yield songs, plays


def _check_folder(folder: Location) -> None:
    if not folder.is_dir():
        received = "a file" if folder.exists() else "no such folder"
        raise broken(folder, "a folder with songs.parquet and plays.parquet", received)


def _tables(
    folder: Location,
    aside: Path,
    *,
    window: int | None = None,
    until: int | None = None,
    columns: ColumnNames = NO_NAMES,
) -> tuple[Source, Source, tuple[str, ...], bool]:
    """Returns songs, plays, notes, and whether they come from days."""
    if find_spans(folder) or until is not None:
        days = read_days(folder, window=window, until=until, columns=columns)
        return days.songs, days.plays, (), True
    found = [find_table(folder, name) for name in ("songs", "plays")]
    notes = tuple(
        f"{other.name} is not read, because {path.name} is there."
        for path, name in zip(found, ("songs", "plays"), strict=True)
        for other in tables_named(folder, name)[1:]
    )
    sources = []
    for path, name, convert in zip(found, ("songs", "plays"), (convert_songs, convert_plays), strict=True):
        names = columns.of(name)
        if path.suffix in TEXT_SUFFIXES:
            parquet = aside / f"{path.stem}.parquet"
            notes += convert(path, parquet, names)
            notes += (NO_DAYS,) if window is not None and name == "plays" else ()
            sources.append(Source([Part(parquet, path)], path, names=names))
        else:
            parts, of_window = _parts(path, window if name == "plays" else None)
            notes += of_window
            sources.append(Source(parts, path, names=names))
    return sources[0], sources[1], notes, False


def _parts(path: Location, window: int | None) -> tuple[tuple[Part, ...], tuple[str, ...]]:
    return (table_parts(path), ()) if window is None else parts_in_window(path, window)


def input_digest(folder: Location, *, window: int | None = None, until: int | None = None) -> str:
    """Returns a digest of the names and bytes of every file that `open_sources` reads.

    Of a file in a store, its size and time stand for its bytes.

    Raises:
        ContractError: A table is missing.
    """
    if find_spans(folder) or until is not None:
        days = read_days(folder, window=window, until=until)
        parts = [("songs", part) for part in days.songs.parts] + [("plays", part) for part in days.plays.parts]
    else:
        windows = {"songs": None, "plays": window}
        parts = [(name, part) for name in windows for part in _parts(find_table(folder, name), windows[name])[0]]
    digest = hashlib.sha256()
    for name, part in parts:
        content = file_digest(part.path) if isinstance(part.path, Path) else part.path.state()
        digest.update(f"{name} {below(part.path, folder)} {content}\n".encode())
    return digest.hexdigest()
