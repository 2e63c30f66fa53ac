"""Writes the checked input as the pipeline reads it: songs and plays as Parquet, and the catalogue as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tfx_pipeline.contract.catalogue import Catalogue, check_share, combined, summarise
from tfx_pipeline.contract.column_names import NO_NAMES, ColumnNames
from tfx_pipeline.contract.errors import broken
from tfx_pipeline.contract.fields import SongField
from tfx_pipeline.contract.folder import check_replaceable, new_folder
from tfx_pipeline.contract.forgotten import Forgotten
from tfx_pipeline.contract.inputs import input_digest, open_sources
from tfx_pipeline.contract.plays import clean_plays
from tfx_pipeline.contract.plays_check import CheckConfig, check_plays
from tfx_pipeline.contract.schemas import plays_schema, songs_schema
from tfx_pipeline.contract.songs import clean_songs, scan_songs
from tfx_pipeline.contract.source import Source
from tfx_pipeline.contract.stores.location import Location, locate
from tfx_pipeline.contract.training.needs import TrainingCheck, TrainingNeeds
from tfx_pipeline.runtime.fingerprint import code_fingerprint, file_digest, set_time_by_content
from tfx_pipeline.runtime.settings_codec import from_values, to_json

MANIFEST = "catalogue.json"
SONGS = Path("songs") / "songs.parquet"
PLAYS = Path("plays") / "plays.parquet"
# Beam turns one row group at a time into Python dicts, which take twenty times the memory of the columns.
_SONG_ROWS, _PLAY_ROWS = 4_096, 65_536


def prepare(
    folder: Location | str,
    out: Path | str,
    *,
    max_unknown_plays: float = 0.01,
    window: int | None = None,
    until: int | None = None,
    training: TrainingNeeds | None = None,
    columns: ColumnNames = NO_NAMES,
    config: CheckConfig | None = None,
) -> Catalogue:
    """Checks the input folder and writes `out`, whole or not at all.

    `out` holds songs/songs.parquet (song_id, the fields, display columns as strings; categories as string or
    list<string>, numbers as float32, vectors as list<float32>), plays/plays.parquet (user_id, song_id, plays int64,
    where present liked 0 or 1 and timestamp in seconds) and catalogue.json. The same input gives the same bytes and the
    same file times, so that the pipeline's cache holds; where `out` was prepared from it already, nothing is touched.
    Plays of listeners whom `tfx_pipeline.forget` put on a list beside or above `out` are left out, and counted.

    Args:
        folder: Holds songs.parquet and plays.parquet, or the same as CSV, or a folder with both for each day. A path or
            a URI; see `contract.stores.location`.
        out: The folder to write: new, empty, or written by an earlier call.
        max_unknown_plays: The largest share of plays whose song songs.parquet may lack; 0.01 by default.
        window: Of days, how many of the latest are read for plays; None = all. Songs of every day are.
        until: Of days, the number of the last one that is read (20261101 of a date); None = the latest there is.
        training: Settings that say what training needs; None = not counted, as for a refresh.
        columns: Column names of the user's own. catalogue.json records them; see `recorded_names`.
        config: From how many plays Beam checks them. Its workers must see the folder above `out`.

    Raises:
        ContractError: The input breaks the contract, training would find no songs to learn from, or `out` holds
            something else. Then nothing is written.
        FolderError: `out` cannot be written, or another process is writing it.
        ValueError: `max_unknown_plays` is not a share, or `window` is less than 1.
    """
    check_share(max_unknown_plays)
    folder, out = locate(folder), Path(out)
    check_replaceable(out, MANIFEST)
    if not folder.is_dir():
        with open_sources(folder):
            pass
    forgotten = Forgotten.of_run(out)
    inputs = input_digest(folder, window=window, until=until)
    state = _state(inputs, max_unknown_plays, training, forgotten, columns)
    if _is_current(out, state):
        return replace(load_prepared(out), folder=folder)
    given = open_sources(folder, window=window, until=until, columns=columns)
    with new_folder(out, MANIFEST) as aside, given as sources:
        catalogue = _write(folder, sources, aside, max_unknown_plays, training, forgotten, config)
        _write_manifest(aside, catalogue, state, columns)
    return catalogue


def load_prepared(out: Path | str) -> Catalogue:
    """Returns the catalogue of a folder that `prepare` wrote; its `folder` is `out`.

    Raises:
        ContractError: `out` was not written by `prepare`.
    """
    path = Path(out) / MANIFEST
    if not path.is_file():
        raise broken(out, f"a folder written by `prepare`, with {MANIFEST}", "none")
    entries = json.loads(path.read_text(encoding="utf-8"))["catalogue"]
    fields = tuple(SongField(**entry) for entry in entries.pop("fields"))
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entries.items()}
    return Catalogue(folder=Path(out), fields=fields, **values)


def recorded_names(out: Path | str) -> ColumnNames:
    """Returns the column names of the user's own with which `out` was prepared; none where it was not."""
    path = Path(out) / MANIFEST
    if not path.is_file():
        return NO_NAMES
    columns = json.loads(path.read_text(encoding="utf-8")).get("columns", {})
    return from_values(ColumnNames, columns, f"{path}: columns")


def _write(
    folder: Location,
    sources: tuple[Source, Source, tuple[str, ...]],
    aside: Path,
    max_unknown_plays: float,
    training: TrainingNeeds | None,
    forgotten: Forgotten,
    config: CheckConfig | None,
) -> Catalogue:
    songs_file, plays_file, notes = sources
    songs = scan_songs(songs_file)
    ids = combined(songs.ids)
    plays = check_plays(
        plays_file,
        ids,
        max_unknown_plays=max_unknown_plays,
        forgotten=forgotten,
        config=config,
        aside=aside.parent,
    )
    schema = songs_schema(songs.fields, songs.display)
    _write_parquet(aside / SONGS, schema, clean_songs(songs_file, songs), _SONG_ROWS)
    batches = clean_plays(plays_file, plays, ids)
    counting = None if training is None else TrainingCheck(training, ids, plays_file.shown)
    if counting is not None:
        batches = counting.watch(batches)
    _write_parquet(aside / PLAYS, plays_schema(plays.columns), batches, _PLAY_ROWS)
    return summarise(folder, songs, plays, notes, counting)


def _write_parquet(path: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch], rows: int) -> None:
    path.parent.mkdir()
    with pq.ParquetWriter(path, schema, compression="snappy") as writer:
        for batch in batches:
            for start in range(0, batch.num_rows, rows):
                writer.write_table(pa.Table.from_batches([batch.slice(start, rows)], schema))
    set_time_by_content(path)


def _write_manifest(aside: Path, catalogue: Catalogue, state: str, columns: ColumnNames) -> None:
    entries = asdict(replace(catalogue, folder=aside))
    del entries["folder"]
    written = {str(name): file_digest(aside / name) for name in (SONGS, PLAYS)}
    manifest = {"input": state, "written": written, "catalogue": entries, "columns": asdict(columns)}
    (aside / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _state(
    inputs: str,
    max_unknown_plays: float,
    training: TrainingNeeds | None,
    forgotten: Forgotten,
    columns: ColumnNames,
) -> str:
    """Returns a digest of all that the output depends on: input, code, settings and forgotten listeners."""
    code = [code_fingerprint(__name__)]
    settings = [repr(max_unknown_plays), training.key() if training else "", forgotten.state(), to_json(columns)]
    return hashlib.sha256("\n".join([inputs, *code, *settings, pa.__version__]).encode()).hexdigest()


def _is_current(out: Path, state: str) -> bool:
    try:
        manifest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        return manifest["input"] == state and all(
            file_digest(out / name) == digest for name, digest in manifest["written"].items()
        )
    except (OSError, ValueError, KeyError):
        return False
