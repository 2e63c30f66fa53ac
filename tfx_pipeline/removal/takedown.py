"""Songs that were taken down are left out of a run. `serving.refresh.takedown` has the record."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serving.refresh.takedown import record_taken_down, taken_down
from tfx_pipeline.contract import PLAYS, SONGS
from tfx_pipeline.contract.column_names import PLAIN, Names
from tfx_pipeline.contract.errors import ContractError, broken
from tfx_pipeline.contract.folder import new_folder
from tfx_pipeline.contract.id_lists import read_ids
from tfx_pipeline.contract.ids import SONG_ID
from tfx_pipeline.runtime.console import import_quietly
from tfx_pipeline.runtime.fingerprint import set_time_by_content
from tfx_pipeline.runtime.run_folder import RunFolder

#: The file that marks a folder as one that `admitted` wrote.
_MARK = "taken_down.txt"


def take_down(
    serving: Path, prepared: Path, listed: Path | None, *, ignore_missing: bool = False, names: Names = PLAIN
) -> tuple[str, ...]:
    """Records the songs of a list, if there is one, and drops all recorded songs from the served index at once.

    The run that follows takes long, and it may push nothing.

    Args:
        serving: Folder of the model's versions.
        prepared: Folder written by `contract.prepare`: the catalogue as it is now.
        listed: The list, see `contract.id_lists`; None for none.
        ignore_missing: Whether the list may hold ids that neither the catalogue nor the served index has.
        names: How the list calls its columns.

    Returns:
        Songs of the catalogue that are taken down, now or before, in the catalogue's order.

    Raises:
        ContractError: If the list cannot be read, or holds an unknown id.
        TakedownError: If the record is damaged.
        PublishError: If the index cannot be published, as while another refresh is under way.
    """
    gone, songs = taken_down(serving), _song_ids(prepared)
    if listed is None and not gone:
        return ()
    import_quietly("tensorflow")
    from serving.refresh.index import publish_without
    from serving.refresh.saved_version import read_index
    from serving.savedmodel.publish import latest_version

    is_served = serving.is_dir() and any(name.isdigit() for name in os.listdir(serving))
    if listed is not None:
        served = read_index(latest_version(str(serving))[1]).names() if is_served else ()
        known = gone | frozenset(songs) | frozenset(served)
        where = "the catalogue or the served index"
        gone |= read_ids(listed, names=names).meant(known, where, ignore_missing=ignore_missing)
        record_taken_down(serving, gone)
    if is_served:
        publish_without(str(serving), gone)
    return tuple(song_id for song_id in songs if song_id in gone)


def take_down_listed(folder: RunFolder, prepared: Path, names: Names = PLAIN) -> tuple[str, ...]:
    """Calls `take_down` with the list that BCL_TAKEDOWN names. With BCL_IGNORE_MISSING=1 it may hold unknown ids."""
    listed, ignored = os.environ.get("BCL_TAKEDOWN"), os.environ.get("BCL_IGNORE_MISSING", "")
    if ignored not in ("", "0", "1"):
        raise ContractError(f"BCL_IGNORE_MISSING: expected 1 or 0. Received: {ignored!r}")
    missing = ignored == "1"
    return take_down(folder.serving, prepared, Path(listed) if listed else None, ignore_missing=missing, names=names)


def admitted(folder: RunFolder) -> Path:
    """Returns the prepared input without songs that were taken down and without their plays.

    Where none of its songs was taken down, this is `folder.input` itself, else a copy without them.

    Raises:
        ContractError: If no song is left.
    """
    gone = pa.array(sorted(taken_down(folder.serving)), pa.string())
    songs = _song_ids(folder.input)
    left = len(songs) - int(pc.sum(pc.is_in(pa.array(songs, pa.string()), value_set=gone)).as_py() or 0)
    if left == len(songs):
        return folder.input
    if not left:
        raise broken(folder.input, "at least one song that was not taken down", f"{len(songs):,} that all were")
    with new_folder(folder.admitted, _MARK) as aside:
        for name in (SONGS, PLAYS):
            (aside / name).parent.mkdir()
            _write_without(folder.input / name, aside / name, gone)
        (aside / _MARK).write_text(f"{len(songs) - left} songs of {folder.input} were taken down\n")
    return folder.admitted


def say_left_out(songs: tuple[str, ...]) -> str:
    """Returns a line about the songs that a run leaves out, "" where there is none."""
    if not songs:
        return ""
    shown = ", ".join(songs[:10]) + (", ..." if len(songs) > 10 else "")
    return f"Left out, because they were taken down: {len(songs):,} songs ({shown})"


def _song_ids(prepared: Path) -> list[str]:
    return pq.read_table(prepared / SONGS, columns=[SONG_ID])[SONG_ID].to_pylist()


def _write_without(source: Path, out: Path, gone: pa.Array) -> None:
    with pq.ParquetFile(source) as file, pq.ParquetWriter(out, file.schema_arrow, compression="snappy") as writer:
        for table in _row_groups(file):
            left = table.filter(pc.invert(pc.is_in(table[SONG_ID], value_set=gone)))
            if left.num_rows:
                writer.write_table(left)
    set_time_by_content(out)


def _row_groups(file: pq.ParquetFile) -> Iterator[pa.Table]:
    for group in range(file.metadata.num_row_groups):
        yield file.read_row_group(group)
