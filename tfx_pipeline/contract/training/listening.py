"""Counts listeners in bounded memory: those of each song up to a number, and whole histories of some users."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tfx_pipeline.contract.hashing import Numbers, mixed, string_hashes
from tfx_pipeline.contract.ids import SONG_ID, USER_ID

_MERGE_FROM = 200_000
_MOST_PLAYS = 2_000_000


class Listening:
    """Takes plays batch by batch.

    Memory grows with the songs times `enough`, and holds at most about twice `most_plays` beside it.

    Args:
        song_ids: Every song; its place is its number here.
        enough: Up to how many distinct listeners of a song are counted.
        most_plays: How many distinct plays are kept. If there are more, whole users are left out, drawn by a hash.
    """

    def __init__(self, song_ids: pa.Array, enough: int, most_plays: int = _MOST_PLAYS):
        hashes = string_hashes(song_ids)
        self.song_ids = song_ids
        self._order = np.argsort(hashes)
        self._sorted = hashes[self._order]
        self._counted = _Counted(len(song_ids), enough)
        self._kept = _Kept(most_plays)

    def add(self, batch: pa.RecordBatch) -> None:
        """Takes a batch with `user_id` and `song_id` of known songs into account."""
        users = string_hashes(batch.column(USER_ID))
        encoded = batch.column(SONG_ID).dictionary_encode()
        numbers = self._order[np.searchsorted(self._sorted, string_hashes(encoded.dictionary))]
        songs = numbers[np.asarray(encoded.indices)]
        keys, first = np.unique(mixed(users + mixed(songs.astype(np.uint64) + np.uint64(1))), return_index=True)
        self._counted.add(keys, songs[first])
        self._kept.add(keys, users[first], songs[first])

    @property
    def listeners(self) -> Numbers:
        """`(songs,)` distinct listeners of each song, at most `enough`."""
        return self._counted.counts()

    def plays(self) -> tuple[Numbers, Numbers]:
        """Returns the users, numbered from 0, and the songs of the distinct plays kept."""
        _, users, songs = self._kept.merged()
        return np.unique(users, return_inverse=True)[1], songs

    @property
    def is_whole(self) -> bool:
        """Whether all plays were kept."""
        return self._kept.bound is None


class _Counted:
    """Counts distinct listeners of each song up to a number. Listeners of songs that have reached it are dropped."""

    def __init__(self, songs: int, enough: int):
        self._enough = enough
        self._counts = np.zeros(songs, np.int64)
        self._keys, self._songs = np.zeros(0, np.uint64), np.zeros(0, np.int64)
        self._new: list[tuple[Numbers, Numbers]] = []

    def add(self, keys: Numbers, songs: Numbers) -> None:
        open_ = self._counts[songs] < self._enough
        self._new.append((keys[open_], songs[open_]))
        if sum(len(keys) for keys, _ in self._new) > max(len(self._keys), _MERGE_FROM):
            self._merge()

    def counts(self) -> Numbers:
        self._merge()
        return self._counts

    def _merge(self) -> None:
        keys = np.concatenate([self._keys, *(keys for keys, _ in self._new)])
        songs = np.concatenate([self._songs, *(songs for _, songs in self._new)])
        keys, first = np.unique(keys, return_index=True)
        songs = songs[first]
        found = np.bincount(songs, minlength=len(self._counts))
        self._counts = np.where(self._counts < self._enough, np.minimum(found, self._enough), self._counts)
        open_ = self._counts[songs] < self._enough
        self._keys, self._songs, self._new = keys[open_], songs[open_], []


class _Kept:
    """Keeps distinct plays of users whose hash is below a bound. The bound sinks as plays come."""

    def __init__(self, most: int):
        self._most = most
        self.bound: np.uint64 | None = None
        self._held: tuple[Numbers, ...] = (np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.int64))
        self._new: list[tuple[Numbers, ...]] = []

    def add(self, *columns: Numbers) -> None:
        if self.bound is not None:
            below = columns[1] < self.bound
            columns = tuple(column[below] for column in columns)
        self._new.append(columns)
        if sum(len(keys) for keys, *_ in self._new) > max(len(self._held[0]), _MERGE_FROM):
            self.merged()

    def merged(self) -> tuple[Numbers, ...]:
        columns = tuple(np.concatenate(parts) for parts in zip(self._held, *self._new, strict=True))
        first = np.unique(columns[0], return_index=True)[1]
        columns = tuple(column[first] for column in columns)
        while len(columns[0]) > self._most:
            # Half of the users go. So does one who alone plays more than may be kept: pairs do not depend on them.
            self.bound = np.uint64((int(self.bound) if self.bound is not None else 2**64) // 2)
            below = columns[1] < self.bound
            columns = tuple(column[below] for column in columns)
        self._held, self._new = columns, []
        return columns
