"""The blocks of targeting: what travels between its Beam steps instead of single rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tfx_pipeline.columnar.coded import Coded
from tfx_pipeline.columnar.hashing import shard_of
from tfx_pipeline.columnar.rows import Array, Rows, group_rows, ranges, starts_of
from tfx_pipeline.contract.ids import Ids, no_ids

Whole = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, eq=False)
class Catalogue(Rows):
    """Songs with their splits and vectors.

    Attributes:
        ids: (n,) ids.
        split: (n,) names of splits, as bytes.
        embedding: (n, d) query vectors.
        candidate: (n, d) candidate vectors.
    """

    ids: Ids
    split: Ids
    embedding: Vectors
    candidate: Vectors

    @classmethod
    def empty(cls) -> Catalogue:
        """Returns no song."""
        return cls(no_ids(), no_ids(), np.zeros((0, 1), np.float32), np.zeros((0, 1), np.float32))

    @classmethod
    def merge(cls, blocks: Sequence[Catalogue]) -> Catalogue:
        """Returns the songs of all blocks, sorted by id.

        Args:
            blocks: Parts of a catalogue.

        Raises:
            ValueError: If a song is there twice, or vectors differ in length.
        """
        widths = {block.embedding.shape[1] for block in blocks}
        if len(widths) > 1:
            raise ValueError(f"`embedding` must have one length over the whole catalogue. Received: {sorted(widths)}")
        joined = cls.concatenate(blocks)
        joined = joined.take(np.argsort(joined.ids, kind="stable"))
        check_unique(joined.ids, "catalogue")
        return joined


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs(Rows):
    """Pairs of a listener and a song.

    Attributes:
        users: (n,) ids.
        songs: (n,) ids; in exclusions, b"" stands for every song.
    """

    users: Ids
    songs: Ids

    @classmethod
    def empty(cls) -> Pairs:
        """Returns no pair."""
        return cls(no_ids(), no_ids())


@dataclasses.dataclass(frozen=True, eq=False)
class Listeners(Rows):
    """Listeners with their vectors.

    Attributes:
        users: (n,) ids.
        vectors: (n, j, d) unit vectors, j interests for each listener; zeros where there is none.
        excluded: (n,) bool, excluded from every song.
    """

    users: Ids
    vectors: Vectors
    excluded: npt.NDArray[np.bool_]

    @classmethod
    def empty(cls) -> Listeners:
        """Returns no listener."""
        return cls(no_ids(), np.zeros((0, 1, 1), np.float32), np.zeros(0, bool))

    @classmethod
    def not_excluded(cls, users: Ids, vectors: Vectors) -> Listeners:
        """Returns listeners of whom none is excluded.

        Args:
            users: (n,) ids.
            vectors: (n, j, d) vectors.
        """
        return cls(users, vectors, np.zeros(len(users), bool))


class Plays(NamedTuple):
    """How often listeners play songs, one row for each play.

    Attributes:
        users: The listener of each row.
        songs: The song of each row.
        counts: (n,) how often.
    """

    users: Coded
    songs: Coded
    counts: Whole

    def take(self, rows: Array) -> Plays:
        """Returns some rows, with the ids that they need and no others.

        Args:
            rows: Their numbers, or a mask.
        """
        return Plays(self.users.take(rows), self.songs.take(rows), self.counts[rows])

    @staticmethod
    def merge(blocks: Sequence[Plays]) -> Plays:
        """Returns one row for each listener and song, in the order of their ids, with the sum of the counts.

        Args:
            blocks: Plays.
        """
        users, songs = (Coded.concatenate(parts) for parts in ([b.users for b in blocks], [b.songs for b in blocks]))
        counts = np.concatenate([np.zeros(0, np.int64), *(block.counts for block in blocks)])
        width = max(1, len(songs.ids))
        pairs, row = np.unique(users.codes.astype(np.int64) * width + songs.codes, return_inverse=True)
        total = np.zeros(len(pairs), dtype=np.int64)
        np.add.at(total, row, counts)
        return Plays(Coded(users.ids, pairs // width), Coded(songs.ids, pairs % width), total)


class PlaysWithVectors(NamedTuple):
    """Plays, and the vectors of the songs in them.

    Attributes:
        plays: The plays.
        vectors: (m, d) candidate vectors, in the order of `plays.songs.ids`.
    """

    plays: Plays
    vectors: Vectors


class Audiences(NamedTuple):
    """Who plays each of some songs: song i has `users[user[start[i] : start[i] + kept[i]]]`.

    Attributes:
        songs: (n,) ids.
        size: (n,) how many play it.
        start: (n,) where its listeners begin in `user`.
        kept: (n,) how many of them are here.
        user: Places in `users`, by song.
        users: Ids of listeners, ascending.
    """

    songs: Ids
    size: Whole
    start: Whole
    kept: Whole
    user: Array
    users: Ids


class Request(NamedTuple):
    """Ids that a shard of cold songs asks about.

    Attributes:
        cold_shard: The shard that asks.
        ids: (n,) of songs or listeners.
    """

    cold_shard: int
    ids: Ids


class Matches(NamedTuple):
    """The best matches of cold songs, song by song, best first.

    Attributes:
        songs: (n,) ids of cold songs.
        given: (n,) matches that came in.
        bad: (n,) of these, those of no use.
        size: (n,) matches that are here.
        match: Ids of the matched songs, (sum of sizes,).
        score: Their scores, float64.
    """

    songs: Ids
    given: Whole
    bad: Whole
    size: Whole
    match: Ids
    score: npt.NDArray[np.float64]

    def by_shard(self, shards: int) -> Iterator[tuple[int, Matches]]:
        """Yields the shards of cold songs that hold some of them, ascending, each with its matches.

        Args:
            shards: Number of shards.
        """
        start = starts_of(self.size)
        for shard, rows in group_rows(shard_of(self.songs, shards)):
            body = ranges(start[rows], self.size[rows])
            songs, given, bad, size = (column[rows] for column in (self.songs, self.given, self.bad, self.size))
            yield shard, Matches(songs, given, bad, size, self.match[body], self.score[body])

    @staticmethod
    def concatenate(blocks: Sequence[Matches]) -> Matches:
        """Returns the songs of all blocks, in their order.

        Args:
            blocks: Matches of different songs; none gives an empty block.
        """
        if not blocks:
            zero = np.zeros(0, np.int64)
            return Matches(no_ids(), zero, zero, zero, no_ids(), np.zeros(0))
        columns = [np.concatenate(parts) for parts in zip(*(tuple(block) for block in blocks), strict=True)]
        return Matches(*columns)


def check_unique(ids: Ids, source: str) -> None:
    """Refuses a song that stands there twice.

    Args:
        ids: (n,) ids of songs, ascending.
        source: Name of the table, for the message.

    Raises:
        ValueError: If two ids are the same.
    """
    same = ids[1:] == ids[:-1]
    if same.any():
        twice = ids[1:][same][0].decode()
        raise ValueError(f"`{source}` must hold every song once. Received: song {twice!r} more than once")
