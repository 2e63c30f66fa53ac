"""Columnar blocks: what travels between Beam steps instead of single rows.

A block is a dict of numpy arrays. Ids are UTF-8 bytes, as `tfx_pipeline.contract.ids` has them.
Plays are dictionary-coded: `users` and `songs` hold the distinct ids, `user` and `song` the index of each row,
`plays` the counts.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.contract.ids import Ids, id_array, no_ids
from tfx_pipeline.contract.text import quoted

Array = np.ndarray
Block = dict[str, np.ndarray]


def hash_ids(ids: Ids, salt: str) -> Array:
    """64-bit hashes of ids, the same on every machine: (n,) bytes -> (n,) uint64."""
    key = salt.encode()
    digests = b"".join(hashlib.blake2b(item, digest_size=8, key=key).digest() for item in ids.tolist())
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def shard_of(ids: Ids, shards: int) -> Array:
    """The shard of each id: (n,) bytes -> (n,) int64 in [0, shards)."""
    if shards == 1:
        return np.zeros(len(ids), dtype=np.int64)
    return (hash_ids(ids, "shard") % np.uint64(shards)).astype(np.int64)


def shards_for(rows: int, rows_per_shard: int) -> int:
    """Number of shards that keeps each at about `rows_per_shard` rows."""
    return max(1, -(-rows // rows_per_shard))


def encode_ids(ids: Sequence[str] | pa.Array | pa.ChunkedArray, column: str) -> Ids:
    """Strings to UTF-8 bytes; null, empty ids and ids with a NUL character are errors."""
    array = ids if isinstance(ids, pa.Array | pa.ChunkedArray) else pa.array(ids, pa.string())
    if array.null_count:
        raise ValueError(f"`{column}` must hold an id in every row. Received: {array.null_count} null ids")
    texts = array.cast(pa.string())
    bad = pc.or_(pc.equal(texts, ""), pc.match_substring(texts, "\0"))
    if (row := pc.index(bad, True).as_py()) >= 0:
        shown = quoted(texts[row].as_py())
        raise ValueError(f"`{column}` must hold ids that are not empty and have no NUL. Received: {shown}")
    return id_array(texts)


def group_rows(keys: Array) -> Iterator[tuple[int, Array]]:
    """Rows of each key, keys ascending, rows in their order."""
    if len(keys) == 0:
        return
    order = np.argsort(keys, kind="stable")
    present, starts = np.unique(keys[order], return_index=True)
    yield from zip(present.tolist(), np.split(order, starts[1:]), strict=True)


def take(block: Block, rows: Array) -> Block:
    """The given rows of a block whose arrays are all row-wise."""
    return {name: values[rows] for name, values in block.items()}


def concatenate(blocks: Iterable[Block], empty: Block) -> Block:
    """Joins row-wise blocks; `empty` says the columns where there is no block."""
    parts = list(blocks)
    if not parts:
        return empty
    return {name: np.concatenate([part[name] for part in parts]) for name in empty}


def take_plays(block: Block, rows: Array) -> Block:
    """The given rows of a plays block, with the ids that they need and no others."""
    users, user = np.unique(block["user"][rows], return_inverse=True)
    songs, song = np.unique(block["song"][rows], return_inverse=True)
    return {
        "users": block["users"][users],
        "user": user.astype(np.int32),
        "songs": block["songs"][songs],
        "song": song.astype(np.int32),
        "plays": block["plays"][rows],
    }


def merge_plays(blocks: Iterable[Block]) -> Block:
    """Joins plays blocks: sorted distinct ids, one row per (user, song), in that order, with the sum of plays."""
    parts = list(blocks)
    users, user = _merge_codes([part["users"] for part in parts], [part["user"] for part in parts])
    songs, song = _merge_codes([part["songs"] for part in parts], [part["song"] for part in parts])
    plays = np.concatenate([part["plays"] for part in parts]) if parts else np.zeros(0, np.int64)
    pairs, row = np.unique(user * max(1, len(songs)) + song, return_inverse=True)
    total = np.zeros(len(pairs), dtype=np.int64)
    np.add.at(total, row, plays)
    return {
        "users": users,
        "user": pairs // max(1, len(songs)),
        "songs": songs,
        "song": pairs % max(1, len(songs)),
        "plays": total,
    }


def _merge_codes(dictionaries: list[Ids], codes: list[Array]) -> tuple[Ids, Array]:
    """Unites dictionary-coded columns: (sorted distinct ids, codes of all rows)."""
    if not dictionaries:
        return no_ids(), np.zeros(0, np.int64)
    ids, position = np.unique(np.concatenate(dictionaries), return_inverse=True)
    starts = np.cumsum([0] + [len(part) for part in dictionaries])
    return ids, np.concatenate([position[starts[i] + part] for i, part in enumerate(codes)]).astype(np.int64)
