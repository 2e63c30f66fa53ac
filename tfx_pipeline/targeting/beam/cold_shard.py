"""A shard of cold songs with all that scoring them needs: matches, audiences, listeners, who is excluded."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tfx_pipeline.columnar.hashing import Hashes, hash_ids
from tfx_pipeline.columnar.rows import starts_of
from tfx_pipeline.contract.ids import Ids, lookup, no_ids
from tfx_pipeline.targeting.beam.blocks import Audiences, Catalogue, Listeners, Matches, Pairs, Whole, check_unique
from tfx_pipeline.targeting.config import TargetingConfig


@dataclasses.dataclass(frozen=True)
class ShardParts:
    """The blocks that reached a shard of cold songs.

    Attributes:
        catalogue: Its cold songs.
        matches: Of these songs.
        audiences: Of the matched songs.
        listeners: Of these audiences.
        pairs: Who must not be a target of which song.
    """

    catalogue: Sequence[Catalogue]
    matches: Sequence[Matches]
    audiences: Sequence[Audiences]
    listeners: Sequence[Listeners]
    pairs: Sequence[Pairs] = ()


class MatchLists(NamedTuple):
    """The matches of a shard, sorted by cold song.

    Attributes:
        songs: (n,) ids of cold songs.
        given: (n,) matches that came in.
        bad: (n,) of these, those of no use.
        size: (n,) matches that are here.
        start: (n,) where each song's list begins.
        match: Ids of the matched songs.
        score: Their scores, float64.
        row: The place of each match in the shard's audiences; -1 = it has none.
    """

    songs: Ids
    given: Whole
    bad: Whole
    size: Whole
    start: Whole
    match: Ids
    score: npt.NDArray[np.float64]
    row: Whole


@dataclasses.dataclass(frozen=True)
class Shard:
    """Everything about the cold songs of a shard, ids sorted.

    Attributes:
        catalogue: The cold songs.
        matches: Their matches.
        audiences: Of the matched songs; `user` counts in `listeners`.
        listeners: All listeners of the shard.
        hashes: (n,) of the listeners, for sampling audiences.
        pairs: Listeners excluded from one song, by the exclusions or because they play it.
    """

    catalogue: Catalogue
    matches: MatchLists
    audiences: Audiences
    listeners: Listeners
    hashes: Hashes
    pairs: Pairs


def make_shard(parts: ShardParts, config: TargetingConfig) -> Shard:
    """Joins the blocks that reached a shard.

    Args:
        parts: The blocks.
        config: Settings.

    Raises:
        ValueError: If a song is there twice, or vectors differ in length.
    """
    catalogue = Catalogue.merge(parts.catalogue)
    length = catalogue.embedding.shape[-1]
    listeners = _listeners(parts.listeners, length)
    if listeners.vectors.any() and len(catalogue) and listeners.vectors.shape[-1] != length:
        raise ValueError(
            f"`listeners` must have vectors as long as the catalogue's, {length}. "
            f"Received: {listeners.vectors.shape[-1]}"
        )
    audiences = _audiences(parts.audiences, listeners.users)
    matches = _matches(parts.matches, audiences.songs)
    hashes = hash_ids(listeners.users, f"sample {config.seed}")
    return Shard(catalogue, matches, audiences, listeners, hashes, Pairs.concatenate(parts.pairs))


def _listeners(blocks: Sequence[Listeners], length: int) -> Listeners:
    shapes = [block.vectors.shape[1:] for block in blocks if block.vectors.any()]
    if len(set(shapes)) > 1:
        raise ValueError(f"`listeners` must have vectors of one length. Received: {sorted(set(shapes))}")
    shape = shapes[0] if shapes else (1, length)
    joined = Listeners.concatenate([_shaped(block, shape) for block in blocks])
    return joined.take(np.argsort(joined.users, kind="stable"))


def _shaped(block: Listeners, shape: tuple[int, ...]) -> Listeners:
    """Returns a block with vectors of this shape: none of its listeners may be in the given table."""
    if block.vectors.any():
        return block
    return dataclasses.replace(block, vectors=np.zeros((len(block), *shape), dtype=np.float32))


def _audiences(blocks: Sequence[Audiences], users: Ids) -> Audiences:
    """Joins audiences from several shards of songs and points them at the shard's listeners."""
    zero = np.zeros(0, np.int64)
    if not blocks:
        return Audiences(no_ids(), zero, zero, zero, zero, users)
    songs, size, kept = (
        np.concatenate([getattr(block, name) for block in blocks]) for name in ("songs", "size", "kept")
    )
    user = np.concatenate([lookup(block.users, users)[block.user] for block in blocks])
    order = np.argsort(songs, kind="stable")
    return Audiences(songs[order], size[order], starts_of(kept)[order], kept[order], user, users)


def _matches(blocks: Sequence[Matches], audience_songs: Ids) -> MatchLists:
    """Joins matches, sorted by song, and finds each match among the songs that have an audience."""
    joined = Matches.concatenate(blocks)
    start = starts_of(joined.size)
    order = np.argsort(joined.songs, kind="stable")
    heads = (joined.songs, joined.given, joined.bad, joined.size, start)
    songs, given, bad, size, start = (column[order] for column in heads)
    check_unique(songs, "matches")
    row = lookup(joined.match, audience_songs)
    return MatchLists(songs, given, bad, size, start, joined.match, joined.score, row)
