"""Checks an input folder against the contract, before any work starts."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from tfx_pipeline.contract.column_names import NO_NAMES, ColumnNames
from tfx_pipeline.contract.fields import SongField
from tfx_pipeline.contract.inputs import open_sources
from tfx_pipeline.contract.play_counts import CheckedPlays
from tfx_pipeline.contract.plays import clean_plays
from tfx_pipeline.contract.plays_check import CheckConfig, check_plays
from tfx_pipeline.contract.songs import CheckedSongs, long_list_notes, scan_songs
from tfx_pipeline.contract.stores.location import Location, locate
from tfx_pipeline.contract.training.needs import TrainingCheck, TrainingNeeds
from tfx_pipeline.models.config import TransformConfig


@dataclass(frozen=True)
class Catalogue:
    """What a checked input folder holds.

    Attributes:
        folder: The input folder.
        fields: The song fields, in the order of their columns.
        missing: Share of songs without a value, per field.
        display: Columns carried for display, never fed to the model.
        num_songs: Songs in songs.parquet.
        num_users: Distinct users among the plays kept.
        num_plays: Rows of plays.parquet kept (of known songs, at least one play).
        unknown_plays: Share of the rows of plays.parquet that are left out because songs.parquet lacks their song.
        plays_columns: The columns read from plays.parquet.
        num_new: Songs with too few listeners to be warm; None where this was not counted.
        notes: Sentences about what was left out or guessed.
    """

    folder: Location
    fields: tuple[SongField, ...]
    missing: tuple[float, ...]
    display: tuple[str, ...]
    num_songs: int
    num_users: int
    num_plays: int
    unknown_plays: float
    plays_columns: tuple[str, ...]
    num_new: int | None = None
    notes: tuple[str, ...] = ()


def check(
    folder: Location | str,
    *,
    max_unknown_plays: float = 0.01,
    training: TrainingNeeds | None = None,
    columns: ColumnNames = NO_NAMES,
    config: CheckConfig | None = None,
) -> Catalogue:
    """Returns what a folder holds. Reads it in bounded memory and writes nothing.

    Args:
        folder: Holds songs.parquet and plays.parquet, or the same as CSV, or a folder with both for each day. A path or
            a URI; see `contract.stores.location`.
        max_unknown_plays: The largest share of plays whose song songs.parquet may lack; 0.01 by default.
        training: Settings that say what training needs; None = not counted, as for a refresh.
        columns: Column names of the user's own.
        config: From how many plays Beam checks them.

    Raises:
        ContractError: The input breaks the contract, and the message names file, column and row. Or training would
            find no songs to learn from, and the message names the setting that could help.
        ValueError: `max_unknown_plays` is not a share.
    """
    check_share(max_unknown_plays)
    folder = locate(folder)
    with open_sources(folder, columns=columns) as (songs_file, plays_file, notes):
        songs = scan_songs(songs_file)
        ids = combined(songs.ids)
        plays = check_plays(plays_file, ids, max_unknown_plays=max_unknown_plays, config=config)
        counting = None if training is None else TrainingCheck(training, ids, plays_file.shown)
        if counting is not None:
            for _ in counting.watch(clean_plays(plays_file, plays, ids)):
                pass
    return summarise(folder, songs, plays, notes, counting)


def check_share(max_unknown_plays: float) -> None:
    """Raises ValueError unless the share lies in [0, 1]."""
    if not 0 <= max_unknown_plays <= 1:
        raise ValueError(f"`max_unknown_plays` must be a share between 0 and 1. Received: {max_unknown_plays}.")


def combined(ids: pa.ChunkedArray) -> pa.Array:
    """Returns the chunks as one array."""
    return pa.concat_arrays(ids.chunks)


def summarise(
    folder: Location, songs: CheckedSongs, plays: CheckedPlays, notes: tuple[str, ...], counting: TrainingCheck | None
) -> Catalogue:
    """Returns the catalogue: what both files hold, and what training needs where that was counted.

    Raises:
        ContractError: Training would find no songs to learn from.
    """
    num_new, counts = (None, ()) if counting is None else counting.finish()
    transform = TransformConfig() if counting is None else counting.needs.transform
    cut = long_list_notes(songs.lists, transform.max_values)
    return Catalogue(
        folder=folder,
        fields=songs.fields,
        missing=songs.missing,
        display=songs.display,
        num_songs=len(songs.ids),
        num_users=plays.num_users,
        num_plays=plays.num_plays,
        unknown_plays=plays.unknown_share,
        plays_columns=plays.columns,
        num_new=num_new,
        notes=(*notes, *counts, *songs.notes, *cut, *plays.notes),
    )
