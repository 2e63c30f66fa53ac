"""Plays joined with the catalogue, in a shard of songs: which of them describe listeners, and who plays what is new.

The shard holds the plays and vectors of its songs. It is bounded by the number of these plays, whatever the size of the
catalogue.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tfx_pipeline.columnar.hashing import shard_of
from tfx_pipeline.columnar.rows import group_rows
from tfx_pipeline.contract.ids import among, id_array, lookup
from tfx_pipeline.contract.splits import NEW
from tfx_pipeline.targeting.beam.blocks import Catalogue, Pairs, Plays, PlaysWithVectors


def usable_plays(plays: Plays, catalogue: Catalogue, splits: tuple[str, ...]) -> tuple[Plays, dict[str, int]]:
    """Returns the plays of songs whose split is in `splits`, and the counts of what was left out.

    Plays of held-out songs must not describe a listener: at targeting time nobody has played them.

    Args:
        plays: Merged plays.
        catalogue: The songs of the shard, sorted.
        splits: Names of splits.
    """
    position = lookup(plays.songs.ids, catalogue.ids)
    known = position >= 0
    usable = known.copy()
    usable[known] = among(catalogue.split[position[known]], id_array(splits))
    song, played = plays.songs.codes, plays.counts > 0
    rows = np.flatnonzero(usable[song] & played)
    counts = {
        "pairs_of_unknown_songs": int((~known)[song].sum()),
        "pairs_of_other_splits": int((known & ~usable)[song].sum()),
        "pairs_without_plays": int((usable[song] & ~played).sum()),
        "pairs_used": len(rows),
    }
    return plays.take(rows), counts


def own_listeners(plays: Plays, catalogue: Catalogue, cold_shards: int) -> Iterator[tuple[int, Pairs]]:
    """Yields who plays new songs, for each shard of cold songs: they know the song already.

    Args:
        plays: Merged plays.
        catalogue: The songs of the shard, sorted.
        cold_shards: Number of shards of cold songs.
    """
    position = lookup(plays.songs.ids, catalogue.ids)
    new = position >= 0
    new[new] = catalogue.split[position[new]] == NEW.encode()
    rows = np.flatnonzero(new[plays.songs.codes] & (plays.counts > 0))
    pairs = Pairs(plays.users.ids[plays.users.codes[rows]], plays.songs.ids[plays.songs.codes[rows]])
    yield from pairs.by_shard(pairs.songs, cold_shards)


def plays_by_listener(plays: Plays, catalogue: Catalogue, shards: int) -> Iterator[tuple[int, PlaysWithVectors]]:
    """Yields plays for each shard of listeners, with the candidate vectors of the songs in them.

    Args:
        plays: Plays of songs of the catalogue.
        catalogue: The songs of the shard, sorted.
        shards: Number of shards of listeners.
    """
    shard = shard_of(plays.users.ids, shards)
    for key, rows in group_rows(shard[plays.users.codes]):
        part = plays.take(rows)
        yield key, PlaysWithVectors(part, catalogue.candidate[lookup(part.songs.ids, catalogue.ids)])
