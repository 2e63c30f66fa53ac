"""Counts pairs of songs that share listeners, as the similar-song step does, in bounded time and memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfx_pipeline.contract.hashing import Numbers
from tfx_pipeline.contract.splits import TEST, VALIDATION, WARM
from tfx_pipeline.labels.config import AudienceConfig

#: Most pairs of plays of one user that are looked at, over all users: about a second's work.
MOST_WORK = 50_000_000
_BLOCK_WORK = 4_000_000


@dataclass(frozen=True)
class Pairs:
    """What songs share.

    Attributes:
        linked: Warm songs with a similar warm song.
        strongest: The largest lift of a pair of warm songs: how many times as often as by chance they are heard
            together. It is 0 where no two share a listener.
        judged: For validation and test, how many songs share a listener with a warm song.
        users: Number of users counted.
        is_whole: Whether these are all users given, each with all their songs.
    """

    linked: int
    strongest: float
    judged: dict[str, int]
    users: int
    is_whole: bool


def count_pairs(
    users: Numbers, songs: Numbers, splits: Numbers, config: AudienceConfig, most_work: int = MOST_WORK
) -> Pairs:
    """Returns what warm songs share with each other and with held-out songs.

    Args:
        users: `(plays,)` users of distinct plays, numbered from 0 in an order that is independent of what they play.
        songs: `(plays,)` their songs.
        splits: `(songs,)` split of each song.
        config: Settings of the similar-song step.
        most_work: Bounds the work, which is the sum over users of the squared number of warm songs they play; the
            first users count, as many as stay below.
    """
    warm = splits == WARM
    plays_warm = np.bincount(users[warm[songs]], minlength=users.max(initial=-1) + 1)
    reached = np.zeros(len(splits), bool)
    reached[songs[plays_warm[users] > 0]] = True
    judged = {split: int((reached & (splits == split)).sum()) for split in (VALIDATION, TEST)}
    kept = _within(users, songs, warm, config.max_songs_per_user, most_work)
    users, songs = users[kept], songs[kept]
    linked, strongest = _links(users, songs, len(splits), config.min_lift)
    return Pairs(linked, strongest, judged, len(np.unique(users)), len(kept) == int(plays_warm.sum()))


def _within(users: Numbers, songs: Numbers, warm: Numbers, most_songs: int, most_work: int) -> Numbers:
    """Returns which plays of warm songs to look at, so that the work stays bounded."""
    plays = np.flatnonzero(warm[songs])
    plays = plays[np.argsort(users[plays], kind="stable")]
    counts = np.bincount(users[plays])
    place = np.arange(len(plays)) - np.repeat(np.cumsum(counts) - counts, counts)
    # A heavy user's first songs stand for the ones that the similar-song step draws.
    plays, counts = plays[place < most_songs], np.minimum(counts, most_songs)
    enough = np.cumsum(counts.astype(np.int64) ** 2) <= most_work
    return plays[enough[users[plays]]]


def _links(users: Numbers, songs: Numbers, num_songs: int, min_lift: float) -> tuple[int, float]:
    """Returns how many songs share listeners with another beyond `min_lift` times chance, and the largest lift."""
    from scipy import sparse  # Here, because it takes longer to import than the rest of the contract.

    shape = (int(users.max(initial=-1)) + 1, num_songs)
    played = sparse.csr_matrix((np.ones(len(users), np.float64), (users, songs)), shape=shape)
    listeners = np.bincount(songs, minlength=num_songs).astype(np.float64)
    num_users, linked, strongest = len(np.unique(users)), 0, 0.0
    work = np.bincount(songs, weights=np.bincount(users, minlength=shape[0])[users], minlength=num_songs)
    by_song, songs_heard = played.tocsc(), np.flatnonzero(listeners)
    blocks = np.floor(np.cumsum(work[songs_heard]) / _BLOCK_WORK)
    for block in np.split(songs_heard, np.flatnonzero(np.diff(blocks)) + 1):
        together = (by_song[:, block].T.tocsr() @ played).tocoo()
        other = block[together.row] != together.col
        row, heard = together.row[other], together.data[other] * num_users
        chance = listeners[block[row]] * listeners[together.col[other]]
        strongest = max(strongest, float((heard / chance).max(initial=0)))
        linked += len(np.unique(row[heard > min_lift * chance]))
    return linked, strongest
