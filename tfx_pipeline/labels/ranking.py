"""The most similar songs of each song, from what users play."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse

from tfx_pipeline.columnar.hashing import shard_of
from tfx_pipeline.columnar.rows import Array
from tfx_pipeline.labels.blocks import Histories, Songs
from tfx_pipeline.labels.config import AudienceConfig

Similar = tuple[list[bytes], list[float]]  # ids, cosines
_ROWS_AT_ONCE = 256  # songs ranked at once: their counts with every other song are in memory


def rank_shard(
    shard: int, parts: Sequence[Histories], num_users: int, config: AudienceConfig
) -> Iterator[tuple[bytes, Similar]]:
    """Yields each song of a shard that is played, with its most similar songs, best first.

    Args:
        shard: Number of the shard.
        parts: Histories of all users who play a song of the shard.
        num_users: Users who play a warm song.
        config: Settings.
    """
    songs, to_song = Songs.union([part.songs for part in parts])
    starts = np.concatenate([[0], np.cumsum(np.concatenate([part.counts for part in parts]))])
    columns = np.concatenate([song_of[part.song_index] for part, song_of in zip(parts, to_song, strict=True)])
    ones = np.ones(len(columns), np.int32)
    played = sparse.csr_matrix((ones, columns, starts), shape=(len(starts) - 1, len(songs)))
    rows, warm = np.flatnonzero(shard_of(songs.ids, config.shards) == shard), np.flatnonzero(songs.warm)
    by_song, warm_played = played.tocsc(), played[:, warm].tocsr()
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        block = rows[start : start + _ROWS_AT_ONCE]
        together = (by_song[:, block].T.tocsr() @ warm_played).tocsr()
        for place, song in enumerate(block):
            span = slice(together.indptr[place], together.indptr[place + 1])
            yield _most_similar(songs, song, warm[together.indices[span]], together.data[span], num_users, config)


def _most_similar(
    songs: Songs, song: int, others: Array, together: npt.NDArray[np.int32], num_users: int, config: AudienceConfig
) -> tuple[bytes, Similar]:
    """Ranks the songs that a song is played together with; ties go to the smaller id."""
    listeners = songs.listeners[song]
    # Both songs keep the same listeners first: of those they share, both kept as many as the more popular one keeps.
    crowd = np.maximum(songs.listeners[others], listeners)
    count = together * np.maximum(crowd / config.max_listeners_per_song, 1.0)
    chance = listeners * songs.listeners[others].astype(np.float64)
    kept = others != song
    if songs.warm[song] or songs.new[song]:
        kept &= count * num_users > config.min_lift * chance
    others, cosine = others[kept], (count / np.sqrt(chance))[kept]
    if len(others) > config.top_m:
        strong = cosine >= -np.partition(-cosine, config.top_m - 1)[config.top_m - 1]
        others, cosine = others[strong], cosine[strong]
    best = np.lexsort((others, -cosine))[: config.top_m]  # songs are numbered by id
    return bytes(songs.ids[song]), (songs.ids[others[best]].tolist(), cosine[best].tolist())
