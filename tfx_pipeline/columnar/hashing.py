"""Hashes of ids, the same on every machine, and the shards that they choose."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from tfx_pipeline.contract.ids import Ids

Hashes = npt.NDArray[np.uint64]


def hash_ids(ids: Ids, salt: str) -> Hashes:
    """Returns a 64-bit hash of each id, (n,).

    Args:
        ids: (n,) ids.
        salt: Another salt gives other hashes.
    """
    key = salt.encode()
    digests = b"".join(hashlib.blake2b(item, digest_size=8, key=key).digest() for item in ids.tolist())
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def shard_of(ids: Ids, shards: int) -> npt.NDArray[np.int64]:
    """Returns the shard of each id, (n,), from 0 to `shards` - 1.

    Args:
        ids: (n,) ids.
        shards: Number of shards.
    """
    if shards == 1:
        return np.zeros(len(ids), dtype=np.int64)
    return (hash_ids(ids, "shard") % np.uint64(shards)).astype(np.int64)


def shards_for(rows: int, rows_per_shard: int) -> int:
    """Returns the number of shards that keeps each at about `rows_per_shard` rows.

    Args:
        rows: All rows.
        rows_per_shard: Rows that a worker can hold.
    """
    return max(1, -(-rows // rows_per_shard))
