"""Audiences: who plays a song, at most so many, and those that a shard of cold songs asks for."""

from __future__ import annotations

import numpy as np

from tfx_pipeline.columnar.hashing import hash_ids
from tfx_pipeline.columnar.rows import ranges, smallest, starts_of
from tfx_pipeline.contract.ids import Ids, lookup
from tfx_pipeline.targeting.beam.blocks import Audiences, Plays


def audiences(plays: Plays, max_audience: int, seed: int) -> Audiences:
    """Returns the listeners of each song, at most `max_audience`, in the order of their ids.

    Larger audiences keep the listeners of smallest hash. As the hash is the listener's and not the pair's, the
    `max_audience` smallest of any union of audiences are what they would be without sampling, with all their songs.

    Args:
        plays: Merged plays.
        max_audience: Listeners to keep of a song.
        seed: Of the hash.
    """
    songs, users = plays.songs, plays.users
    size = np.bincount(songs.codes, minlength=len(songs.ids)).astype(np.int64)
    user = users.codes[np.argsort(songs.codes, kind="stable")]
    large = np.flatnonzero(size > max_audience)
    if len(large):
        hashes = hash_ids(users.ids, f"sample {seed}")
        keep = np.ones(len(user), dtype=bool)
        starts = starts_of(size)
        for song in large:
            members = slice(starts[song], starts[song] + size[song])
            keep[members] = smallest(hashes[user[members]], max_audience)
        user = user[keep]
    kept = np.minimum(size, max_audience)
    return Audiences(songs.ids, size, starts_of(kept), kept, user, users.ids)


def requested_audiences(table: Audiences, wanted: Ids) -> Audiences:
    """Returns the audiences of the wanted songs that have one, with the ids of just their listeners.

    Args:
        table: Audiences, sorted by song.
        wanted: (n,) ids of songs.
    """
    position = lookup(np.unique(wanted), table.songs)
    position = position[position >= 0]
    kept = table.kept[position]
    codes, user = np.unique(table.user[ranges(table.start[position], kept)], return_inverse=True)
    songs, size = table.songs[position], table.size[position]
    return Audiences(songs, size, starts_of(kept), kept, user.astype(np.int32), table.users[codes])
