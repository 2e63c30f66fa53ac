"""Listener vectors and audiences: plays joined with the catalogue, as functions of blocks.

A song shard holds the plays and vectors of its songs; a listener shard the plays of its listeners with the vectors of
what they play. Both are bounded by the number of plays in the shard, whatever the size of the catalogue.
"""

import numpy as np
from scipy import sparse

from tfx_pipeline.contract.ids import Ids, among, id_array, lookup, no_ids
from tfx_pipeline.targeting.beam.blocks import (
    Array,
    Block,
    group_rows,
    hash_ids,
    merge_plays,
    shard_of,
    take_plays,
)
from tfx_pipeline.targeting.rules.clustering import normalize, spherical_kmeans


def merge_catalogue(blocks: list[Block]) -> Block:
    """Joins catalogue blocks, sorted by id; a song that is there twice is an error."""
    if not blocks:
        empty = np.zeros((0, 1), dtype=np.float32)
        return {"ids": no_ids(), "split": no_ids(), "embedding": empty, "candidate": empty}
    widths = {block["embedding"].shape[1] for block in blocks}
    if len(widths) > 1:
        raise ValueError(f"`embedding` must have one length over the whole catalogue. Received: {sorted(widths)}")
    joined = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    order = np.argsort(joined["ids"], kind="stable")
    joined = {name: values[order] for name, values in joined.items()}
    check_unique(joined["ids"], "catalogue")
    return joined


def check_unique(ids: Ids, source: str) -> None:
    """Refuses sorted ids that hold one twice."""
    same = ids[1:] == ids[:-1]
    if same.any():
        twice = ids[1:][same][0].decode()
        raise ValueError(f"`{source}` must hold every song once. Received: song {twice!r} more than once")


def usable_plays(merged: Block, catalogue: Block, splits: tuple[str, ...]) -> tuple[Block, dict[str, int]]:
    """Plays of songs whose split is in `splits`, and the counts of what was left out.

    Plays of songs held out as cold must not describe a listener: at targeting time nobody has played them.
    """
    position = lookup(merged["songs"], catalogue["ids"])
    known = position >= 0
    usable = known.copy()
    usable[known] = among(catalogue["split"][position[known]], id_array(splits))
    played = merged["plays"] > 0
    rows = np.flatnonzero(usable[merged["song"]] & played)
    counts = {
        "pairs_of_unknown_songs": int((~known)[merged["song"]].sum()),
        "pairs_of_other_splits": int((known & ~usable)[merged["song"]].sum()),
        "pairs_without_plays": int((usable[merged["song"]] & ~played).sum()),
        "pairs_used": len(rows),
    }
    return take_plays(merged, rows), counts


def own_listeners(merged: Block, catalogue: Block, cold_shards: int) -> list[tuple[int, Block]]:
    """Returns who plays the new songs of a song shard, for each shard of cold songs: they need not be told again."""
    position = lookup(merged["songs"], catalogue["ids"])
    new = position >= 0
    new[new] = catalogue["split"][position[new]] == b"new"
    rows = np.flatnonzero(new[merged["song"]] & (merged["plays"] > 0))
    songs, users = merged["songs"][merged["song"][rows]], merged["users"][merged["user"][rows]]
    return [
        (key, {"songs": songs[chosen], "users": users[chosen]})
        for key, chosen in group_rows(shard_of(songs, cold_shards))
    ]


def plays_by_listener(plays: Block, catalogue: Block, shards: int) -> list[tuple[int, Block]]:
    """Sends plays to listener shards, with the candidate vectors of the songs in them."""
    shard = shard_of(plays["users"], shards)
    parts = []
    for key, rows in group_rows(shard[plays["user"]]):
        part = take_plays(plays, rows)
        part["vectors"] = catalogue["candidate"][lookup(part["songs"], catalogue["ids"])]
        parts.append((key, part))
    return parts


def listener_vectors(parts: list[Block], interests: int, seed: int) -> Block:
    """Vectors of listeners from the songs they play.

    The mean of the unit candidate vectors weighted by log(1 + plays), scaled to length one; with several interests, the
    spherical k-means centroids of those vectors with those weights.

    Args:
        parts: Plays blocks with `vectors`, of disjoint songs.
        interests: Vectors per listener j; listeners with fewer distinct songs leave the last ones zero.

    Returns:
        {users (n,) sorted, vectors (n, j, d) float32}.
    """
    if not parts:
        return {"users": no_ids(), "vectors": np.zeros((0, interests, 1), np.float32)}
    plays = merge_plays(parts)
    songs = np.concatenate([part["songs"] for part in parts])
    order = np.argsort(songs, kind="stable")
    vectors = normalize(np.concatenate([part["vectors"] for part in parts])[order].astype(np.float64))
    shape = (len(plays["users"]), len(songs))
    weights = sparse.csr_matrix((np.log1p(plays["plays"]), (plays["user"], plays["song"])), shape=shape)
    weights.sort_indices()  # sums run over songs in the order of their ids
    if interests == 1:
        found = normalize(weights @ vectors)[:, None]
    else:
        found = np.stack([_interests(weights[row], vectors, interests, seed) for row in range(shape[0])])
    return {"users": plays["users"], "vectors": found.astype(np.float32)}


def merge_listeners(blocks: list[Block]) -> Block:
    """Joins parts of a given listener table, sorted, vectors of length one; a listener given twice is an error."""
    if not blocks:
        return {"users": no_ids(), "vectors": np.zeros((0, 1, 1), np.float32)}
    users = np.concatenate([block["users"] for block in blocks])
    order = np.argsort(users, kind="stable")
    same = users[order][1:] == users[order][:-1]
    if same.any():
        twice = users[order][1:][same][0].decode()
        raise ValueError(f"`listeners` must hold every listener once. Received: user {twice!r} more than once")
    vectors = normalize(np.concatenate([block["vectors"] for block in blocks])[order].astype(np.float64))
    return {"users": users[order], "vectors": vectors.astype(np.float32)}


def pick(table: Block, wanted: Ids, excluded: Ids) -> Block:
    """Rows of the wanted listeners; one that the table lacks has a zero vector."""
    position = lookup(wanted, table["users"])
    vectors = np.zeros((len(wanted), *table["vectors"].shape[1:]), dtype=np.float32)
    vectors[position >= 0] = table["vectors"][position[position >= 0]]
    return {"users": wanted, "vectors": vectors, "excluded": among(wanted, excluded)}


def audiences(plays: Block, max_audience: int, seed: int) -> Block:
    """Listeners of each song, at most `max_audience`.

    Larger audiences keep the listeners of smallest hash. As the hash is the listener's and not the pair's, the
    `max_audience` smallest of any union of audiences are what they would be without sampling, with all their songs.

    Returns:
        {songs (n,) sorted, size (n,) true sizes, start (n,), kept (n,), user (sum of kept,), users}: the listeners of
        song i are `users[user[start[i] : start[i] + kept[i]]]`, in the order of their ids.
    """
    size = np.bincount(plays["song"], minlength=len(plays["songs"])).astype(np.int64)
    user = plays["user"][np.argsort(plays["song"], kind="stable")]
    large = np.flatnonzero(size > max_audience)
    if len(large):
        hashes = hash_ids(plays["users"], f"sample {seed}")
        keep = np.ones(len(user), dtype=bool)
        starts = np.cumsum(size) - size
        for song in large:
            members = slice(starts[song], starts[song] + size[song])
            keep[members] = smallest(hashes[user[members]], max_audience)
        user = user[keep]
    kept = np.minimum(size, max_audience)
    start = np.cumsum(kept) - kept
    return {"songs": plays["songs"], "size": size, "start": start, "kept": kept, "user": user, "users": plays["users"]}


def smallest(hashes: Array, most: int) -> Array:
    """Mask of the `most` smallest hashes, the first of equal ones."""
    mask = np.zeros(len(hashes), dtype=bool)
    mask[np.argsort(hashes, kind="stable")[:most]] = True
    return mask


def requested_audiences(table: Block, wanted: Ids) -> Block:
    """The audiences of the songs in `wanted` that have one, with the ids of just their listeners."""
    position = lookup(np.unique(wanted), table["songs"])
    position = position[position >= 0]
    kept = table["kept"][position]
    codes, user = np.unique(table["user"][ranges(table["start"][position], kept)], return_inverse=True)
    return {
        "songs": table["songs"][position],
        "size": table["size"][position],
        "kept": kept,
        "user": user.astype(np.int32),
        "users": table["users"][codes],
    }


def ranges(starts: Array, lengths: Array) -> Array:
    """Concatenates arange(start, start + length) of each pair."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)


def _interests(weights: sparse.csr_matrix, vectors: Array, interests: int, seed: int) -> Array:
    result = np.zeros((interests, vectors.shape[1]))
    used = (weights.data > 0) & vectors[weights.indices].any(axis=1)
    played, weight = vectors[weights.indices[used]], weights.data[used]
    if len(played):
        centers, _ = spherical_kmeans(played, weight, min(interests, len(played)), iterations=10, seed=seed)
        result[: len(centers)] = centers
    return result
