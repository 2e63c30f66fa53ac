"""Blocks of plays on their way to labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tfx_pipeline.columnar.coded import union
from tfx_pipeline.columnar.rows import Array, Rows
from tfx_pipeline.contract.ids import Ids, no_ids

Places = npt.NDArray[np.int32]


@dataclasses.dataclass(frozen=True, eq=False)
class Songs(Rows):
    """The songs that a block of plays numbers, and what is known of each.

    Attributes:
        ids: (m,) ids, ascending.
        listeners: (m,) int64, all of them.
        warm: (m,) bool.
        new: (m,) bool: too few listeners to be a similar song of others, but used in training.
    """

    ids: Ids
    listeners: npt.NDArray[np.int64]
    warm: npt.NDArray[np.bool_]
    new: npt.NDArray[np.bool_]

    @classmethod
    def empty(cls) -> Songs:
        """Returns no song."""
        return cls(no_ids(), np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0, bool))

    @classmethod
    def union(cls, parts: Sequence[Songs]) -> tuple[Songs, list[Places]]:
        """Returns the songs of all blocks, each once, and where the songs of each block went.

        Args:
            parts: Blocks that agree on the songs they share.
        """
        joined = cls.concatenate(parts)
        first = np.unique(joined.ids, return_index=True)[1]
        return joined.take(first), union([part.ids for part in parts])[1]

    def used_by(self, index: Array) -> tuple[Songs, Places]:
        """Returns the songs that an index names, and the index into those.

        Args:
            index: (n,) numbers of songs.
        """
        used, number = np.unique(index, return_inverse=True)
        return self.take(used), number.astype(np.int32)


class Plays(NamedTuple):
    """Distinct plays of the songs of one shard by the users of another.

    Attributes:
        users: (k,) ids, ascending.
        warm_listener: (k,) bool: plays a warm song of this block, kept or not.
        user_index: (n,) int32.
        song_index: (n,) int32.
        songs: The songs that `song_index` numbers.
    """

    users: Ids
    warm_listener: npt.NDArray[np.bool_]
    user_index: Places
    song_index: Places
    songs: Songs


class Histories(NamedTuple):
    """Histories of users who play a song of one shard: their plays of that shard's songs and of warm songs.

    Attributes:
        counts: (users,) int32, songs that each user plays.
        song_index: (n,) int32, the users' songs one after the other.
        songs: The songs that `song_index` numbers.
    """

    counts: Places
    song_index: Places
    songs: Songs
