"""Which shard a block's rows go to, and how counts add up: the functions behind the Beam steps."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tfx_pipeline.targeting.beam.blocks import Array, Block, group_rows, shard_of, take, take_plays
from tfx_pipeline.targeting.beam.listeners import ranges


def plays_by_song(block: Block, shards: int) -> Iterator[tuple[int, Block]]:
    shard = shard_of(block["songs"], shards)
    for key, chosen in group_rows(shard[block["song"]]):
        yield key, take_plays(block, chosen)


def rows_by(block: Block, column: str, shards: int) -> Iterator[tuple[int, Block]]:
    for key, chosen in group_rows(shard_of(block[column], shards)):
        yield key, take(block, chosen)


def matches_by(block: Block, column: str, shards: int) -> Iterator[tuple[int, Block]]:
    start = np.cumsum(block["size"]) - block["size"]
    for key, chosen in group_rows(shard_of(block[column], shards)):
        body = ranges(start[chosen], block["size"][chosen])
        heads = {name: block[name][chosen] for name in ("songs", "given", "bad", "size")}
        yield key, {**heads, "match": block["match"][body], "score": block["score"][body]}


def audience_requests(block: Block, play_shards: int, cold_shards: int) -> Iterator[tuple[int, Block]]:
    """Asks the song shards for the audiences that each shard of cold songs needs."""
    cold_shard = np.repeat(shard_of(block["songs"], cold_shards), block["size"])
    for key, rows in group_rows(cold_shard):
        wanted = np.unique(block["match"][rows])
        for shard, chosen in group_rows(shard_of(wanted, play_shards)):
            yield shard, {"cold": np.array([key]), "songs": wanted[chosen]}


def unite_requests(requests: list[Block], column: str = "songs") -> Iterator[tuple[int, Array]]:
    """Unites requests of one shard of cold songs, so that each id is answered once."""
    wanted: dict[int, list[Array]] = {}
    for request in requests:
        wanted.setdefault(int(request["cold"][0]), []).append(request[column])
    for cold in sorted(wanted):
        yield cold, np.unique(np.concatenate(wanted[cold]))


def where_song_empty(block: Block, empty: bool) -> Block:
    return take(block, np.flatnonzero((block["songs"] == b"") == empty))


def add_counts(counts: Any) -> dict[str, int]:
    """Adds dicts of counts, name by name."""
    total: dict[str, int] = {}
    for part in counts:
        for name, value in part.items():
            total[name] = total.get(name, 0) + int(value)
    return dict(sorted(total.items()))
