"""What goes to which shard, and how counts add up: the functions behind the Beam steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

import numpy as np

from tfx_pipeline.columnar.hashing import shard_of
from tfx_pipeline.columnar.rows import Rows, group_rows
from tfx_pipeline.contract.ids import Ids
from tfx_pipeline.targeting.beam.blocks import Matches, Pairs, Plays, Request

RowsT = TypeVar("RowsT", bound=Rows)


def plays_by_song(block: Plays, shards: int) -> Iterator[tuple[int, Plays]]:
    """Yields the shards of songs that hold some of the plays, each with its plays.

    Args:
        block: Plays.
        shards: Number of shards.
    """
    for shard, rows in group_rows(shard_of(block.songs.ids, shards)[block.songs.codes]):
        yield shard, block.take(rows)


def rows_by(block: RowsT, column: str, shards: int) -> Iterator[tuple[int, RowsT]]:
    """Yields the shards that hold rows, each with its rows.

    Args:
        block: Rows.
        column: Name of the column of ids that decides the shard of a row.
        shards: Number of shards.
    """
    yield from block.by_shard(getattr(block, column), shards)


def matches_by_song(block: Matches, shards: int) -> Iterator[tuple[int, Matches]]:
    """Yields the shards of cold songs that hold some of the matches, each with its matches.

    Args:
        block: Matches.
        shards: Number of shards.
    """
    yield from block.by_shard(shards)


def audience_requests(block: Matches, play_shards: int, cold_shards: int) -> Iterator[tuple[int, Request]]:
    """Yields what shards of songs are asked: the audiences that each shard of cold songs needs.

    Args:
        block: Matches.
        play_shards: Number of shards of songs.
        cold_shards: Number of shards of cold songs.
    """
    cold_shard = np.repeat(shard_of(block.songs, cold_shards), block.size)
    for asking, rows in group_rows(cold_shard):
        wanted = np.unique(block.match[rows])
        for shard, chosen in group_rows(shard_of(wanted, play_shards)):
            yield shard, Request(asking, wanted[chosen])


def unite_requests(requests: Iterable[Request]) -> Iterator[tuple[int, Ids]]:
    """Yields each shard of cold songs that asks, ascending, with the ids it wants, each once.

    Args:
        requests: Requests.
    """
    wanted: dict[int, list[Ids]] = {}
    for request in requests:
        wanted.setdefault(request.cold_shard, []).append(request.ids)
    for asking in sorted(wanted):
        yield asking, np.unique(np.concatenate(wanted[asking]))


def of_every_song(exclusions: Pairs) -> Pairs:
    """Returns the exclusions from every song.

    Args:
        exclusions: All exclusions.
    """
    return exclusions.take(exclusions.songs == b"")


def of_one_song(exclusions: Pairs) -> Pairs:
    """Returns the exclusions from one song.

    Args:
        exclusions: All exclusions.
    """
    return exclusions.take(exclusions.songs != b"")


def add_counts(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Returns the sums of counts, name by name.

    Args:
        counts: Counts by name.
    """
    total: dict[str, int] = {}
    for part in counts:
        for name, value in part.items():
            total[name] = total.get(name, 0) + int(value)
    return dict(sorted(total.items()))
