"""Days of songs and plays, joined into one folder of the input contract: a rolling window of plays, every song known.

`DIR/span-<number>/` holds songs.parquet and plays.parquet of one day (or hour, or week). A later row of a song takes
the place of an earlier one, so a day brings new and changed songs only. Training reads the plays of the last days:
songs that were cold and got plays are warm then; songs without plays in the window stay in the catalogue as new ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tfx_pipeline.contract.errors import broken
from tfx_pipeline.contract.folder import new_folder

_SONGS, _PLAYS, _MARK = "songs.parquet", "plays.parquet", "spans.txt"
_NAME = re.compile(r"span-(\d+)")
_ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True, order=True)
class Span:
    """One day's folder."""

    number: int
    folder: Path


def find_spans(folder: Path) -> list[Span]:
    """Returns the spans of a folder, earliest first; none if it has none.

    Raises:
        ContractError: If songs or plays lie beside the spans: it is not clear which are meant.
    """
    found = [(_NAME.fullmatch(path.name), path) for path in folder.iterdir()] if folder.is_dir() else []
    spans = sorted(Span(int(match[1]), path) for match, path in found if match and path.is_dir())
    beside = [path.name for path in sorted(folder.glob("*")) if path.stem in ("songs", "plays") and path.is_file()]
    if spans and beside:
        raise broken(folder, f"either spans or songs and plays, not {spans[0].folder.name} and files", beside)
    return spans


def join_spans(folder: Path, out: Path, *, window: int | None = None, until: int | None = None) -> list[Span]:
    """Writes songs.parquet and plays.parquet of the spans, whole or not at all.

    Args:
        folder: Holds the spans.
        out: The folder to write: new, empty, or written by an earlier call.
        window: How many of the latest spans' plays are read; None = all. Songs of every span are.
        until: The last span's number; None = the latest there is.

    Returns:
        The spans whose plays were read.

    Raises:
        ContractError: If there is no span, a file is missing, or a column's type differs between spans.
        ValueError: If `window` is less than 1.
    """
    if window is not None and window < 1:
        raise ValueError(f"`window` must be at least 1. Received: {window}")
    spans = [span for span in find_spans(folder) if until is None or span.number <= until]
    if not spans:
        raise broken(folder, "folders named span-<number>", "none" if until is None else f"none up to {until}")
    read = spans if window is None else spans[-window:]
    with new_folder(out, _MARK) as aside:
        pq.write_table(_latest_songs(spans), aside / _SONGS)
        _copy_plays(read, aside / _PLAYS)
        (aside / _MARK).write_text("\n".join(span.folder.name for span in read) + "\n", encoding="utf-8")
    return read


def with_spans_joined(folder: Path, out: Path, window: int | None = None) -> Path:
    """Returns a folder of the input contract: `folder` itself, or `out` with the spans of `folder` joined."""
    if not find_spans(folder):
        return folder
    join_spans(folder, out, window=window)
    return out


def _latest_songs(spans: Sequence[Span]) -> pa.Table:
    """Returns every song once, in the order of the ids, by its latest row; columns that a span lacks are null."""
    files = [_file(span, _SONGS) for span in spans]
    schema = _common(files)
    everything = pa.concat_tables([_as(pq.read_table(file), schema) for file in files]).combine_chunks()
    if everything["song_id"].null_count:
        raise broken(spans[0].folder.parent, "no null", "null", column="song_id")
    last = {song: row for row, song in enumerate(everything["song_id"].to_pylist())}
    return everything.take(pa.array([last[song] for song in sorted(last)], pa.int64()))


def _copy_plays(spans: Sequence[Span], out: Path) -> None:
    files = [_file(span, _PLAYS) for span in spans]
    schema = _common(files)
    with pq.ParquetWriter(out, schema) as writer:
        for file in files:
            for batch in pq.ParquetFile(file).iter_batches(_ROWS_AT_ONCE):
                writer.write_table(_as(pa.Table.from_batches([batch]), schema))


def _file(span: Span, name: str) -> Path:
    file = span.folder / name
    if not file.is_file():
        raise broken(file, "a Parquet file", "none", remedy="A span without new songs has a file without rows.")
    return file


def _common(files: Sequence[Path]) -> pa.Schema:
    """Returns every column that a file has."""
    fields: dict[str, tuple[pa.Field, Path]] = {}
    for file in files:
        try:
            schema = pq.read_schema(file).remove_metadata()
        except pa.ArrowInvalid as error:
            raise broken(file, "a Parquet file", str(error)) from error
        if "song_id" not in schema.names:
            raise broken(file, "a column of ids", f"columns {schema.names}", column="song_id")
        for field in schema:
            known, where = fields.setdefault(field.name, (field, file))
            if known.type != field.type:
                raise broken(file, f"{known.type} as in {where}", str(field.type), column=field.name)
    return pa.schema([field for field, _ in fields.values()])


def _as(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Returns the table with every column of the schema, null where it has none."""
    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select(schema.names).cast(schema)
