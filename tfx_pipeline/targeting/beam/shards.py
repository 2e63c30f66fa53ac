"""A shard of cold songs with all that scoring them needs: matches, audiences, listeners, who is excluded."""

import dataclasses

import numpy as np

from tfx_pipeline.contract.ids import Ids, lookup, no_ids
from tfx_pipeline.targeting.beam.blocks import Array, Block, hash_ids
from tfx_pipeline.targeting.beam.listeners import check_unique, merge_catalogue
from tfx_pipeline.targeting.config import TargetingConfig


@dataclasses.dataclass(frozen=True)
class Shard:
    """Everything about the cold songs of a shard, ids sorted.

    Attributes:
        catalogue: Block of the cold songs: ids, split, embedding.
        matches: Block of matches, with `start` of each song's list and `row` of each match in `audiences`, -1 = none.
        audiences: Block: songs, size, kept, start, user (index into `users`).
        users: (n,) ids of all listeners of the shard.
        vectors: (n, j, d) float32.
        excluded: (n,) bool, listeners excluded from every song.
        hashes: (n,) uint64 by which audiences are sampled.
        pairs: {songs, users}: listeners excluded from one song, because somebody says so or because they play it.
    """

    catalogue: Block
    matches: Block
    audiences: Block
    users: Ids
    vectors: Array
    excluded: Array
    hashes: Array
    pairs: Block


def make_shard(parts: dict[str, list[Block]], config: TargetingConfig) -> Shard:
    """Joins the blocks that reached a shard: `catalogue`, `matches`, `audiences`, `listeners`, `pairs`."""
    catalogue = merge_catalogue(parts["catalogue"])
    users, vectors, excluded = _listeners(parts["listeners"], catalogue["embedding"].shape[-1])
    lengths = vectors.shape[-1], catalogue["embedding"].shape[-1]
    if vectors.any() and len(catalogue["ids"]) and lengths[0] != lengths[1]:
        raise ValueError(
            f"`listeners` must have vectors as long as the catalogue's, {lengths[1]}. Received: {lengths[0]}"
        )
    audiences = _audiences(parts["audiences"], users)
    matches = _matches(parts["matches"], audiences["songs"])
    hashes = hash_ids(users, f"sample {config.seed}")
    pairs = _join(parts["pairs"], {"songs": no_ids(), "users": no_ids()})
    return Shard(catalogue, matches, audiences, users, vectors, excluded, hashes, pairs)


def _listeners(blocks: list[Block], length: int) -> tuple[Ids, Array, Array]:
    shapes = [block["vectors"].shape[1:] for block in blocks if block["vectors"].any()]
    if len(set(shapes)) > 1:
        raise ValueError(f"`listeners` must have vectors of one length. Received: {sorted(set(shapes))}")
    for block in blocks:
        if not block["vectors"].any():  # none of them is in the table, which leaves the length open
            shape = shapes[0] if shapes else (1, length)
            block["vectors"] = np.zeros((len(block["users"]), *shape), dtype=np.float32)
    empty = {"users": no_ids(), "vectors": np.zeros((0, 1, 1), np.float32), "excluded": np.zeros(0, bool)}
    joined = _join(blocks, empty)
    order = np.argsort(joined["users"], kind="stable")
    return joined["users"][order], joined["vectors"][order], joined["excluded"][order]


def _audiences(blocks: list[Block], users: Ids) -> Block:
    """Joins audiences from several song shards and points them at the shard's listeners."""
    names = ("songs", "size", "kept")
    empty = {"songs": no_ids(), **{name: np.zeros(0, np.int64) for name in ("size", "kept", "start", "user")}}
    if not blocks:
        return empty
    joined = {name: np.concatenate([block[name] for block in blocks]) for name in names}
    user = np.concatenate([lookup(block["users"], users)[block["user"]] for block in blocks])
    start = np.cumsum(joined["kept"]) - joined["kept"]
    order = np.argsort(joined["songs"], kind="stable")
    return {**{name: values[order] for name, values in joined.items()}, "start": start[order], "user": user}


def _matches(blocks: list[Block], songs: Ids) -> Block:
    """Joins matches, sorted by song, and finds each match among the songs that have an audience."""
    zero = np.zeros(0, np.int64)
    heads = _join(
        [{name: block[name] for name in ("songs", "given", "bad", "size")} for block in blocks],
        {"songs": no_ids(), "given": zero, "bad": zero, "size": zero},
    )
    bodies = _join(
        [{name: block[name] for name in ("match", "score")} for block in blocks],
        {"match": no_ids(), "score": np.zeros(0)},
    )
    start = np.cumsum(heads["size"]) - heads["size"]
    order = np.argsort(heads["songs"], kind="stable")
    sorted_heads = {name: values[order] for name, values in heads.items()}
    check_unique(sorted_heads["songs"], "matches")
    return {**sorted_heads, "start": start[order], **bodies, "row": lookup(bodies["match"], songs)}


def _join(blocks: list[Block], empty: Block) -> Block:
    if not blocks:
        return empty
    return {name: np.concatenate([block[name] for block in blocks]) for name in empty}
